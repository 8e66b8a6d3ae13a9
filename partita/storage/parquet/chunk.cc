#include "partita/storage/parquet/chunk.h"

#include <arrow/api.h>
#include <parquet/column_page.h>
#include <parquet/exception.h>
#include <parquet/statistics.h>

#include <bit>
#include <cstring>

#include "partita/base/units.h"
#include "partita/storage/parquet/file.h"
#include "partita/storage/parquet/number_pages.h"
#include "partita/storage/parquet/repeats.h"
#include "partita/storage/parquet/runs.h"
#include "partita/storage/parquet/text_pages.h"

namespace partita {

static_assert(std::endian::native == std::endian::little, "Parquet lengths are written as they are");

// Hands pages to libparquet's serialiser and keeps the totals that the chunk's metadata need: offsets are
// known only when the row group is written out.
class PageSink final : public parquet::PageWriter {
 public:
  PageSink(ChunkWriter* chunk, std::unique_ptr<parquet::PageWriter> pages)
      : chunk_(chunk), pages_(std::move(pages)) {}

  void Close(bool has_dictionary, bool fallback) override {
    chunk_->totals_.has_dictionary |= has_dictionary;
    chunk_->totals_.fallback |= fallback;
  }

  int64_t WriteDataPage(const parquet::DataPage& page) override {
    auto& totals = chunk_->totals_;
    if (totals.data_offset < 0) totals.data_offset = chunk_->pages_.size();
    const int64_t bytes = pages_->WriteDataPage(page);
    totals.values += page.num_values();
    totals.uncompressed_bytes += bytes;
    ++totals.data_pages[page.encoding()];
    return bytes;
  }

  int64_t WriteDictionaryPage(const parquet::DictionaryPage& page) override {
    auto& totals = chunk_->totals_;
    if (totals.dictionary_offset < 0) totals.dictionary_offset = chunk_->pages_.size();
    const int64_t bytes = pages_->WriteDictionaryPage(page);
    totals.uncompressed_bytes += bytes;
    ++totals.dictionary_pages[page.encoding()];
    return bytes;
  }

  int64_t total_compressed_bytes_written() const override { return chunk_->pages_.size(); }
  bool has_compressor() override { return pages_->has_compressor(); }
  void Compress(const arrow::Buffer& from, arrow::ResizableBuffer* to) override {
    pages_->Compress(from, to);
  }

 private:
  ChunkWriter* chunk_;
  std::unique_ptr<parquet::PageWriter> pages_;
};

namespace {

// Where the bytes of a binary array are. Null for types that never have fat values of their own page.
class FatValues {
 public:
  explicit FatValues(const arrow::Array& leaf) : leaf_(leaf) {
    switch (leaf.type_id()) {
      case arrow::Type::STRING:
      case arrow::Type::BINARY:
        narrow_ = static_cast<const arrow::BinaryArray*>(&leaf);
        break;
      case arrow::Type::LARGE_STRING:
      case arrow::Type::LARGE_BINARY:
        wide_ = static_cast<const arrow::LargeBinaryArray*>(&leaf);
        break;
      case arrow::Type::STRING_VIEW:
      case arrow::Type::BINARY_VIEW:
        view_ = static_cast<const arrow::BinaryViewArray*>(&leaf);
        break;
      default:
        break;
    }
  }

  bool Any() const {
    if (narrow_ && narrow_->total_values_length() < kFatValueBytes) return false;
    if (wide_ && wide_->total_values_length() < kFatValueBytes) return false;
    for (int64_t i = 0; i < leaf_.length(); ++i) {
      if (IsFat(i)) return true;
    }
    return false;
  }

  bool IsFat(int64_t i) const {
    return leaf_.IsValid(i) && static_cast<int64_t>(View(i).size()) >= kFatValueBytes;
  }

  // The value's bytes: a slice of the array's buffer, or a copy where the slice would keep much more alive.
  Result<std::shared_ptr<arrow::Buffer>> Bytes(int64_t i, arrow::MemoryPool* pool) const {
    const std::string_view value = View(i);
    if (!view_) {
      const auto& buffer = leaf_.data()->buffers[2];
      const auto* data = reinterpret_cast<const uint8_t*>(value.data());
      return arrow::SliceBuffer(buffer, data - buffer->data(), static_cast<int64_t>(value.size()));
    }
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> copy,
                          arrow::AllocateBuffer(static_cast<int64_t>(value.size()), pool));
    std::memcpy(copy->mutable_data(), value.data(), value.size());
    return copy;
  }

