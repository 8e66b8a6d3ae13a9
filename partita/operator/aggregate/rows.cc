#include "partita/operator/aggregate/rows.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/compute/cast.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

namespace partita {
namespace {

// Builders of dictionaries choose the type of indices themselves.
Result<std::shared_ptr<arrow::Array>> WithIndexType(const std::shared_ptr<arrow::Array>& array,
                                                    const std::shared_ptr<arrow::DataType>& type,
                                                    arrow::MemoryPool* pool) {
  const auto& encoded = static_cast<const arrow::DictionaryArray&>(*array);
  const auto& wanted = static_cast<const arrow::DictionaryType&>(*type);
  arrow::compute::ExecContext exec(pool);
  auto indices = arrow::compute::Cast(*encoded.indices(), wanted.index_type(),
                                      arrow::compute::CastOptions::Safe(), &exec);
  if (!indices.ok() && indices.status().IsInvalid()) {
    return DataError(
        "the values of a column are more than its dictionary type " + type->ToString() + " can tell apart",
        "cast the column to its plain type with with_columns first");
  }
  ARROW_RETURN_NOT_OK(indices.status());
  return arrow::DictionaryArray::FromArrays(type, *indices, encoded.dictionary());
}

}  // namespace

Result<std::shared_ptr<arrow::Array>> PickRows(const std::shared_ptr<arrow::DataType>& type,
                                               std::vector<std::shared_ptr<arrow::Array>> arrays, bool nulls,
                                               std::span<const RowPick> picks, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(const auto empty, arrow::MakeEmptyArray(type, pool));
  if (nulls) {
    ARROW_ASSIGN_OR_RAISE(arrays[0], arrow::MakeArrayOfNull(type, 1, pool));
  }
  const auto schema = arrow::schema({arrow::field("value", type)});
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (auto& array : arrays) {
    if (array == nullptr) array = empty;
    batches.push_back(arrow::RecordBatch::Make(schema, array->length(), {array}));
  }
  ARROW_ASSIGN_OR_RAISE(const auto batch, Interleave(schema, batches, picks, pool));
  auto result = batch->column(0);
  if (result->type()->Equals(*type)) return result;
  if (type->id() == arrow::Type::DICTIONARY) return WithIndexType(result, type, pool);
  return BugError("rows of type " + type->ToString() + " became " + result->type()->ToString());
}

int64_t BufferBytes(const arrow::ArrayData& data) {
  int64_t size = 0;
  for (const auto& buffer : data.buffers) size += buffer != nullptr ? buffer->size() : 0;
  for (const auto& child : data.child_data) size += BufferBytes(*child);
  return size;
}

}  // namespace partita
