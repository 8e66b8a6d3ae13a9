#include "partita/operator/aggregate/value_keys.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

namespace partita {

Result<RowKeys> EncodeValues(const arrow::Array& column, arrow::MemoryPool* pool) {
  auto schema = arrow::schema({arrow::field("value", column.type())});
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*schema, {KeyColumn{}}));
  const auto batch =
      arrow::RecordBatch::Make(std::move(schema), column.length(), {arrow::MakeArray(column.data())});
  return encoder.Encode(*batch, pool);
}

}  // namespace partita
