#include "partita/storage/parquet/fat_page.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "partita/storage/parquet/chunk_stream.h"

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "Parquet lengths are read as they are");

constexpr int64_t kWindowBytes = 256 << 10;  // of compressed bytes; stays in the processor's cache
constexpr int64_t kSkipBytes = 64 << 10;
constexpr int kMostIndexBits = 15;  // large values are few

}  // namespace

FatPages::FatPages(std::shared_ptr<ColumnarFile> file, int row_group, int column)
    : file_(std::move(file)),
      walk_(file_, row_group, column, kWindowBytes),
      descr_(&walk_.descr()),
      fixed_bytes_(descr_->physical_type() == parquet::Type::FIXED_LEN_BYTE_ARRAY ? descr_->type_length()
                                                                                  : -1) {}

int64_t FatPages::average_bytes() const {
  return walk_.chunk().total_uncompressed_size() / std::max<int64_t>(1, walk_.chunk().num_values());
}

void FatPages::Close() {
  page_ = Page();
  walk_.Close();
  dictionary_.reset();
}

Status FatPages::SkipTo(int64_t row) {
  wanted_row_ = row;
  std::shared_ptr<arrow::Buffer> scratch;
  while (row_ < row) {
    if (page_.values == 0) {
      ARROW_RETURN_NOT_OK(NextPage());  // or past it, up to the wanted row
      continue;
    }
    ARROW_RETURN_NOT_OK(Locate());
    if (!scratch) {
      ARROW_ASSIGN_OR_RAISE(scratch, arrow::AllocateBuffer(kSkipBytes, file_->pool));
    }
    while (value_.valid && value_.dictionary_offset < 0 && value_.size > 0) {
      const int64_t some = std::min(value_.size, scratch->size());
      ARROW_RETURN_NOT_OK(page_.body->Read(scratch->mutable_data(), some));
      value_.size -= some;
      page_.bytes -= some;
    }
    value_.size = 0;
    ARROW_RETURN_NOT_OK(Take(scratch->mutable_data()));
  }
  return Status::OK();
}

Status FatPages::Locate() {
  if (located_) return Status::OK();
  while (page_.values == 0) ARROW_RETURN_NOT_OK(NextPage());
  ARROW_ASSIGN_OR_RAISE(value_, NextValue());
  located_ = true;
  return Status::OK();
}

Status FatPages::Take(uint8_t* out) {
  if (!value_.valid) {
    std::memset(out, 0, static_cast<size_t>(value_.size));
  } else if (value_.dictionary_offset >= 0) {
    std::memcpy(out, dictionary_->data() + value_.dictionary_offset, static_cast<size_t>(value_.size));
  } else {
    ARROW_RETURN_NOT_OK(page_.body->Read(out, value_.size));
    page_.bytes -= value_.size;
  }
  located_ = false;
  ++row_;
  ++page_.taken;
  if (--page_.values == 0) page_ = Page();
  return Status::OK();
}

// Opens a page, or goes past one that holds nothing that is wanted.
Status FatPages::NextPage() {
  ARROW_ASSIGN_OR_RAISE(const auto found, walk_.Next());
  if (!found) {
    return Status::Invalid("column '", descr_->path()->ToDotString(), "' ends at row ", row_, " of ",
                           walk_.rows());
  }
  const PageHeader& header = *found;
  if (header.is(PageHeader::Type::kDictionary)) {
    ARROW_RETURN_NOT_OK(OpenDictionary(header));
  } else if (header.is_data() && header.num_values > 0) {
    if (header.num_values <= wanted_row_ - row_) {
      row_ += header.num_values;
    } else {
      ARROW_RETURN_NOT_OK(OpenData(header));
    }
  }
  walk_.Pass(header);
  return Status::OK();
}

Status FatPages::OpenBody(const PageHeader& header, int64_t size_bytes, bool compressed, Page* page) {
  const auto codec = compressed ? walk_.chunk().compression() : arrow::Compression::UNCOMPRESSED;
  ARROW_ASSIGN_OR_RAISE(page->body, OpenInflater(codec, walk_.input(), size_bytes, file_->pool));
  page->bytes = size_bytes;
  page->values = header.num_values;
  return Status::OK();
}

Status FatPages::OpenData(const PageHeader& header) {
  Page page;
  if (header.is(PageHeader::Type::kDataV2)) {
    // Levels come first and are not compressed.
    if (const int64_t bytes = header.levels_bytes(); bytes > 0) {
      ARROW_ASSIGN_OR_RAISE(page.level_bytes, arrow::AllocateBuffer(bytes, file_->pool));
      ARROW_RETURN_NOT_OK(walk_.input()->Read(page.level_bytes->mutable_data(), bytes));
    }
    ARROW_RETURN_NOT_OK(OpenBody(header, header.uncompressed_bytes - header.levels_bytes(),
                                 header.compressed || AlwaysCompressed(*file_->file->metadata), &page));
    if (nullable()) {
      page.levels = std::make_unique<parquet::LevelDecoder>();
      page.levels->SetDataV2(header.definition_bytes, descr_->max_definition_level(), header.num_values,
                             page.level_bytes ? page.level_bytes->data() + header.repetition_bytes : nullptr);
    }
  } else {
    ARROW_RETURN_NOT_OK(OpenBody(header, header.uncompressed_bytes, /*compressed=*/true, &page));
    if (nullable()) ARROW_RETURN_NOT_OK(OpenLevels(header, &page));
  }
  if (header.is_indexed()) {
    ARROW_RETURN_NOT_OK(OpenIndices(header, &page));
  } else if (header.encoding != kPlain) {
    return Status::Invalid("a page of column '", descr_->path()->ToDotString(), "' has the encoding ",
                           header.encoding, ", which its chunk does not list");
  }
  page_ = std::move(page);
  return Status::OK();
}

