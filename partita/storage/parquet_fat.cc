#include "partita/storage/parquet_fat.h"

#include <arrow/api.h>
#include <parquet/column_page.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "Parquet lengths are read as they are");

// A value that is less than this part of its page is copied out, so that it does not keep the page alive.
constexpr int64_t kSliceShare = 2;

struct Span {
  int64_t offset = 0;
  int64_t size = 0;
};

class FatFieldReader final : public FieldReader {
 public:
  FatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int column,
                 std::shared_ptr<arrow::DataType> type, int64_t first_row)
      : file_(std::move(file)),
        row_group_(row_group),
        column_(column),
        type_(std::move(type)),
        first_row_(first_row),
        group_(file_->file->metadata->RowGroup(row_group)),
        chunk_(group_->ColumnChunk(column)),
        descr_(group_->schema()->Column(column)) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t) override {
    std::shared_ptr<arrow::Array> array;
    ARROW_RETURN_NOT_OK(
        CatchParquet(file_->file->entry, row_group_, [&]() -> Status { return ReadValue().Value(&array); }));
    return array;
  }

 private:
  Result<std::shared_ptr<arrow::Array>> ReadValue() {
    while (row_ < first_row_) {
      ARROW_RETURN_NOT_OK(NeedPage());  // may skip pages, up to the wanted row
      if (row_ >= first_row_) break;
      ARROW_RETURN_NOT_OK(Locate().status());
      Consume();
    }
    ARROW_RETURN_NOT_OK(NeedPage());
    // Locating moves only the cursor of the page, which is moved again after a refused allocation.
    if (!located_) {
      ARROW_ASSIGN_OR_RAISE(location_, Locate());
      located_ = true;
    }
    ARROW_ASSIGN_OR_RAISE(auto array, MakeValue());
    Consume();
    return array;
  }

  void Consume() {
    located_ = false;
    ++row_;
    if (--page_values_ == 0) page_.reset();  // from now on the array alone keeps it
  }

  Status NeedPage() {
    while (!page_ || page_values_ == 0) ARROW_RETURN_NOT_OK(NextPage());
    return Status::OK();
  }

  // A PageReader for one page each: libparquet decodes the next page into the same buffer, which here belongs
  // to an array.
  Status NextPage() {
    if (!stream_) {
      ARROW_ASSIGN_OR_RAISE(const auto range, ChunkRange(*file_->file, *chunk_));
      stream_ = std::make_shared<ChunkStream>(file_->file->input, range.first, range.second,
                                              file_->window_bytes, MostPageBytes(*chunk_), file_->pool);
    }
    if (values_seen_ >= chunk_->num_values()) {
      return Status::Invalid("column '", descr_->path()->ToDotString(), "' ends at row ", row_, " of ",
                             group_->num_rows());
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t begin, stream_->Tell());
    const int64_t before = values_seen_;
    auto pages =
        parquet::PageReader::Open(stream_, chunk_->num_values() - values_seen_, chunk_->compression(),
                                  file_->file->properties, *descr_, AlwaysCompressed(*file_->file->metadata));
    pages->set_data_page_filter([this](const parquet::DataPageStats& page) {
      if (page.num_values > first_row_ - row_ || page.num_values == 0) return false;
      row_ += page.num_values;
      values_seen_ += page.num_values;
      stream_->SkipNextRead();
      return true;
    });
    const int64_t row_before = row_;
    try {
      auto page = pages->NextPage();
      pages.reset();
      if (page) return TakePage(*page);
      // Only skipped pages were left: the next round reports the end.
      if (values_seen_ == before) values_seen_ = chunk_->num_values();
      return Status::OK();
    } catch (...) {
      stream_->Seek(begin);  // refused memory: the same page again
      row_ = row_before;
      values_seen_ = before;
      throw;
    }
  }

  Status TakePage(const parquet::Page& page) {
    if (page.type() == parquet::PageType::DICTIONARY_PAGE) {
      return TakeDictionary(static_cast<const parquet::DictionaryPage&>(page));
    }
    const auto& data = static_cast<const parquet::DataPage&>(page);
    const uint8_t* bytes = page.data();
    int64_t offset = 0;
    if (page.type() == parquet::PageType::DATA_PAGE_V2) {
      const auto& v2 = static_cast<const parquet::DataPageV2&>(data);
      offset = int64_t{v2.repetition_levels_byte_length()} + v2.definition_levels_byte_length();
      if (offset > page.size()) return Status::Invalid("the levels of a page are larger than the page");
      if (descr_->max_definition_level() > 0) {
        levels_.SetDataV2(v2.definition_levels_byte_length(), descr_->max_definition_level(),
                          data.num_values(), bytes + v2.repetition_levels_byte_length());
      }
    } else if (descr_->max_definition_level() > 0) {
      const auto& v1 = static_cast<const parquet::DataPageV1&>(data);
      offset = levels_.SetData(v1.definition_level_encoding(), descr_->max_definition_level(),
                               data.num_values(), bytes, page.size());
    }
    ARROW_ASSIGN_OR_RAISE(const bool indexed, IsIndexed(data.encoding()));
    if (indexed) ARROW_RETURN_NOT_OK(StartIndices(bytes, &offset, page.size(), data.num_values()));
    values_seen_ += data.num_values();
    page_ = page.buffer();
    page_values_ = data.num_values();
    cursor_ = offset;
    indexed_ = indexed;
    return Status::OK();
  }

  Result<bool> IsIndexed(parquet::Encoding::type encoding) const {
    if (encoding == parquet::Encoding::PLAIN) return false;
    if (encoding != parquet::Encoding::RLE_DICTIONARY && encoding != parquet::Encoding::PLAIN_DICTIONARY) {
      return Status::Invalid("a page of column '", descr_->path()->ToDotString(), "' has the encoding ",
                             parquet::EncodingToString(encoding), ", which its chunk does not list");
    }
    if (!dictionary_) return Status::Invalid("a page refers to a dictionary that is missing");
    return true;
  }

  // Indices are levels by another name: runs of one width. Fat values are few, 15 bits are plenty.
  Status StartIndices(const uint8_t* bytes, int64_t* offset, int64_t size, int num_values) {
    if (*offset >= size) return Status::Invalid("a page of dictionary indices is empty");
    const int width = bytes[(*offset)++];
    if (width > 15) return Status::Invalid("a page of fat values has dictionary indices of ", width, " bits");
    index_width_ = width;
    if (width > 0) {
      indices_.SetDataV2(static_cast<int32_t>(size - *offset), static_cast<int16_t>((1 << width) - 1),
                         num_values, bytes + *offset);
    }
    return Status::OK();
  }

  Status TakeDictionary(const parquet::DictionaryPage& page) {
    std::vector<Span> spans;
    int64_t cursor = 0;
    for (int i = 0; i < page.num_values(); ++i) {
      ARROW_ASSIGN_OR_RAISE(const Span span, PlainValue(page.data(), page.size(), &cursor));
      spans.push_back(span);
    }
    dictionary_ = page.buffer();
    dictionary_spans_ = std::move(spans);
    return Status::OK();
  }

  static Result<Span> PlainValue(const uint8_t* bytes, int64_t size, int64_t* cursor) {
    uint32_t length = 0;
    if (size - *cursor < int64_t{sizeof(length)}) return Status::Invalid("a page ends before its values");
    std::memcpy(&length, bytes + *cursor, sizeof(length));
    const int64_t offset = *cursor + int64_t{sizeof(length)};
    if (length > size - offset)
      return Status::Invalid("a value claims ", length, " bytes, its page has ", size - offset);
    *cursor = offset + length;
    return Span{offset, length};
  }

  struct Location {
    bool valid = false;
    std::shared_ptr<arrow::Buffer> buffer;
    Span span;
  };

  Result<Location> Locate() {
    if (descr_->max_definition_level() > 0) {
      int16_t level = 0;
      if (levels_.Decode(1, &level) != 1) return Status::Invalid("a page has fewer levels than values");
      if (level < descr_->max_definition_level()) return Location{};
    }
    if (!indexed_) {
      ARROW_ASSIGN_OR_RAISE(const Span span, PlainValue(page_->data(), page_->size(), &cursor_));
      return Location{true, page_, span};
    }
    int16_t index = 0;
    if (index_width_ > 0 && indices_.Decode(1, &index) != 1)
      return Status::Invalid("a page has fewer indices than values");
    if (index < 0 || static_cast<size_t>(index) >= dictionary_spans_.size()) {
      return Status::Invalid("a dictionary index ", index, " of ", dictionary_spans_.size());
    }
    return Location{true, dictionary_, dictionary_spans_[static_cast<size_t>(index)]};
  }

  Result<std::shared_ptr<arrow::Array>> MakeValue() {
    if (!location_.valid) return arrow::MakeArrayOfNull(type_, 1, file_->pool);
    const auto [offset, size] = location_.span;
    const bool wide = type_->id() == arrow::Type::LARGE_STRING || type_->id() == arrow::Type::LARGE_BINARY;
    if (!wide && size > INT32_MAX)
      return Status::Invalid("a value of ", size, " bytes in a column of type ", type_->ToString());
    const int64_t width = wide ? sizeof(int64_t) : sizeof(int32_t);
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets,
                          arrow::AllocateBuffer(2 * width, file_->pool));
    if (wide) {
      const int64_t both[2] = {0, size};
      std::memcpy(offsets->mutable_data(), both, sizeof(both));
    } else {
      const int32_t both[2] = {0, static_cast<int32_t>(size)};
      std::memcpy(offsets->mutable_data(), both, sizeof(both));
    }
    std::shared_ptr<arrow::Buffer> data;
    if (size < location_.buffer->size() / kSliceShare) {
      ARROW_ASSIGN_OR_RAISE(data, location_.buffer->CopySlice(offset, size, file_->pool));
    } else {
      data = arrow::SliceBuffer(location_.buffer, offset, size);
    }
    location_.buffer.reset();
    return arrow::MakeArray(
        arrow::ArrayData::Make(type_, 1, {nullptr, std::move(offsets), std::move(data)}, 0));
  }

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int column_;
  const std::shared_ptr<arrow::DataType> type_;
  const int64_t first_row_;
  std::unique_ptr<parquet::RowGroupMetaData> group_;
  std::unique_ptr<parquet::ColumnChunkMetaData> chunk_;
  const parquet::ColumnDescriptor* descr_;

  int64_t row_ = 0;  // the next row of the chunk
  int64_t values_seen_ = 0;
  std::shared_ptr<ChunkStream> stream_;

  // The open page.
  std::shared_ptr<arrow::Buffer> page_;
  int64_t page_values_ = 0;  // left in it
  int64_t cursor_ = 0;
  bool indexed_ = false;
  int index_width_ = 0;
  parquet::LevelDecoder levels_;
  parquet::LevelDecoder indices_;

  std::shared_ptr<arrow::Buffer> dictionary_;
  std::vector<Span> dictionary_spans_;

  bool located_ = false;
  Location location_;
};

