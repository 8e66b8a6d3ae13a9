#include "partita/storage/parquet/dictionary.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>
#include <parquet/column_reader.h>

#include <algorithm>
#include <cstring>
#include <limits>

namespace partita {
namespace {

// Of a dictionary of integers, which are as quick to look at as indices, unless these are few.
constexpr int64_t kMostNumberBytes = 32 << 10;
// Fewer rows to a value, and indices are as long as what they stand for.
constexpr int64_t kLeastRowsPerValue = 2;

// The values of a dictionary page as an array. They live in the reader.
Result<std::shared_ptr<arrow::Array>> TextDictionary(const std::shared_ptr<arrow::DataType>& type,
                                                     const parquet::ByteArray* values, int32_t size,
                                                     arrow::MemoryPool* pool) {
  int64_t bytes = 0;
  for (int32_t i = 0; i < size; ++i) bytes += values[i].len;
  if (bytes > std::numeric_limits<int32_t>::max()) return Status::Invalid("a dictionary of more than 2 GiB");
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer,
                        arrow::AllocateBuffer((int64_t{size} + 1) * 4, pool));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> data, arrow::AllocateBuffer(bytes, pool));
  auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
  int32_t at = 0;
  for (int32_t i = 0; i < size; ++i) {
    offsets[i] = at;
    if (values[i].len > 0) std::memcpy(data->mutable_data() + at, values[i].ptr, values[i].len);
    at += static_cast<int32_t>(values[i].len);
  }
  offsets[size] = at;
  return arrow::MakeArray(arrow::ArrayData::Make(
      type, size, {nullptr, std::move(offset_buffer), std::move(data)}, /*null_count=*/0));
}

template <typename T>
Result<std::shared_ptr<arrow::Array>> NumberDictionary(const std::shared_ptr<arrow::DataType>& type,
                                                       const T* values, int32_t size,
                                                       arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> data,
                        arrow::AllocateBuffer(int64_t{size} * static_cast<int64_t>(sizeof(T)), pool));
  if (size > 0) std::memcpy(data->mutable_data(), values, static_cast<size_t>(size) * sizeof(T));
  return arrow::MakeArray(arrow::ArrayData::Make(type, size, {nullptr, std::move(data)}, 0));
}

