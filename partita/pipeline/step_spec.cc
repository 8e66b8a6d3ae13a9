#include "partita/pipeline/step_spec.h"

#include <map>
#include <mutex>
#include <set>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/pipeline/arg_value.h"

namespace partita {
namespace {

struct Registry {
  std::mutex mutex;
  std::map<std::string, std::unique_ptr<StepSpec>, std::less<>> steps;
  std::map<std::string, std::string, std::less<>> aliases;
};

Registry& TheRegistry() {
  static Registry* registry = new Registry;  // never destroyed: specs are read until the process ends
  return *registry;
}

bool IsStepName(std::string_view name) {
  if (name.empty() || !(name[0] >= 'a' && name[0] <= 'z')) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

// A spec is code: what is wrong with it is found at start-up, not when a user meets it.
Status CheckSpec(const StepSpec& spec) {
  if (!IsStepName(spec.name)) return BugError("'" + spec.name + "' is no name for a step");
  const int binds = static_cast<int>(static_cast<bool>(spec.bind)) + static_cast<int>(spec.takes_pair());
  if (binds != (spec.kind == StepKind::kTransform ? 1 : 0)) {
    return BugError("step '" + spec.name + "': a transform has one bind function, other steps have none");
  }
  std::set<std::string> names;
  for (const ArgSpec& arg : spec.args) {
    if (!IsStepName(arg.name))
      return BugError("step '" + spec.name + "': bad argument name '" + arg.name + "'");
    if (!names.insert(arg.name).second) {
      return BugError("step '" + spec.name + "' has two arguments '" + arg.name + "'");
    }
    auto value = ParseJson(arg.default_json);
    if (!value.ok()) {
      return BugError("step '" + spec.name + "': the default of '" + arg.name +
                      "' is no JSON: " + arg.default_json);
    }
    if (arg.required && !value->is_null()) {
      return BugError("step '" + spec.name + "': the required argument '" + arg.name + "' has a default");
    }
    if (value->is_null()) continue;
    auto normal = NormaliseValue(arg, *value);
    if (!normal.ok()) {
      return BugError("step '" + spec.name + "': the default of '" + arg.name +
                      "' is refused: " + normal.status().message());
    }
  }
  return Status::OK();
}

std::vector<std::string> ArgNames(const StepSpec& spec) {
  std::vector<std::string> names;
  for (const ArgSpec& arg : spec.args) names.push_back(arg.name);
  return names;
}

std::string JoinNames(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

std::string_view StepKindName(StepKind kind) {
  switch (kind) {
    case StepKind::kSource:
      return "source";
    case StepKind::kTransform:
      return "transform";
    case StepKind::kSink:
      return "sink";
  }
  return "transform";
}

const ArgSpec* StepSpec::FindArg(std::string_view arg) const {
  for (const ArgSpec& spec : args) {
    if (spec.name == arg) return &spec;
  }
  return nullptr;
}

Status RegisterStep(StepSpec spec) {
  ARROW_RETURN_NOT_OK(CheckSpec(spec));
  Registry& registry = TheRegistry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  std::vector<std::string> names = spec.aliases;
  names.push_back(spec.name);
  for (const std::string& name : names) {
    if (registry.steps.count(name) > 0 || registry.aliases.count(name) > 0) {
      return BugError("two steps are called '" + name + "'");
    }
  }
  for (const std::string& alias : spec.aliases) registry.aliases[alias] = spec.name;
  std::string name = spec.name;
  registry.steps[std::move(name)] = std::make_unique<StepSpec>(std::move(spec));
  return Status::OK();
}

const StepSpec* FindStep(std::string_view name) {
  RegisterBuiltinSteps();
  Registry& registry = TheRegistry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  auto alias = registry.aliases.find(name);
  auto found = registry.steps.find(alias == registry.aliases.end() ? name : std::string_view(alias->second));
  return found == registry.steps.end() ? nullptr : found->second.get();
}

std::vector<const StepSpec*> AllSteps() {
  RegisterBuiltinSteps();
  Registry& registry = TheRegistry();
  std::lock_guard<std::mutex> lock(registry.mutex);
  std::vector<const StepSpec*> all;
  for (const auto& [name, spec] : registry.steps) all.push_back(spec.get());
  return all;
}

Status UnknownStep(std::string_view name) {
  std::vector<std::string> names;
  for (const StepSpec* spec : AllSteps()) {
    if (spec->is_internal) continue;
    names.push_back(spec->name);
    names.insert(names.end(), spec->aliases.begin(), spec->aliases.end());
  }
  const std::string nearest = NearestName(name, names);
  std::string message = "unknown step '" + std::string(name) + "'";
  if (!nearest.empty()) message += "; did you mean '" + nearest + "'?";
  return UserError(std::move(message), "`partita components` lists the steps there are");
}

Status UnknownArg(const StepSpec& spec, std::string_view name) {
  const std::vector<std::string> names = ArgNames(spec);
  const std::string nearest = NearestName(name, names);
  std::string message = "step '" + spec.name + "' has no argument '" + std::string(name) + "'";
  if (!nearest.empty()) message += "; did you mean '" + nearest + "'?";
  return UserError(std::move(message),
                   names.empty() ? "give it no arguments" : "its arguments are " + JoinNames(names));
}

Result<Json> NormaliseArg(const StepSpec& spec, const ArgSpec& arg, const Json& value) {
  if (value.is_null()) {
    if (arg.required) {
      return UserError("step '" + spec.name + "' needs the argument '" + arg.name + "'",
                       arg.name + ": " + arg.doc);
    }
    ARROW_ASSIGN_OR_RAISE(Json fallback, ParseJson(arg.default_json));
    if (fallback.is_null()) return fallback;
    return NormaliseValue(arg, fallback);
  }
  auto normal = NormaliseValue(arg, value);
  if (normal.ok()) return normal;
  const ErrorDetail* detail = DetailOf(normal.status());
  return UserError("step '" + spec.name + "', argument '" + arg.name + "': " + normal.status().message(),
                   detail != nullptr ? detail->context.hint : "");
}

Result<Json> NormaliseArgs(const StepSpec& spec, const Json& args) {
  if (!args.is_null() && !args.is_object()) {
    return UserError("step '" + spec.name + "': arguments must be a map of name to value");
  }
  if (args.is_object()) {
    for (const auto& [name, value] : args.items()) {
      if (spec.FindArg(name) == nullptr) return UnknownArg(spec, name);
    }
  }
  Json normal = Json::object();
  for (const ArgSpec& arg : spec.args) {
    const auto given = args.is_object() ? args.find(arg.name) : args.end();
    const bool absent = !args.is_object() || given == args.end();
    ARROW_ASSIGN_OR_RAISE(normal[arg.name], NormaliseArg(spec, arg, absent ? Json() : *given));
  }
  return normal;
}

}  // namespace partita
