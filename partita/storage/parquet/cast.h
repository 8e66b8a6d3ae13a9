// Files of one dataset may differ in how they store a column; what can be read as the declared type without
// loss is. Internal to the room.
#pragma once

#include <memory>

#include "partita/base/error.h"

namespace arrow {
class Array;
class DataType;
class MemoryPool;
}  // namespace arrow

namespace partita {

// Whether values of `from` may stand for values of `to` at all: same kind (integers, floats, strings, times,
// …). Each value is then checked by CastColumn. The error names both types.
Status CheckCast(const arrow::DataType& from, const arrow::DataType& to);

// `array` itself where the types are equal. A value that does not survive is a data error.
Result<std::shared_ptr<arrow::Array>> CastColumn(std::shared_ptr<arrow::Array> array,
                                                 const std::shared_ptr<arrow::DataType>& type,
                                                 arrow::MemoryPool* pool);

}  // namespace partita