template <typename ParquetType>
class DictionaryFieldReader final : public FieldReader {
 public:
  DictionaryFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field, int64_t first_row)
      : file_(std::move(file)),
        row_group_(row_group),
        field_(field),
        row_(first_row),
        type_(Field().field->type()),
        rows_of_group_(file_->file->metadata->RowGroup(row_group)->num_rows()) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) override {
    if (plain_) return plain_->Read(rows);
    std::shared_ptr<arrow::Array> array;
    Status status = CatchParquet(file_->file->entry, row_group_,
                                 [&]() -> Status { return ReadIndices(rows).Value(&array); });
    if (status.ok() && array) return array;
    column_.reset();  // it may be anywhere: the next call opens it at row_
    if (status.IsOutOfMemory() || status.IsCancelled()) return status;
    // It does not pay, or the file is not what its footer says: whoever reads values tells what is wrong.
    dictionary_.reset();
    plain_ = MakePageFieldReader(file_, row_group_, field_, row_);
    return plain_->Read(rows);
  }

 private:
  using ColumnReader = parquet::TypedColumnReader<ParquetType>;

  const parquet::arrow::SchemaField& Field() const {
    return file_->file->manifest.schema_fields[static_cast<size_t>(field_)];
  }

  // False where the pages are not all of indices.
  Result<bool> Open() {
    const int leaf = Field().column_index;
    auto skip = row_ > 0 ? std::make_shared<PageSkip>(PageSkip{row_, 0}) : nullptr;
    file_->pages->next_skip = skip;
    auto group = file_->pages->GetRowGroup(row_group_);
    file_->pages->next_skip = nullptr;
    column_ = group->ColumnWithExposeEncoding(leaf, parquet::ExposedEncoding::DICTIONARY);
    if (column_->GetExposedEncoding() != parquet::ExposedEncoding::DICTIONARY) return false;
    if (row_ == 0) return true;
    if (!column_->HasNext()) return Status::Invalid("a column ends before row ", row_);
    const int64_t left = row_ - skip->skipped;
    if (left > 0 && Reader()->Skip(left) != left) return Status::Invalid("a column ends before row ", row_);
    return true;
  }

  ColumnReader* Reader() const { return static_cast<ColumnReader*>(column_.get()); }

  // Null where the column is better read as values.
  Result<std::shared_ptr<arrow::Array>> ReadIndices(int64_t rows) {
    if (!column_) {
      ARROW_ASSIGN_OR_RAISE(const bool opened, Open());
      if (!opened) return nullptr;
    }
    rows = std::min(rows, rows_of_group_ - row_);
    const bool nullable =
        file_->file->metadata->schema()->Column(Field().column_index)->max_definition_level() > 0;
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(rows * 4, file_->pool));
    std::shared_ptr<arrow::Buffer> levels;
    if (nullable) {
      ARROW_ASSIGN_OR_RAISE(levels, arrow::AllocateBuffer(rows * 2, file_->pool));
    }
    auto* indices = reinterpret_cast<int32_t*>(buffer->mutable_data());
    auto* level = nullable ? reinterpret_cast<int16_t*>(levels->mutable_data()) : nullptr;
    const typename ParquetType::c_type* values = nullptr;
    int32_t size = 0;
    int64_t done = 0, present = 0;
    while (done < rows) {
      int64_t some = 0;
      const int64_t got = Reader()->ReadBatchWithDictionary(
          rows - done, nullable ? level + done : nullptr, nullptr, indices + present, &some, &values, &size);
      if (got <= 0) return Status::Invalid("a column ends at row ", row_ + done, " of ", rows_of_group_);
      done += got;
      present += some;
      if (dictionary_) continue;
      if (int64_t{size} * kLeastRowsPerValue > rows_of_group_) return nullptr;
      ARROW_ASSIGN_OR_RAISE(dictionary_, MakeDictionary(values, size));
    }
    uint32_t last = 0;
    for (int64_t i = 0; i < present; ++i) last = std::max(last, static_cast<uint32_t>(indices[i]));
    if (present > 0 && last >= dictionary_->length())
      return Status::Invalid("an index ", last, " of a dictionary of ", dictionary_->length());
    ARROW_ASSIGN_OR_RAISE(auto validity, Spread(rows, present, level, indices));
    row_ += rows;
    return arrow::MakeArray(arrow::ArrayData::Make(arrow::dictionary(arrow::int32(), type_), rows,
                                                   {std::move(validity), std::move(buffer)}, {},
                                                   dictionary_->data(), rows - present));
  }

  Result<std::shared_ptr<arrow::Array>> MakeDictionary(const typename ParquetType::c_type* values,
                                                       int32_t size) {
    if constexpr (std::is_same_v<ParquetType, parquet::ByteArrayType>) {
      return TextDictionary(type_, values, size, file_->pool);
    } else {
      return NumberDictionary(type_, values, size, file_->pool);
    }
  }

  // Moves the indices of rows that are there to their places. No bitmap where all are.
  Result<std::shared_ptr<arrow::Buffer>> Spread(int64_t rows, int64_t present, const int16_t* level,
                                                int32_t* indices) {
    if (present == rows) return nullptr;
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> validity,
                          arrow::AllocateEmptyBitmap(rows, file_->pool));
    int64_t from = present;
    for (int64_t row = rows; row-- > 0;) {
      const bool is_there = level[row] == 1;
      if (is_there && from == 0) return Status::Invalid("a page has fewer values than levels");
      indices[row] = is_there ? indices[--from] : 0;
      if (is_there) arrow::bit_util::SetBit(validity->mutable_data(), row);
    }
    return validity;
  }

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int field_;
  int64_t row_;  // the next row to return
  const std::shared_ptr<arrow::DataType> type_;
  const int64_t rows_of_group_;
  std::shared_ptr<parquet::ColumnReader> column_;
  std::shared_ptr<arrow::Array> dictionary_;
  std::unique_ptr<FieldReader> plain_;  // instead
};

// Whether values of the physical type are those of the Arrow type, bit for bit.
bool IsSame(parquet::Type::type physical, arrow::Type::type type) {
  switch (physical) {
    case parquet::Type::BYTE_ARRAY:
      return type == arrow::Type::STRING || type == arrow::Type::BINARY;
    case parquet::Type::INT32:
      return type == arrow::Type::INT32 || type == arrow::Type::DATE32;
    case parquet::Type::INT64:
      return type == arrow::Type::INT64;
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<FieldReader> MakeDictionaryFieldReader(std::shared_ptr<ColumnarFile> file, int row_group,
                                                       int field, int64_t first_row) {
  const auto& schema_field = file->file->manifest.schema_fields[static_cast<size_t>(field)];
  if (!schema_field.is_leaf()) return nullptr;
  const auto group = file->file->metadata->RowGroup(row_group);
  const auto& descr = *group->schema()->Column(schema_field.column_index);
  const auto chunk = group->ColumnChunk(schema_field.column_index);
  if (descr.max_repetition_level() != 0 || descr.max_definition_level() > 1 || chunk->crypto_metadata() ||
      !chunk->has_dictionary_page() || !IsSame(descr.physical_type(), schema_field.field->type()->id())) {
    return nullptr;
  }
  if (descr.physical_type() == parquet::Type::BYTE_ARRAY) {
    return std::make_unique<DictionaryFieldReader<parquet::ByteArrayType>>(std::move(file), row_group, field,
                                                                           first_row);
  }
  if (chunk->data_page_offset() - chunk->dictionary_page_offset() > kMostNumberBytes) return nullptr;
  if (descr.physical_type() == parquet::Type::INT32) {
    return std::make_unique<DictionaryFieldReader<parquet::Int32Type>>(std::move(file), row_group, field,
                                                                       first_row);
  }
  return std::make_unique<DictionaryFieldReader<parquet::Int64Type>>(std::move(file), row_group, field,
                                                                     first_row);
}

}  // namespace partita