 private:
  std::string_view View(int64_t i) const {
    if (narrow_) return narrow_->GetView(i);
    if (wide_) return wide_->GetView(i);
    if (view_) return view_->GetView(i);
    return {};
  }

  const arrow::Array& leaf_;
  const arrow::BinaryArray* narrow_ = nullptr;
  const arrow::LargeBinaryArray* wide_ = nullptr;
  const arrow::BinaryViewArray* view_ = nullptr;
};

// Whether a row has one, of values or of indices of a dictionary of them.
bool HasFatTexts(const arrow::Array& texts) {
  if (texts.type_id() != arrow::Type::DICTIONARY) return FatValues(texts).Any();
  const auto& encoded = static_cast<const arrow::DictionaryArray&>(texts);
  const FatValues values(*encoded.dictionary());
  if (!values.Any()) return false;
  for (int64_t i = 0; i < encoded.length(); ++i) {
    if (encoded.IsValid(i) && values.IsFat(encoded.GetValueIndex(i))) return true;
  }
  return false;
}

constexpr uint8_t kToken = 0;

}  // namespace

ChunkWriter::ChunkWriter(const ChunkSettings* settings, parquet::ColumnChunkMetaDataBuilder* metadata)
    : settings_(settings), metadata_(metadata), pages_(settings->pool), own_body_(settings->pool) {}

ChunkWriter::~ChunkWriter() = default;

std::unique_ptr<parquet::PageWriter> ChunkWriter::OpenPages() {
  const auto& properties = *settings_->properties;
  const auto& path = descr()->path();
  arrow::util::CodecOptions options(properties.compression_level(path));
  // The sink is ours: libparquet wants shared ownership of what it writes to.
  std::shared_ptr<arrow::io::OutputStream> sink(&pages_, [](arrow::io::OutputStream*) {});
  auto pages = parquet::PageWriter::Open(std::move(sink), properties.compression(path), metadata_, -1, -1,
                                         settings_->pool,
                                         /*buffered_row_group=*/false, nullptr, nullptr,
                                         /*page_write_checksum_enabled=*/false, nullptr, nullptr, options);
  return std::make_unique<PageSink>(this, std::move(pages));
}

// After a page of our own the dictionary of the chunk is written: later values are plain.
parquet::ColumnWriter* ChunkWriter::Encoder() {
  if (!encoder_) {
    const bool plain = totals_.own_pages || !may_repeat_;
    const auto& properties = plain ? settings_->plain_properties : settings_->properties;
    encoder_ = parquet::ColumnWriter::Make(metadata_, OpenPages(), properties.get());
  }
  return encoder_.get();
}

void ChunkWriter::CloseEncoder() {
  if (!encoder_) return;
  encoder_->Close();
  encoder_.reset();
}

Status ChunkWriter::WriteArrow(const int16_t* def_levels, const int16_t* rep_levels, int64_t num_levels,
                               const arrow::Array& leaf, parquet::ArrowWriteContext* ctx,
                               bool leaf_nullable) {
  BEGIN_PARQUET_CATCH_EXCEPTIONS
  // What stands behind nulls of nested columns follows from no row.
  const bool is_flat = descr()->path()->ToDotVector().size() == 1;
  if (!by_arrow_ && is_flat && settings_->properties->dictionary_enabled(descr()->path()))
    may_repeat_ = MayRepeat(leaf);
  by_arrow_ = true;
  if (list_page_ && list_page_->lists() > 0) ARROW_RETURN_NOT_OK(WriteListPage());
  const bool flat_bytes = type() == parquet::Type::BYTE_ARRAY && descr()->max_repetition_level() == 0;
  if (def_levels != nullptr && (flat_bytes || list_page_)) {
    const int16_t present = descr()->max_definition_level();
    for (int64_t i = 0; i < num_levels; ++i) totals_.nulls += def_levels[i] != present;
  }
  if (!flat_bytes || leaf.length() != num_levels) {
    return Encoder()->WriteArrow(def_levels, rep_levels, num_levels, leaf, ctx, leaf_nullable);
  }
  if (FatValues(leaf).Any()) return WriteMixed(def_levels, num_levels, leaf, ctx, leaf_nullable);
  return Encoder()->WriteArrow(def_levels, rep_levels, num_levels, leaf, ctx, leaf_nullable);
  END_PARQUET_CATCH_EXCEPTIONS
}

