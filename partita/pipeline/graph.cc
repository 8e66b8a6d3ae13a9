#include "partita/pipeline/graph.h"

#include <set>

#include "partita/block/schema.h"

namespace partita {
namespace {

bool IsNameChar(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
         c == '.';
}

Status UnknownInput(const Pipeline& pipeline, const PipelineStep& step, const std::string& input) {
  std::vector<std::string> names;
  for (const PipelineStep& other : pipeline.steps) names.push_back(other.name);
  const std::string nearest = NearestName(input, names);
  std::string message =
      "step '" + step.name + "' takes its rows from '" + input + "', but no step above has that name";
  if (!nearest.empty()) message += "; did you mean '" + nearest + "'?";
  return UserError(std::move(message), "steps stand below the steps they take rows from");
}

bool TakesSeveral(const StepSpec& spec) { return spec.name == "union" || spec.takes_pair(); }

}  // namespace

Status CheckStepName(std::string_view name) {
  constexpr size_t kMaxName = 128;
  if (!name.empty() && name.size() <= kMaxName && std::all_of(name.begin(), name.end(), IsNameChar))
    return Status::OK();
  return UserError("'" + std::string(name.substr(0, kMaxName)) + "' is no name for a step",
                   "use letters, digits, '_', '-' and '.'");
}

std::string FreshName(const Pipeline& pipeline, const std::string& wanted) {
  std::set<std::string_view> taken;
  for (const PipelineStep& step : pipeline.steps) taken.insert(step.name);
  if (taken.count(wanted) == 0) return wanted;
  for (int64_t i = 2;; ++i) {
    std::string name = wanted + "_" + std::to_string(i);
    if (taken.count(name) == 0) return name;
  }
}

std::string DefaultInput(const Pipeline& pipeline) {
  for (auto step = pipeline.steps.rbegin(); step != pipeline.steps.rend(); ++step) {
    const StepSpec* spec = FindStep(step->op);
    if (spec == nullptr || spec->kind != StepKind::kSink) return step->name;
  }
  return "";
}

Status CheckInputs(const Pipeline& pipeline, const StepSpec& spec, const PipelineStep& step) {
  if (spec.kind == StepKind::kSource) {
    return step.inputs.empty()
               ? Status::OK()
               : UserError("step '" + step.name + "' is a source and takes no input", "remove its input");
  }
  if (step.inputs.empty()) {
    return UserError("step '" + step.name + "' has no input", "put a source like read_parquet before it");
  }
  if (spec.takes_pair() && step.inputs.size() != 2) {
    return UserError(
        "step '" + step.name + "' takes two inputs, it has " + std::to_string(step.inputs.size()),
        "write input: [left, right]");
  }
  if (step.inputs.size() > 1 && !TakesSeveral(spec)) {
    return UserError("step '" + step.name + "' takes one input, not " + std::to_string(step.inputs.size()),
                     "put a union of them before it");
  }
  for (const std::string& input : step.inputs) {
    const PipelineStep* from = pipeline.Find(input);
    if (from == nullptr) return UnknownInput(pipeline, step, input);
    const StepSpec* from_spec = FindStep(from->op);
    if (from_spec != nullptr && from_spec->kind == StepKind::kSink) {
      return UserError("step '" + step.name + "' takes its rows from '" + input + "', which is a sink",
                       "take them from the step before '" + input + "'");
    }
  }
  return Status::OK();
}

}  // namespace partita
