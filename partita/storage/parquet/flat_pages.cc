#include "partita/storage/parquet/flat_pages.h"

#include <bit>
#include <cstring>

#include "partita/storage/parquet/runs.h"

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "Parquet lengths are written as they are");

constexpr int64_t kLengthBytes = sizeof(uint32_t);  // before levels

}  // namespace

int IndexBits(uint32_t entries) {
  return entries <= 1 ? static_cast<int>(entries) : std::bit_width(entries - 1);
}

PageMaker::PageMaker(const parquet::ColumnDescriptor* descr, const parquet::WriterProperties* properties,
                     parquet::PageWriter* pager, arrow::MemoryPool* pool)
    : descr_(descr),
      properties_(properties),
      pager_(pager),
      pool_(pool),
      nullable_(descr->max_definition_level() > 0),
      levels_(pool) {}

Status PageMaker::AddNull() {
  if (!nullable_) {
    return DataError(
        "column '" + descr_->path()->ToDotString() + "' has a null, and its type says that it has none",
        "declare the column nullable, or drop the rows");
  }
  if (!has_nulls_) {
    // Room for the step at hand, too.
    ARROW_RETURN_NOT_OK(levels_.Reserve(rows_ + kStepRows));
    levels_.UnsafeAppend(rows_, uint32_t{1});
    has_nulls_ = true;
  }
  levels_.UnsafeAppend(0);
  ++rows_;
  ++nulls_;
  return Status::OK();
}

// Levels: their length, then their runs. Where values go.
Result<uint8_t*> PageMaker::StartPage(int64_t most_value_bytes) {
  const int64_t most = kLengthBytes + MostRunBytes(rows_, 1) + most_value_bytes;
  if (!scratch_) {
    ARROW_ASSIGN_OR_RAISE(scratch_, arrow::AllocateResizableBuffer(most, pool_));
  } else {
    ARROW_RETURN_NOT_OK(scratch_->Resize(most, /*shrink_to_fit=*/false));
  }
  uint8_t* const out = scratch_->mutable_data();
  if (!nullable_) return out;
  uint8_t* const runs = out + kLengthBytes;
  int64_t bytes = 0;
  if (has_nulls_) {
    bytes = EncodeRuns(levels_.data(), rows_, 1, runs);
  } else {
    const std::string all = ConstantRun(rows_, 1);
    bytes = std::ssize(all);
    std::memcpy(runs, all.data(), all.size());
  }
  const auto length = static_cast<uint32_t>(bytes);
  std::memcpy(out, &length, kLengthBytes);
  return runs + bytes;
}

Result<parquet::DataPageV1> PageMaker::EndPage(const uint8_t* end, parquet::Encoding::type encoding,
                                               bool is_kept) {
  std::shared_ptr<arrow::Buffer> body =
      std::make_shared<arrow::Buffer>(scratch_->data(), end - scratch_->data());
  const int64_t body_bytes = body->size();
  if (pager_->has_compressor()) {
    if (!compressed_) {
      ARROW_ASSIGN_OR_RAISE(compressed_, arrow::AllocateResizableBuffer(0, pool_));
    }
    pager_->Compress(*body, compressed_.get());
    body = compressed_;
  }
  if (is_kept) {
    ARROW_ASSIGN_OR_RAISE(body, body->CopySlice(0, body->size(), pool_));
  }
  parquet::DataPageV1 page(std::move(body), static_cast<int32_t>(rows_), encoding, parquet::Encoding::RLE,
                           parquet::Encoding::RLE, body_bytes);
  levels_.bytes_builder()->Rewind(0);
  rows_ = 0;
  has_nulls_ = false;
  return page;
}

Status PageMaker::EndIndices(const uint32_t* codes, int64_t count, uint32_t entries) {
  if (rows_ == 0) return Status::OK();
  const int bits = IndexBits(entries);
  ARROW_ASSIGN_OR_RAISE(uint8_t * out, StartPage(1 + MostRunBytes(count, bits)));
  *out++ = static_cast<uint8_t>(bits);
  out += EncodeRuns(codes, count, bits, out);
  ARROW_ASSIGN_OR_RAISE(auto page, EndPage(out, properties_->dictionary_index_encoding(), /*is_kept=*/true));
  kept_.push_back(std::move(page));
  return Status::OK();
}

Status PageMaker::EndPlain(const uint8_t* values, int64_t bytes) {
  if (rows_ == 0) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(uint8_t * out, StartPage(bytes));
  if (bytes > 0) std::memcpy(out, values, static_cast<size_t>(bytes));
  ARROW_ASSIGN_OR_RAISE(const auto page, EndPage(out + bytes, parquet::Encoding::PLAIN, /*is_kept=*/false));
  pager_->WriteDataPage(page);
  return Status::OK();
}

bool PageMaker::WriteDictionary(std::string_view plain, uint32_t entries) {
  if (kept_.empty()) return false;
  auto bytes =
      std::make_shared<arrow::Buffer>(reinterpret_cast<const uint8_t*>(plain.data()), std::ssize(plain));
  pager_->WriteDictionaryPage(parquet::DictionaryPage(std::move(bytes), static_cast<int32_t>(entries),
                                                      properties_->dictionary_page_encoding()));
  for (const auto& page : kept_) pager_->WriteDataPage(page);
  kept_.clear();
  return true;
}

}  // namespace partita