Status ChunkWriter::WriteMixed(const int16_t* def_levels, int64_t num_levels, const arrow::Array& leaf,
                               parquet::ArrowWriteContext* ctx, bool leaf_nullable) {
  const FatValues values(leaf);
  const int16_t present = descr()->max_definition_level();
  auto is_fat = [&](int64_t i) {
    return values.IsFat(i) && (def_levels == nullptr || def_levels[i] == present);
  };
  for (int64_t i = 0; i < num_levels;) {
    if (is_fat(i)) {
      ARROW_ASSIGN_OR_RAISE(auto value, values.Bytes(i, settings_->pool));
      ARROW_RETURN_NOT_OK(WriteFat(std::move(value)));
      ++i;
      continue;
    }
    int64_t end = i + 1;
    while (end < num_levels && !is_fat(end)) ++end;
    const int16_t* levels = def_levels == nullptr ? nullptr : def_levels + i;
    ARROW_RETURN_NOT_OK(
        Encoder()->WriteArrow(levels, nullptr, end - i, *leaf.Slice(i, end - i), ctx, leaf_nullable));
    i = end;
  }
  return Status::OK();
}

Status ChunkWriter::WriteFat(std::shared_ptr<arrow::Buffer> value) {
  const auto& properties = *settings_->properties;
  const auto& path = descr()->path();
  OwnPage page;
  if (descr()->max_definition_level() > 0) {
    page.levels = ConstantRun(1, static_cast<uint8_t>(descr()->max_definition_level()));
  }
  page.definition_bytes = static_cast<int32_t>(page.levels.size());
  page.plain_bytes = static_cast<int64_t>(sizeof(uint32_t)) + value->size();
  if (page.plain_bytes + page.definition_bytes > INT32_MAX) {
    return DataError("column '" + path->ToDotString() + "' has a value of " + FormatBytes(value->size()) +
                         "; a Parquet page holds less than 2 GiB",
                     "split the value, or write another format");
  }
  CloseEncoder();
  const auto length = static_cast<uint32_t>(value->size());
  const std::string_view head(reinterpret_cast<const char*>(&length), sizeof(length));
  own_body_.Clear();
  ARROW_ASSIGN_OR_RAISE(page.compressed,
                        CompressFat(properties.compression(path), properties.compression_level(path), head,
                                    *value, settings_->pool, &own_body_));
  if (!page.compressed) {
    ARROW_RETURN_NOT_OK(own_body_.Write(head.data(), static_cast<int64_t>(head.size())));
    own_body_.Append(std::move(value));
  }
  WriteOwnPage(std::move(page));
  return Status::OK();
}

std::unique_ptr<FlatPages> ChunkWriter::NewFlatPages() {
  const auto* properties = settings_->properties.get();
  if (type() != parquet::Type::BYTE_ARRAY)
    return MakeNumberPages(descr(), properties, own_pages_.get(), settings_->pool);
  return std::make_unique<TextPages>(descr(), properties, own_pages_.get(), settings_->pool);
}

Result<bool> ChunkWriter::WriteFlat(const arrow::Array& rows) {
  BEGIN_PARQUET_CATCH_EXCEPTIONS
  if (flat_is_over_) return false;
  if (type() == parquet::Type::BYTE_ARRAY && HasFatTexts(rows)) {
    ARROW_RETURN_NOT_OK(EndFlat());
    return false;
  }
  if (!flat_) {
    own_pages_ = OpenPages();
    flat_ = NewFlatPages();
    if (!settings_->properties->dictionary_enabled(descr()->path()) || !MayRepeat(rows))
      ARROW_RETURN_NOT_OK(flat_->EndDictionary());
  }
  ARROW_RETURN_NOT_OK(flat_->Add(rows));
  return true;
  END_PARQUET_CATCH_EXCEPTIONS
}

Status ChunkWriter::EndFlat() {
  flat_is_over_ = true;
  if (!flat_) return Status::OK();
  ARROW_RETURN_NOT_OK(flat_->Finish());
  totals_.own_pages = true;
  totals_.nulls += flat_->nulls();
  return Status::OK();
}

