#include "partita/pipeline/join.h"

#include <arrow/type.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/pipeline/keys.h"

namespace partita {
namespace {

using Names = std::vector<std::string>;
using Side = JoinColumn::Side;

constexpr std::array kHows = {JoinHow::kInner, JoinHow::kLeft, JoinHow::kRight,
                              JoinHow::kFull,  JoinHow::kSemi, JoinHow::kAnti,
                              JoinHow::kCross, JoinHow::kAsof, JoinHow::kZip};

std::string_view SideName(Side side) {
  return side == Side::kLeft ? "left" : side == Side::kRight ? "right" : "key";
}

Result<JoinHow> ParseHow(const std::string& name) {
  for (JoinHow how : kHows) {
    if (JoinHowName(how) == name) return how;
  }
  return UserError("there is no join '" + name + "'", "choose inner, left, right, full, semi, anti or cross");
}

bool Contains(const Names& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Keys that have one name in both inputs.
Names SharedKeys(const JoinKeys& keys) {
  Names shared;
  for (size_t i = 0; i < keys.left.size(); ++i) {
    if (keys.left[i] == keys.right[i]) shared.push_back(keys.left[i]);
  }
  return shared;
}

Status CheckSide(const std::string& side, const Names& keys, const arrow::Schema& input) {
  const Status status = CheckKeys("join", keys, input, side == "left" ? "left_on" : "right_on");
  if (status.ok()) return status;
  const ErrorDetail* detail = DetailOf(status);
  return UserError("the " + side + " input: " + MessageOf(status),
                   detail == nullptr ? "" : detail->context.hint);
}

Result<JoinColumn> ColumnFromJson(const Json& value) {
  if (!value.is_object() || value.size() != 3) return UserError("a column of a join is badly written");
  JoinColumn out;
  ARROW_ASSIGN_OR_RAISE(out.name, GetString(value, "name"));
  ARROW_ASSIGN_OR_RAISE(out.column, GetString(value, "column"));
  ARROW_ASSIGN_OR_RAISE(const std::string side, GetString(value, "side"));
  for (Side known : {Side::kLeft, Side::kRight, Side::kKey}) {
    if (SideName(known) != side) continue;
    out.side = known;
    return out;
  }
  return UserError("a join has no side '" + side + "'");
}

}  // namespace

std::string_view JoinHowName(JoinHow how) {
  switch (how) {
    case JoinHow::kInner:
      return "inner";
    case JoinHow::kLeft:
      return "left";
    case JoinHow::kRight:
      return "right";
    case JoinHow::kFull:
      return "full";
    case JoinHow::kSemi:
      return "semi";
    case JoinHow::kAnti:
      return "anti";
    case JoinHow::kCross:
      return "cross";
    case JoinHow::kAsof:
      return "asof";
    case JoinHow::kZip:
      return "zip";
  }
  return "inner";
}

Status CheckJoinKeys(JoinHow how, const JoinKeys& keys, const arrow::Schema& left,
                     const arrow::Schema& right) {
  if (how == JoinHow::kCross || how == JoinHow::kZip) {
    if (keys.left.empty() && keys.right.empty()) return Status::OK();
    return UserError("a " + std::string(JoinHowName(how)) + " join has no keys",
                     "leave out `on`, `left_on` and `right_on`, or choose another `how`");
  }
  if (how == JoinHow::kAsof && keys.left.empty() && keys.right.empty()) return Status::OK();
  if (keys.left.empty() && keys.right.empty()) {
    return UserError("join needs key columns",
                     "name them in `on`, or in `left_on` and `right_on` where their names differ");
  }
  if (keys.left.size() != keys.right.size()) {
    return UserError("join has " + std::to_string(keys.left.size()) + " columns in `left_on` and " +
                         std::to_string(keys.right.size()) + " in `right_on`",
                     "name them pairwise");
  }
  ARROW_RETURN_NOT_OK(CheckSide("left", keys.left, left));
  ARROW_RETURN_NOT_OK(CheckSide("right", keys.right, right));
  for (size_t i = 0; i < keys.left.size(); ++i) {
    const auto& a = *left.GetFieldByName(keys.left[i])->type();
    const auto& b = *right.GetFieldByName(keys.right[i])->type();
    if (a.Equals(b)) continue;
    return UserError("join compares column '" + keys.left[i] + "' of the left input, which is " +
                         TypeToString(a) + ", with '" + keys.right[i] + "' of the right one, which is " +
                         TypeToString(b),
                     "cast one of them before the join");
  }
  return Status::OK();
}

Result<JoinInputs> JoinInputsOf(const Json& args, const std::shared_ptr<arrow::Schema>& left,
                                const std::shared_ptr<arrow::Schema>& right) {
  JoinInputs out{{}, left, right};
  JoinKeys& keys = out.keys;
  ARROW_ASSIGN_OR_RAISE(const Names on, GetStringsOr(args, "on", {}));
  ARROW_ASSIGN_OR_RAISE(keys.left, GetStringsOr(args, "left_on", {}));
  ARROW_ASSIGN_OR_RAISE(keys.right, GetStringsOr(args, "right_on", {}));
  ARROW_ASSIGN_OR_RAISE(const std::string how_name, GetString(args, "how"));
  ARROW_ASSIGN_OR_RAISE(const JoinHow how, ParseHow(how_name));
  if (!on.empty()) {
    if (!keys.left.empty() || !keys.right.empty()) {
      return UserError("join takes its keys from `on`, or from `left_on` and `right_on`, not from both",
                       "leave one of them out");
    }
    keys.left = keys.right = on;
  }
  for (size_t i = 0; i < keys.left.size() && i < keys.right.size(); ++i) {
    const int a = out.left->GetFieldIndex(keys.left[i]), b = out.right->GetFieldIndex(keys.right[i]);
    if (a < 0 || b < 0) continue;  // said below
    const auto common = CommonKeyType(out.left->field(a)->type(), out.right->field(b)->type());
    if (common == nullptr) continue;
    ARROW_ASSIGN_OR_RAISE(out.left, out.left->SetField(a, out.left->field(a)->WithType(common)));
    ARROW_ASSIGN_OR_RAISE(out.right, out.right->SetField(b, out.right->field(b)->WithType(common)));
  }
  ARROW_RETURN_NOT_OK(CheckJoinKeys(how, keys, *out.left, *out.right));
  return out;
}

Result<Join> JoinOf(const Json& args, const JoinInputs& inputs) {
  const JoinKeys& keys = inputs.keys;
  ARROW_ASSIGN_OR_RAISE(const std::string how, GetString(args, "how"));
  ARROW_ASSIGN_OR_RAISE(const std::string suffix, GetStringOr(args, "suffix", ""));
  Join join;
  ARROW_ASSIGN_OR_RAISE(join.how, ParseHow(how));
  const Names shared = SharedKeys(keys);
  std::set<std::string> taken;
  for (const auto& name : inputs.left->field_names()) {
    const bool is_key = !join.gives_left_only() && Contains(shared, name);
    if (!is_key && join.how == JoinHow::kRight && Contains(keys.left, name)) continue;
    join.columns.push_back({is_key ? Side::kKey : Side::kLeft, name, name});
    taken.insert(name);
  }
  if (join.gives_left_only()) return join;
  const bool drops_right_keys = join.how == JoinHow::kInner || join.how == JoinHow::kLeft;
  // Two right columns may clash too, once one of them has a suffix.
  std::set<std::string> names = taken;
  for (const auto& column : inputs.right->field_names()) {
    if (Contains(shared, column) || (drops_right_keys && Contains(keys.right, column))) continue;
    const bool clashes = taken.count(column) > 0;
    const std::string name = clashes ? column + suffix : column;
    if (!names.insert(name).second) {
      return UserError("both inputs of the join give a column '" + name + "'",
                       clashes && suffix.empty()
                           ? "set `suffix`, which is put behind the name of the right one"
                           : "choose another `suffix`, or rename one of them before the join");
    }
    join.columns.push_back({Side::kRight, name, column});
  }
  return join;
}

Result<Json> ZipArgs(const Json& args) {
  ARROW_ASSIGN_OR_RAISE(const std::string suffix, GetStringOr(args, "suffix", ""));
  return Json{{"how", "zip"}, {"suffix", suffix}};
}

Json JoinToJson(const Join& join) {
  Json columns = Json::array();
  for (const JoinColumn& column : join.columns) {
    columns.push_back(
        {{"name", column.name}, {"side", std::string(SideName(column.side))}, {"column", column.column}});
  }
  return {{"op", "join"}, {"how", std::string(JoinHowName(join.how))}, {"columns", std::move(columns)}};
}

Result<Join> JoinFromJson(const Json& value) {
  const size_t members = value.is_object() && value.contains("asof") ? 4 : 3;
  if (!value.is_object() || value.size() != members || !value.contains("op") || value["op"] != "join" ||
      !value.contains("columns") || !value["columns"].is_array()) {
    return UserError("a join is badly written");
  }
  Join join;
  ARROW_ASSIGN_OR_RAISE(const std::string how, GetString(value, "how"));
  ARROW_ASSIGN_OR_RAISE(join.how, ParseHow(how));
  for (const Json& item : value["columns"]) {
    ARROW_ASSIGN_OR_RAISE(JoinColumn column, ColumnFromJson(item));
    join.columns.push_back(std::move(column));
  }
  return join;
}

Result<std::shared_ptr<arrow::Schema>> JoinSchema(const Join& join, const JoinKeys& keys,
                                                  const arrow::Schema& left, const arrow::Schema& right) {
  const Names shared = SharedKeys(keys);
  arrow::FieldVector fields;
  std::set<std::string_view> names;
  for (const JoinColumn& column : join.columns) {
    if (!names.insert(column.name).second)
      return UserError("two columns of the join are named '" + column.name + "'");
    if (column.side != Side::kLeft && join.gives_left_only())
      return UserError("a " + std::string(JoinHowName(join.how)) + " join has only columns of the left");
    if (column.side == Side::kKey && !Contains(shared, column.column))
      return UserError("'" + column.column + "' is no key of both inputs of the join");
    const arrow::Schema& input = column.side == Side::kRight ? right : left;
    ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(input, column.column));
    const auto& field = input.field(index);
    bool nullable = field->nullable();
    if (column.side == Side::kLeft) nullable |= join.may_lack_left();
    if (column.side == Side::kRight) nullable |= join.may_lack_right();
    // The key of a right row without a left one is the right row's.
    if (column.side == Side::kKey && join.may_lack_left())
      nullable |= right.GetFieldByName(column.column)->nullable();
    fields.push_back(field->WithName(column.name)->WithNullable(nullable));
  }
  return arrow::schema(std::move(fields));
}

}  // namespace partita
