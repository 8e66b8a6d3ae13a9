// Columns of integers and floats as doubles, and states that are lists of fixed-width values. Private to the
// aggregates.
#pragma once

#include <memory>
#include <span>

#include "partita/operator/aggregate/state.h"

namespace partita {

// The values of a column; what stands where it is null does not matter.
Status ReadDoubles(const arrow::Array& column, GroupVector<double>* out);
// Of integers of up to 32 bits.
Status ReadIntegers(const arrow::Array& column, GroupVector<int64_t>* out);

// A binary array of rows with so many bytes each, to be filled through `write(row, bytes)`.
template <typename SizeOf, typename Write>
Result<std::shared_ptr<arrow::Array>> BuildBinary(int64_t rows, SizeOf size_of, Write write,
                                                  arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer,
                        arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(int32_t)), pool));
  auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
  int64_t bytes = 0;
  for (int64_t row = 0; row < rows; ++row) {
    offsets[row] = static_cast<int32_t>(bytes);
    bytes += static_cast<int64_t>(size_of(row));
    if (bytes > INT32_MAX) return OutOfMemoryError("states of more than 2 GiB together");
  }
  offsets[rows] = static_cast<int32_t>(bytes);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> data, arrow::AllocateBuffer(bytes, pool));
  for (int64_t row = 0; row < rows; ++row) write(row, data->mutable_data() + offsets[row]);
  return std::make_shared<arrow::BinaryArray>(rows, std::move(offset_buffer), std::move(data));
}

}  // namespace partita