// Version 1: the levels are part of the compressed bytes.
Status FatPages::OpenLevels(const PageHeader& header, Page* page) {
  int64_t bytes = 0;
  uint32_t length = 0;
  if (header.definition_encoding == kRle) {
    if (page->bytes < int64_t{sizeof(length)}) return Status::Invalid("a page ends before its levels");
    ARROW_RETURN_NOT_OK(page->body->Read(reinterpret_cast<uint8_t*>(&length), sizeof(length)));
    bytes = int64_t{sizeof(length)} + length;
  } else if (header.definition_encoding == kBitPacked) {
    const int width = std::bit_width(static_cast<unsigned>(descr_->max_definition_level()));
    bytes = (int64_t{header.num_values} * width + 7) / 8;
  } else {
    return Status::Invalid("a page has levels of the encoding ", header.definition_encoding);
  }
  if (bytes > page->bytes) return Status::Invalid("the levels of a page are larger than the page");
  ARROW_ASSIGN_OR_RAISE(page->level_bytes, arrow::AllocateBuffer(bytes, file_->pool));
  uint8_t* to = page->level_bytes->mutable_data();
  int64_t have = 0;
  if (header.definition_encoding == kRle) {
    have = sizeof(length);
    std::memcpy(to, &length, sizeof(length));
  }
  ARROW_RETURN_NOT_OK(page->body->Read(to + have, bytes - have));
  page->bytes -= bytes;
  page->levels = std::make_unique<parquet::LevelDecoder>();
  page->levels->SetData(
      header.definition_encoding == kRle ? parquet::Encoding::RLE : parquet::Encoding::BIT_PACKED,
      descr_->max_definition_level(), header.num_values, to, static_cast<int32_t>(bytes));
  return Status::OK();
}

// Indices are levels by another name: runs of one width.
Status FatPages::OpenIndices(const PageHeader& header, Page* page) {
  if (!dictionary_) return Status::Invalid("a page refers to a dictionary that is missing");
  if (page->bytes < 1) return Status::Invalid("a page of dictionary indices is empty");
  const int64_t bytes = page->bytes;
  ARROW_ASSIGN_OR_RAISE(page->index_bytes, arrow::AllocateBuffer(bytes, file_->pool));
  uint8_t* to = page->index_bytes->mutable_data();
  ARROW_RETURN_NOT_OK(page->body->Read(to, bytes));
  page->bytes = 0;
  page->indexed = true;
  page->index_width = to[0];
  if (page->index_width > kMostIndexBits) {
    return Status::NotImplemented("a dictionary of large values has indices of ", page->index_width, " bits");
  }
  if (page->index_width > 0) {
    page->indices = std::make_unique<parquet::LevelDecoder>();
    page->indices->SetDataV2(static_cast<int32_t>(bytes - 1),
                             static_cast<int16_t>((1 << page->index_width) - 1), header.num_values, to + 1);
  }
  return Status::OK();
}

Status FatPages::OpenDictionary(const PageHeader& header) {
  Page page;
  ARROW_RETURN_NOT_OK(OpenBody(header, header.uncompressed_bytes, /*compressed=*/true, &page));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes,
                        arrow::AllocateBuffer(header.uncompressed_bytes, file_->pool));
  ARROW_RETURN_NOT_OK(page.body->Read(bytes->mutable_data(), bytes->size()));
  std::vector<Value> values;
  int64_t at = 0;
  for (int i = 0; i < header.num_values; ++i) {
    int64_t size = fixed_bytes_;
    if (size < 0) {
      uint32_t length = 0;
      if (bytes->size() - at < int64_t{sizeof(length)})
        return Status::Invalid("a dictionary ends before its values");
      std::memcpy(&length, bytes->data() + at, sizeof(length));
      at += int64_t{sizeof(length)};
      size = length;
    }
    if (size > bytes->size() - at) {
      return Status::Invalid("a value claims ", size, " bytes, its dictionary has ", bytes->size() - at);
    }
    values.push_back({true, size, at});
    at += size;
  }
  dictionary_ = std::move(bytes);
  dictionary_values_ = std::move(values);
  return Status::OK();
}

Result<FatPages::Value> FatPages::NextValue() {
  if (nullable()) {
    int16_t level = 0;
    if (page_.levels->Decode(1, &level) != 1) return Status::Invalid("a page has fewer levels than values");
    if (level < descr_->max_definition_level()) return Value{false, std::max<int64_t>(0, fixed_bytes_)};
  }
  if (page_.indexed) {
    int16_t index = 0;
    if (page_.index_width > 0 && page_.indices->Decode(1, &index) != 1) {
      return Status::Invalid("a page has fewer indices than values");
    }
    if (index < 0 || static_cast<size_t>(index) >= dictionary_values_.size()) {
      return Status::Invalid("a dictionary index ", index, " of ", dictionary_values_.size());
    }
    return dictionary_values_[static_cast<size_t>(index)];
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t size, NextLength());
  if (size > page_.bytes) {
    return Status::Invalid("a value claims ", size, " bytes, its page has ", page_.bytes);
  }
  return Value{true, size};
}

Result<int64_t> FatPages::NextLength() {
  if (fixed_bytes_ >= 0) return fixed_bytes_;
  uint32_t length = 0;
  if (page_.bytes < int64_t{sizeof(length)}) return Status::Invalid("a page ends before its values");
  ARROW_RETURN_NOT_OK(page_.body->Read(reinterpret_cast<uint8_t*>(&length), sizeof(length)));
  page_.bytes -= int64_t{sizeof(length)};
  return int64_t{length};
}

}  // namespace partita
