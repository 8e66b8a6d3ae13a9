// Rows of several batches, picked in any order, as one batch. Arrow has Take for one array, not for many.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

struct RowPick {
  uint32_t batch = 0;
  uint32_t row = 0;
  bool operator==(const RowPick&) const = default;
};
inline constexpr RowPick kNullRow{UINT32_MAX, 0};  // a row of nulls

// All batches have the columns of `schema`; texts may stand as indices (of 32 bits) of dictionaries. Text
// beyond 2 GiB in a column of 32-bit offsets is refused as out of memory, so that the caller picks fewer
// rows.
Result<std::shared_ptr<arrow::RecordBatch>> Interleave(
    const std::shared_ptr<arrow::Schema>& schema,
    std::span<const std::shared_ptr<arrow::RecordBatch>> batches, std::span<const RowPick> picks,
    arrow::MemoryPool* pool);

}  // namespace partita
