#include "partita/storage/parquet/tensor.h"

#include <arrow/api.h>
#include <parquet/statistics.h>

#include <algorithm>
#include <optional>

#include "partita/storage/parquet/tensor_page.h"

namespace partita {
namespace {

// Of one array; a single list may be larger.
constexpr int64_t kMostArrayBytes = 64 << 20;

const std::shared_ptr<arrow::DataType>& StorageType(const std::shared_ptr<arrow::DataType>& type) {
  if (type->id() != arrow::Type::EXTENSION) return type;
  return static_cast<const arrow::ExtensionType&>(*type).storage_type();
}

class TensorFieldReader final : public FieldReader {
 public:
  TensorFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field, int column, TensorForm form,
                    int64_t first_row)
      : file_(std::move(file)),
        row_group_(row_group),
        field_(field),
        type_(file_->file->manifest.schema_fields[static_cast<size_t>(field)].field->type()),
        form_(form),
        rows_of_group_(file_->file->metadata->RowGroup(row_group)->num_rows()),
        row_(first_row),
        pages_(file_, row_group, column, form) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) override {
    if (any_lists_) return any_lists_->Read(rows);
    std::shared_ptr<arrow::Array> array;
    const Status status = CatchParquet(file_->file->entry, row_group_,
                                       [&]() -> Status { return ReadLists(rows).Value(&array); });
    if (status.ok()) return array;
    pages_.Close();  // they may be anywhere: the next call goes to row_
    if (status.IsOutOfMemory() || status.IsCancelled()) return status;
    // Not all lists are full, or the file is not what its footer says: Arrow's reader tells what is wrong.
    any_lists_ = MakePageFieldReader(file_, row_group_, field_, row_);
    return any_lists_->Read(rows);
  }

 private:
  Result<std::shared_ptr<arrow::Array>> ReadLists(int64_t rows) {
    if (row_ >= rows_of_group_) return Status::Invalid("a column ends at row ", row_);
    const int64_t list_bytes = form_.length * form_.width;
    rows = std::clamp<int64_t>(rows, 1, std::max<int64_t>(1, kMostArrayBytes / list_bytes));
    rows = std::min(rows, rows_of_group_ - row_);
    ARROW_RETURN_NOT_OK(pages_.SkipTo(row_ * form_.length));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> values,
                          arrow::AllocateBuffer(rows * list_bytes, file_->pool));
    ARROW_RETURN_NOT_OK(pages_.Read(rows * form_.length, values->mutable_data()));
    row_ += rows;
    const auto& element = StorageType(type_)->field(0)->type();
    auto elements = arrow::ArrayData::Make(element, rows * form_.length, {nullptr, std::move(values)}, 0);
    return arrow::MakeArray(arrow::ArrayData::Make(type_, rows, {nullptr}, {std::move(elements)}, 0));
  }

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int field_;
  const std::shared_ptr<arrow::DataType> type_;
  const TensorForm form_;
  const int64_t rows_of_group_;
  int64_t row_;  // the next row to return
  TensorPages pages_;
  std::unique_ptr<FieldReader> any_lists_;  // instead
};

// Numbers whose bits are the same in file and array, or the low ones of what is stored.
std::optional<TensorForm> FormOf(const arrow::FixedSizeListType& type,
                                 const parquet::ColumnDescriptor& descr) {
  int stored = 0;
  switch (type.value_type()->id()) {
    case arrow::Type::INT8:
    case arrow::Type::UINT8:
    case arrow::Type::INT16:
    case arrow::Type::UINT16:
    case arrow::Type::INT32:
    case arrow::Type::UINT32:
      if (descr.physical_type() == parquet::Type::INT32) stored = 4;
      break;
    case arrow::Type::INT64:
    case arrow::Type::UINT64:
      if (descr.physical_type() == parquet::Type::INT64) stored = 8;
      break;
    case arrow::Type::FLOAT:
      if (descr.physical_type() == parquet::Type::FLOAT) stored = 4;
      break;
    case arrow::Type::DOUBLE:
      if (descr.physical_type() == parquet::Type::DOUBLE) stored = 8;
      break;
    case arrow::Type::HALF_FLOAT:
      if (descr.physical_type() == parquet::Type::FIXED_LEN_BYTE_ARRAY && descr.type_length() == 2)
        stored = 2;
      break;
    default:
      break;
  }
  if (stored == 0 || type.list_size() <= 0) return std::nullopt;
  return TensorForm{type.list_size(), type.value_type()->byte_width(), stored};
}

// Plain values take their room: memory is not claimed for what the chunk cannot hold.
bool IsPlausible(const parquet::ColumnChunkMetaData& chunk, const TensorForm& form) {
  return chunk.has_dictionary_page() ||
         chunk.total_uncompressed_size() / form.stored_width >= chunk.num_values();
}

// Missing and null lists take one level instead of `length`: that all are full shows in the count of levels
// (not of lists of one, which stay with Arrow's reader).
bool AreAllFull(const parquet::ColumnChunkMetaData& chunk, int64_t rows, int64_t length) {
  int64_t values = 0;
  if (rows <= 0 || __builtin_mul_overflow(rows, length, &values)) return false;
  if (length == 1 || chunk.num_values() != values) return false;
  const auto statistics = chunk.statistics();
  return !statistics || !statistics->HasNullCount() || statistics->null_count() == 0;
}

}  // namespace

std::unique_ptr<FieldReader> MakeTensorFieldReader(std::shared_ptr<ColumnarFile> file, int row_group,
                                                   int field, int64_t first_row) {
  const auto& schema_field = file->file->manifest.schema_fields[static_cast<size_t>(field)];
  const auto& type = *StorageType(schema_field.field->type());
  if (type.id() != arrow::Type::FIXED_SIZE_LIST || schema_field.children.size() != 1 ||
      !schema_field.children[0].is_leaf()) {
    return nullptr;
  }
  const int column = schema_field.children[0].column_index;
  const auto group = file->file->metadata->RowGroup(row_group);
  const auto& descr = *group->schema()->Column(column);
  const auto chunk = group->ColumnChunk(column);
  const auto form = FormOf(static_cast<const arrow::FixedSizeListType&>(type), descr);
  if (!form || descr.max_repetition_level() != 1 || descr.max_definition_level() < 1) return nullptr;
  if (chunk->crypto_metadata() || !CanInflate(chunk->compression()) || !KnowsEncodings(*chunk))
    return nullptr;
  if (!AreAllFull(*chunk, group->num_rows(), form->length) || !IsPlausible(*chunk, *form)) return nullptr;
  return std::make_unique<TensorFieldReader>(std::move(file), row_group, field, column, *form, first_row);
}

}  // namespace partita