bool IsFatType(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return true;
    default:
      return false;
  }
}

bool KnowsEncodings(const parquet::ColumnChunkMetaData& chunk) {
  for (const auto encoding : chunk.encodings()) {
    switch (encoding) {
      case parquet::Encoding::PLAIN:
      case parquet::Encoding::RLE:
      case parquet::Encoding::BIT_PACKED:
      case parquet::Encoding::PLAIN_DICTIONARY:
      case parquet::Encoding::RLE_DICTIONARY:
        break;
      default:
        return false;
    }
  }
  return true;
}

}  // namespace

std::unique_ptr<FieldReader> MakeFatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                int64_t first_row, int64_t fat_bytes) {
  const auto& schema_field = file->file->manifest.schema_fields[static_cast<size_t>(field)];
  if (!schema_field.is_leaf() || !IsFatType(*schema_field.field->type())) return nullptr;
  const int column = schema_field.column_index;
  const auto group = file->file->metadata->RowGroup(row_group);
  const auto* descr = group->schema()->Column(column);
  const auto chunk = group->ColumnChunk(column);
  if (descr->physical_type() != parquet::Type::BYTE_ARRAY || descr->max_repetition_level() != 0)
    return nullptr;
  if (chunk->crypto_metadata() || !chunk->can_decompress() || !KnowsEncodings(*chunk)) return nullptr;
  if (chunk->num_values() <= 0 || chunk->total_uncompressed_size() / chunk->num_values() < fat_bytes)
    return nullptr;
  return std::make_unique<FatFieldReader>(std::move(file), row_group, column, schema_field.field->type(),
                                          first_row);
}

}  // namespace partita
