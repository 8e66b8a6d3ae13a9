#include "partita/pipeline/pipeline.h"

#include <set>

#include "partita/block/schema.h"
#include "partita/pipeline/graph.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

constexpr size_t kMaxSteps = 10000;

Status CheckKeys(const Json& object, std::string_view what, const std::vector<std::string>& known) {
  if (!object.is_object()) return UserError(std::string(what) + " must be a JSON object");
  for (const auto& [key, value] : object.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string nearest = NearestName(key, known);
    return UserError(std::string(what) + " has no key '" + key + "'" +
                     (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"));
  }
  return Status::OK();
}

Json StepToJson(const PipelineStep& step) {
  Json out = {{"name", step.name},
              {"op", step.op},
              {"args", step.args},
              {"inputs", step.inputs},
              {"on_error", std::string(OnErrorName(step.on_error))}};
  if (step.line > 0) {
    out["line"] = step.line;
    out["column"] = step.column;
  }
  return out;
}

Result<PipelineStep> StepFromJson(const Json& value, const Pipeline& before) {
  ARROW_RETURN_NOT_OK(
      CheckKeys(value, "a step", {"name", "op", "args", "inputs", "on_error", "line", "column"}));
  PipelineStep step;
  ARROW_ASSIGN_OR_RAISE(const std::string op, GetString(value, "op"));
  const StepSpec* spec = FindStep(op);
  if (spec == nullptr) return UnknownStep(op);
  step.op = spec->name;
  ARROW_ASSIGN_OR_RAISE(step.name, GetStringOr(value, "name", ""));
  if (step.name.empty()) step.name = FreshName(before, step.op);
  ARROW_RETURN_NOT_OK(CheckStepName(step.name));
  if (before.Find(step.name) != nullptr) return UserError("two steps are called '" + step.name + "'");
  if (value.contains("args") && !value["args"].is_null()) step.args = value["args"];
  if (!step.args.is_object()) return UserError("step '" + step.name + "': args must be a JSON object");
  ARROW_ASSIGN_OR_RAISE(step.inputs, GetStringsOr(value, "inputs", {}));
  ARROW_ASSIGN_OR_RAISE(const std::string on_error, GetStringOr(value, "on_error", "fail"));
  ARROW_ASSIGN_OR_RAISE(step.on_error, ParseOnError(on_error));
  ARROW_ASSIGN_OR_RAISE(const int64_t line, GetIntOr(value, "line", 0));
  ARROW_ASSIGN_OR_RAISE(const int64_t column, GetIntOr(value, "column", 0));
  step.line = static_cast<int>(std::clamp<int64_t>(line, 0, INT32_MAX));
  step.column = static_cast<int>(std::clamp<int64_t>(column, 0, INT32_MAX));
  ARROW_RETURN_NOT_OK(CheckInputs(before, *spec, step));
  return step;
}

}  // namespace

std::string_view OnErrorName(OnError value) {
  switch (value) {
    case OnError::kFail:
      return "fail";
    case OnError::kSkip:
      return "skip";
    case OnError::kQuarantine:
      return "quarantine";
  }
  return "fail";
}

Result<OnError> ParseOnError(std::string_view name) {
  for (OnError value : {OnError::kFail, OnError::kSkip, OnError::kQuarantine}) {
    if (OnErrorName(value) == name) return value;
  }
  const std::string nearest = NearestName(name, {"fail", "skip", "quarantine"});
  return UserError("on_error cannot be '" + std::string(name) + "'" +
                       (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"),
                   "choose fail, skip or quarantine");
}

bool CanHaveBadRows(std::string_view op) {
  const StepSpec* spec = FindStep(op);
  return spec == nullptr || !spec->is_exchange;
}

Status CheckOnError(std::string_view op, OnError policy) {
  if (policy == OnError::kFail || CanHaveBadRows(op)) return Status::OK();
  return UserError("on_error: " + std::string(OnErrorName(policy)) + " has no meaning at '" +
                       std::string(op) + "', which moves rows and finds none bad",
                   "give on_error to the step that may find bad rows");
}

Json Pipeline::ToJson() const {
  Json list = Json::array();
  for (const PipelineStep& step : steps) list.push_back(StepToJson(step));
  return {{"name", name}, {"steps", std::move(list)}, {"options", options}};
}

Result<Pipeline> Pipeline::FromJson(const Json& value) {
  ARROW_RETURN_NOT_OK(CheckKeys(value, "a pipeline", {"name", "steps", "options"}));
  Pipeline out;
  ARROW_ASSIGN_OR_RAISE(out.name, GetStringOr(value, "name", "pipeline"));
  if (value.contains("options") && !value["options"].is_null()) out.options = value["options"];
  if (!out.options.is_object()) return UserError("the options of a pipeline must be a JSON object");
  const Json steps = value.value("steps", Json::array());
  if (!steps.is_array()) return UserError("the steps of a pipeline must be a list");
  if (steps.size() > kMaxSteps)
    return UserError("a pipeline has at most " + std::to_string(kMaxSteps) + " steps");
  for (const Json& item : steps) {
    auto step = StepFromJson(item, out);
    // What a key holds is the author's to mend, whatever kind the reader of a value gives it.
    if (!step.ok())
      return UserError("step " + std::to_string(out.steps.size() + 1) + ": " + MessageOf(step.status()));
    out.steps.push_back(*std::move(step));
  }
  return out;
}

const PipelineStep* Pipeline::Find(std::string_view step) const {
  for (const PipelineStep& candidate : steps) {
    if (candidate.name == step) return &candidate;
  }
  return nullptr;
}

std::string AddStep(Pipeline* pipeline, PipelineStep step) {
  if (const StepSpec* spec = FindStep(step.op)) step.op = spec->name;
  step.name = FreshName(*pipeline, step.name.empty() ? step.op : step.name);
  pipeline->steps.push_back(std::move(step));
  return pipeline->steps.back().name;
}

}  // namespace partita
