// One value of an array as people read it in a table cell.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace arrow {
class Array;
class DataType;
}  // namespace arrow

namespace partita::cli {

// About `max_bytes` of UTF-8 on one line: text as it is with control characters escaped, "null", numbers
// exact, lists as [..], structs and maps as {..}, and "<binary 12 KiB>" for bytes. Cost is bounded by
// max_bytes, not by the value.
std::string CellText(const arrow::Array& array, int64_t row, size_t max_bytes = 200);
// Whether cells of the type stand at the right of their column: numbers.
bool IsNumberColumn(const arrow::DataType& type);

}  // namespace partita::cli
