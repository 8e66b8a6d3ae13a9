// Key columns: what rows are sorted, hashed or grouped by. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace partita {

// All types have an order and a hash, but nested ones (lists, structs, maps, unions, run-end encoded) and
// intervals of several units.
bool IsKeyType(const arrow::DataType& type);

// Checks the columns that `op` names in its argument `arg`: at least one, none twice, all in the input, none
// of a nested type. User errors with the nearest name.
Status CheckKeys(std::string_view op, const std::vector<std::string>& keys, const arrow::Schema& input,
                 std::string_view arg = "by");

// The keys of `distinct`: `by`, or all columns where it names none.
Result<std::vector<std::string>> DistinctKeys(const std::vector<std::string>& by, const arrow::Schema& input);

}  // namespace partita