Status ChunkWriter::WriteLists(const TensorLayout& layout, const arrow::Array& elements) {
  BEGIN_PARQUET_CATCH_EXCEPTIONS
  if (!list_page_) {
    list_page_ = std::make_unique<TensorPage>(layout, settings_->properties->data_pagesize(),
                                              descr()->max_definition_level(), settings_->pool);
  }
  const uint8_t* values = elements.data()->buffers[1]->data() + elements.offset() * layout.width;
  for (int64_t left = elements.length() / layout.length; left > 0;) {
    ARROW_ASSIGN_OR_RAISE(const int64_t taken, list_page_->Add(values, left));
    if (list_page_->full()) ARROW_RETURN_NOT_OK(WriteListPage());
    values += taken * layout.length * layout.width;
    left -= taken;
  }
  return Status::OK();
  END_PARQUET_CATCH_EXCEPTIONS
}

Status ChunkWriter::WriteListPage() {
  const auto& properties = *settings_->properties;
  const auto& path = descr()->path();
  if (!own_pages_) own_pages_ = OpenPages();
  OwnPage page;
  page.rows = list_page_->lists();
  page.values = list_page_->values();
  page.levels = list_page_->Levels(&page.repetition_bytes, &page.definition_bytes);
  if (list_page_->layout().indexed) {
    page.encoding = properties.dictionary_index_encoding();
    if (totals_.dictionary_offset < 0) {
      ARROW_ASSIGN_OR_RAISE(auto bytes, ByteDictionary(list_page_->layout().is_signed, settings_->pool));
      own_pages_->WriteDictionaryPage(
          parquet::DictionaryPage(std::move(bytes), 256, properties.dictionary_page_encoding()));
    }
  }
  ARROW_ASSIGN_OR_RAISE(auto values, list_page_->Take());
  page.plain_bytes = values->size();
  own_body_.Clear();
  ARROW_ASSIGN_OR_RAISE(
      page.compressed, CompressPage(properties.compression(path), properties.compression_level(path), *values,
                                    settings_->pool, &own_body_));
  if (!page.compressed) own_body_.Append(std::move(values));
  WriteOwnPage(std::move(page));
  return Status::OK();
}

// The values are handed over as they are: libparquet's page writer wants a page in one buffer.
void ChunkWriter::WriteOwnPage(OwnPage page) {
  totals_.own_pages = true;
  if (!own_pages_) own_pages_ = OpenPages();
  const auto levels_bytes = static_cast<int64_t>(page.levels.size());
  const int64_t page_bytes = levels_bytes + own_body_.size();
  pages_.Substitute(&kToken, std::move(page.levels), &own_body_);
  own_pages_->WriteDataPage(parquet::DataPageV2(
      std::make_shared<arrow::Buffer>(&kToken, page_bytes), static_cast<int32_t>(page.values),
      /*num_nulls=*/0, static_cast<int32_t>(page.rows), page.encoding, page.definition_bytes,
      page.repetition_bytes, levels_bytes + page.plain_bytes, page.compressed));
}

int64_t ChunkWriter::Close() {
  if (list_page_ && list_page_->lists() > 0) PARQUET_THROW_NOT_OK(WriteListPage());
  const bool is_flat = flat_ && !flat_is_over_;  // all of it
  if (is_flat) PARQUET_THROW_NOT_OK(EndFlat());
  if (totals_.values == 0 && !encoder_) Encoder();
  CloseEncoder();
  own_pages_.reset();
  if (totals_.own_pages && settings_->statistics) {
    // The encoders know their own part of the chunk only; what holds for all of it is the null count.
    parquet::EncodedStatistics statistics;
    if (is_flat) {
      flat_->SetRange(&statistics);
      if (statistics.has_min) statistics.is_min_value_exact = statistics.is_max_value_exact = true;
      statistics.ApplyStatSizeLimits(settings_->properties->max_statistics_size(descr()->path()));
      statistics.set_is_signed(descr()->sort_order() == parquet::SortOrder::SIGNED);
    }
    statistics.null_count = totals_.nulls;
    statistics.has_null_count = true;
    metadata_->SetStatistics(statistics);
  }
  return totals_.uncompressed_bytes;
}

void ChunkWriter::Locate(int64_t file_offset) {
  const bool has_dictionary_page = totals_.dictionary_offset >= 0;
  const bool has_plain_pages = totals_.data_pages.count(parquet::Encoding::PLAIN) > 0;
  metadata_->Finish(totals_.values, has_dictionary_page ? file_offset + totals_.dictionary_offset : 0, -1,
                    file_offset + std::max<int64_t>(0, totals_.data_offset), pages_.size(),
                    totals_.uncompressed_bytes, has_dictionary_page,
                    totals_.fallback || (has_dictionary_page && has_plain_pages), totals_.dictionary_pages,
                    totals_.data_pages);
}

}  // namespace partita
