// As-of joins: each row beside the nearest one of another input.
#include <arrow/type.h>

#include <algorithm>
#include <array>

#include "partita/block/schema.h"
#include "partita/pipeline/join.h"

namespace partita {
namespace {

using Direction = Asof::Direction;
using Names = std::vector<std::string>;

constexpr std::array<std::pair<const char*, Direction>, 3> kDirections = {
    {{"backward", Direction::kBackward}, {"forward", Direction::kForward}, {"nearest", Direction::kNearest}}};

Result<Direction> ParseDirection(const std::string& name) {
  for (const auto& [known, direction] : kDirections) {
    if (name == known) return direction;
  }
  return UserError("there is no direction '" + name + "'", "choose backward, forward or nearest");
}

// `both`, or `one_sided` where the names differ.
Result<Names> NamesOf(const Json& args, const char* both, const char* one_sided) {
  ARROW_ASSIGN_OR_RAISE(const Names shared, GetStringsOr(args, both, {}));
  ARROW_ASSIGN_OR_RAISE(Names own, GetStringsOr(args, one_sided, {}));
  if (!shared.empty() && !own.empty()) {
    return UserError(
        "join_asof takes columns from `" + std::string(both) + "` or from `" + one_sided + "`, not from both",
        "leave one of them out");
  }
  return shared.empty() ? own : shared;
}

}  // namespace

bool IsAsofType(const arrow::DataType& type) {
  const auto id = type.id();
  const bool is_float = id == arrow::Type::FLOAT || id == arrow::Type::DOUBLE;
  return arrow::is_integer(id) || is_float || arrow::is_date(id) || arrow::is_time(id) ||
         id == arrow::Type::TIMESTAMP || id == arrow::Type::DURATION;
}

Result<AsofInputs> AsofInputsOf(const Json& args, const std::shared_ptr<arrow::Schema>& left,
                                const std::shared_ptr<arrow::Schema>& right) {
  AsofInputs out;
  ARROW_ASSIGN_OR_RAISE(Names lefts, NamesOf(args, "by", "left_by"));
  ARROW_ASSIGN_OR_RAISE(Names rights, NamesOf(args, "by", "right_by"));
  ARROW_ASSIGN_OR_RAISE(const Names left_on, NamesOf(args, "on", "left_on"));
  ARROW_ASSIGN_OR_RAISE(const Names right_on, NamesOf(args, "on", "right_on"));
  ARROW_ASSIGN_OR_RAISE(const std::string direction, GetString(args, "direction"));
  ARROW_ASSIGN_OR_RAISE(const std::string suffix, GetStringOr(args, "suffix", ""));
  if (left_on.size() != 1 || right_on.size() != 1) {
    return UserError("join_asof needs one column of each input to order by",
                     "name it in `on`, or in `left_on` and `right_on` where the names differ");
  }
  // What is ordered by is checked, and made of one type, like a key.
  lefts.push_back(left_on[0]);
  rights.push_back(right_on[0]);
  ARROW_ASSIGN_OR_RAISE(
      out.inputs,
      JoinInputsOf({{"how", "asof"}, {"left_on", std::move(lefts)}, {"right_on", std::move(rights)}}, left,
                   right));
  auto& keys = out.inputs.keys;
  out.asof.left = keys.left.back();
  out.asof.right = keys.right.back();
  keys.left.pop_back();
  keys.right.pop_back();
  ARROW_ASSIGN_OR_RAISE(out.asof.direction, ParseDirection(direction));
  const auto& type = *out.inputs.left->GetFieldByName(out.asof.left)->type();
  if (!IsAsofType(type)) {
    return UserError(
        "join_asof orders by numbers or times, column '" + out.asof.left + "' is " + TypeToString(type),
        "cast it before the join");
  }
  out.join_args = {{"how", "asof"}, {"suffix", suffix}};
  return out;
}

Json AsofToJson(const Asof& asof) {
  std::string direction;
  for (const auto& [name, value] : kDirections) {
    if (value == asof.direction) direction = name;
  }
  return {{"left", asof.left}, {"right", asof.right}, {"direction", direction}};
}

Result<Asof> AsofFromJson(const Json& value) {
  if (!value.is_object() || value.size() != 3) return UserError("an as-of join is badly written");
  Asof asof;
  ARROW_ASSIGN_OR_RAISE(asof.left, GetString(value, "left"));
  ARROW_ASSIGN_OR_RAISE(asof.right, GetString(value, "right"));
  ARROW_ASSIGN_OR_RAISE(const std::string direction, GetString(value, "direction"));
  ARROW_ASSIGN_OR_RAISE(asof.direction, ParseDirection(direction));
  return asof;
}

}  // namespace partita
