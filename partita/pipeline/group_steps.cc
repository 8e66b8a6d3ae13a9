#include "partita/pipeline/group_steps.h"

#include <arrow/type.h>

#include <algorithm>

namespace partita {
namespace {

constexpr size_t kMaxGroupSteps = 1000;
constexpr size_t kMaxNumbers = 1000;

Status CheckKeysOf(const Json& step) {
  for (const auto& [key, value] : step.items()) {
    if (key == "op" || key == "args" || key == "on_error") continue;
    return UserError("a step inside map_groups has no key '" + key + "'",
                     "it takes its rows from the one above it, and needs no name");
  }
  return Status::OK();
}

// What a step cannot be told where it stands inside.
Status CheckArgs(const StepSpec& spec, const Json& args) {
  if (spec.name != "sort") return Status::OK();
  if (!args.at("partitions").is_null()) {
    return UserError("sort inside map_groups makes no partitions", "leave out `partitions`");
  }
  const size_t keys = args.at("by").size(), directions = args.at("descending").size();
  if (directions != 1 && directions != keys) {
    return UserError("sort has " + std::to_string(keys) + " columns in `by`, but `descending` has " +
                         std::to_string(directions) + " entries",
                     "give `descending` once for all columns, or once for each");
  }
  return Status::OK();
}

Result<Json> NormaliseOne(const Json& step) {
  if (!step.is_object() || !step.contains("op")) return UserError("expected a step with `op` and `args`");
  ARROW_RETURN_NOT_OK(CheckKeysOf(step));
  ARROW_ASSIGN_OR_RAISE(const std::string op, GetString(step, "op"));
  const StepSpec* spec = FindStep(op);
  if (spec == nullptr) return UnknownStep(op);
  ARROW_RETURN_NOT_OK(CheckGroupStep(*spec));
  ARROW_ASSIGN_OR_RAISE(Json args, NormaliseArgs(*spec, step.value("args", Json::object())));
  ARROW_RETURN_NOT_OK(CheckArgs(*spec, args));
  Json on_error;
  if (step.contains("on_error") && !step["on_error"].is_null()) {
    ARROW_ASSIGN_OR_RAISE(const std::string name, GetString(step, "on_error"));
    ARROW_ASSIGN_OR_RAISE(const OnError policy, ParseOnError(name));
    ARROW_RETURN_NOT_OK(CheckOnError(spec->name, policy));
    on_error = name;
  }
  return Json{{"op", spec->name}, {"args", std::move(args)}, {"on_error", std::move(on_error)}};
}

}  // namespace

bool SeesGroup(const StepSpec& spec) {
  return spec.name == "sort" || spec.name == "limit" || spec.name == kRowIndexOp;
}

Status CheckGroupStep(const StepSpec& spec) {
  if (SeesGroup(spec)) return Status::OK();
  const std::string outside = "put it before or behind map_groups";
  const auto no = [&](const std::string& why, const std::string& hint) {
    return UserError("'" + spec.name + "' cannot stand inside map_groups: " + why, hint);
  };
  if (spec.kind == StepKind::kSource) return no("it is a source", "put it before map_groups");
  if (spec.kind == StepKind::kSink) return no("it is a sink", "put it behind map_groups");
  if (spec.FindArg("fn") != nullptr) {
    return no("it runs a Python function", "give a function of whole groups to map_groups as `fn`");
  }
  if (spec.takes_pair() || spec.name == "union") return no("it takes several inputs", outside);
  if (spec.is_exchange || spec.is_internal) return no("it moves rows out of their groups", outside);
  if (spec.name == "sample" || spec.name == "local_shuffle") {
    return no("it goes by where rows stand in the dataset, not in a group", outside);
  }
  return Status::OK();
}

Result<Json> NormaliseGroupSteps(const Json& value) {
  if (!value.is_array() || value.empty()) {
    return UserError("expected a list of steps", "write steps: [{sort: {by: [v]}}, {limit: 3}]");
  }
  if (value.size() > kMaxGroupSteps) {
    return UserError("there are at most " + std::to_string(kMaxGroupSteps) + " steps inside map_groups");
  }
  Json out = Json::array();
  for (const Json& step : value) {
    auto one = NormaliseOne(step);
    if (!one.ok()) {
      const ErrorDetail* detail = DetailOf(one.status());
      return UserError("step " + std::to_string(out.size() + 1) + " inside: " + MessageOf(one.status()),
                       detail == nullptr ? "" : detail->context.hint);
    }
    out.push_back(*std::move(one));
  }
  return out;
}

Result<std::vector<GroupStep>> GroupStepsOf(const Json& steps) {
  ARROW_ASSIGN_OR_RAISE(const Json normal, NormaliseGroupSteps(steps));
  std::vector<GroupStep> out;
  for (const Json& item : normal) {
    GroupStep step;
    step.spec = FindStep(item["op"].get<std::string>());
    step.args = item["args"];
    if (!item["on_error"].is_null()) {
      ARROW_ASSIGN_OR_RAISE(step.on_error, ParseOnError(item["on_error"].get<std::string>()));
    }
    out.push_back(std::move(step));
  }
  return out;
}

Json GroupRowsToJson(const GroupRows& rows) {
  Json numbers = Json::array();
  for (const auto& number : rows.numbers) numbers.push_back(Json::array({number.name, number.first}));
  return {{"op", "rows"}, {"limit", rows.limit}, {"numbers", std::move(numbers)}};
}

Result<GroupRows> GroupRowsFromJson(const Json& value) {
  const auto bad = [](const std::string& why) { return DataError("rows of groups " + why); };
  if (!value.is_object() || value.size() != 3 || !value.contains("numbers") ||
      value.value("op", Json()) != "rows")
    return bad("are not described as they must be");
  GroupRows rows;
  ARROW_ASSIGN_OR_RAISE(rows.limit, GetInt(value, "limit"));
  if (rows.limit < -1) return bad("have a negative limit");
  const Json& numbers = value["numbers"];
  if (!numbers.is_array() || numbers.size() > kMaxNumbers) return bad("have a bad list of numbers");
  for (const Json& item : numbers) {
    const bool good =
        item.is_array() && item.size() == 2 && item[0].is_string() && item[1].is_number_integer();
    if (!good) return bad("have a bad number");
    rows.numbers.push_back({item[0].get<std::string>(), item[1].get<int64_t>()});
  }
  return rows;
}

Result<std::shared_ptr<arrow::Schema>> GroupRowsSchema(const GroupRows& rows, const arrow::Schema& input) {
  auto fields = input.fields();
  for (const auto& number : rows.numbers) {
    const auto same = [&](const auto& field) { return field->name() == number.name; };
    if (std::any_of(fields.begin(), fields.end(), same)) {
      return UserError("with_row_index would make a second column '" + number.name + "'",
                       "give it another name: with_row_index: {name: rank}");
    }
    fields.push_back(arrow::field(number.name, arrow::int64(), /*nullable=*/false));
  }
  return arrow::schema(std::move(fields));
}

}  // namespace partita
