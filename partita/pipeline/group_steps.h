// map_groups of native steps: which steps may stand inside it, and what is done to the rows of a group. Pure.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"

namespace arrow {
class Schema;
}

namespace partita {

inline constexpr char kMapGroupsOp[] = "map_groups";
inline constexpr char kRowIndexOp[] = "with_row_index";

// Steps that see the rows of a group in their order: sort, limit, with_row_index. The others that may stand
// inside see one row after the other, as outside.
bool SeesGroup(const StepSpec& spec);
// The user error for a step that cannot stand inside.
Status CheckGroupStep(const StepSpec& spec);

// A list of {"op", "args", "on_error"}, checked, with normalised arguments; on_error is null where none is
// given. Idempotent.
Result<Json> NormaliseGroupSteps(const Json& value);

struct GroupStep {
  const StepSpec* spec = nullptr;
  Json args = Json::object();  // normalised
  std::optional<OnError> on_error;
};
// `steps` is normalised.
Result<std::vector<GroupStep>> GroupStepsOf(const Json& steps);

// What becomes of the rows of each group, one after the other: they are numbered, and the first ones stay.
// As JSON: {"op": "rows", "limit": 3, "numbers": [["index", 0]]}.
struct GroupRows {
  int64_t limit = -1;  // -1: all
  struct Number {
    std::string name;   // of the new column
    int64_t first = 0;  // of the first row of each group
  };
  std::vector<Number> numbers;

  bool is_nothing() const { return limit < 0 && numbers.empty(); }
};
Json GroupRowsToJson(const GroupRows& rows);
Result<GroupRows> GroupRowsFromJson(const Json& value);
// The columns of `input`, then the numbers, of type int64.
Result<std::shared_ptr<arrow::Schema>> GroupRowsSchema(const GroupRows& rows, const arrow::Schema& input);

}  // namespace partita
