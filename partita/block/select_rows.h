// Keeps some rows of a batch, whatever its types. Arrow's own selection has no kernel for views and run-end
// encoded columns, alone or inside other types; here they travel through it as columns of other types with
// the same rows: a view as its 16 bytes (what it points to is shared, never copied), a run-end encoded column
// as the positions of its rows.
#pragma once

#include <memory>

#include "partita/base/error.h"

namespace arrow {
class BooleanArray;
class MemoryPool;
class RecordBatch;
}  // namespace arrow

namespace partita {

// The rows where `mask` is true (null is not true). mask.length() == batch.num_rows(). Views that would keep
// much more memory alive than they show are copied.
Result<std::shared_ptr<arrow::RecordBatch>> SelectRows(const arrow::RecordBatch& batch,
                                                       const std::shared_ptr<arrow::BooleanArray>& mask,
                                                       arrow::MemoryPool* pool);

}  // namespace partita
