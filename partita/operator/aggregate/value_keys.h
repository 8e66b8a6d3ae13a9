// The values of a column as keys: equal exactly when the values are. Private to the aggregates.
#pragma once

#include "partita/base/error.h"
#include "partita/runs/row_key.h"

namespace arrow {
class Array;
}

namespace partita {

Result<RowKeys> EncodeValues(const arrow::Array& column, arrow::MemoryPool* pool);
// Whether the row of EncodeValues is not null.
inline bool IsValue(const RowKeys& keys, int64_t row) { return keys.prefix(row).hi >> 56 == 1; }

}  // namespace partita
