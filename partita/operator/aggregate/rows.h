// Rows of columns as results of aggregates. Private to the aggregates.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "partita/base/error.h"
#include "partita/runs/interleave.h"

namespace arrow {
class Array;
struct ArrayData;
class DataType;
}  // namespace arrow

namespace partita {

// The picked rows of `arrays`, as an array of exactly `type`. Arrays that nobody picks from may be null
// pointers. arrays[0] is one: a pick of it is a null, of which there are none where `nulls` is false.
Result<std::shared_ptr<arrow::Array>> PickRows(const std::shared_ptr<arrow::DataType>& type,
                                               std::vector<std::shared_ptr<arrow::Array>> arrays, bool nulls,
                                               std::span<const RowPick> picks, arrow::MemoryPool* pool);

// Bytes of all buffers of an array that was made for itself, without its dictionary.
int64_t BufferBytes(const arrow::ArrayData& data);

}  // namespace partita
