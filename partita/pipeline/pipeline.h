// The pipeline: what the user declared, in any language. A list of named steps in an order where inputs come
// first. A value.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json.h"

namespace partita {

enum class OnError { kFail, kSkip, kQuarantine };
std::string_view OnErrorName(OnError value);  // "fail", "skip", "quarantine"
Result<OnError> ParseOnError(std::string_view name);
// Whether a step can skip or quarantine rows; those that place or group all rows together
// (StepSpec::is_exchange) cannot.
bool CanHaveBadRows(std::string_view op);
Status CheckOnError(std::string_view op, OnError policy);

struct PipelineStep {
  std::string name;            // unique; the op's name where the user gave none ("filter", "filter_2", ...)
  std::string op;              // a registered step
  Json args = Json::object();  // as declared; NormaliseArgs is applied by compile
  std::vector<std::string> inputs;  // names of steps; empty for sources
  OnError on_error = OnError::kFail;
  int line = 0, column = 0;  // where it stands in the YAML file; 0: no file
};

struct Pipeline {
  std::string name = "pipeline";
  std::vector<PipelineStep> steps;
  Json options = Json::object();  // run options of the file: {"memory": "2GiB"}; never part of the plan

  Json ToJson() const;
  static Result<Pipeline> FromJson(const Json& value);
  const PipelineStep* Find(std::string_view name) const;
};

// Reads pipeline.yaml: checks structure, step names, argument names and types against the registry, with
// line, column and the nearest right word; applies parameters (`${name}`, defaults, `set` overrides; an unset
// parameter without default is a user error that names
// --set). Aliases and anchors are expanded with a bound (no billion laughs). `file` is for messages.
Result<Pipeline> ParsePipelineYaml(std::string_view text, std::string_view file,
                                   const std::map<std::string, std::string>& set);
std::string PipelineToYaml(const Pipeline& pipeline);

// The JSON schema (draft 2020-12) of pipeline.yaml, from the registry; published as
// docs/pipeline.schema.json.
Json PipelineJsonSchema();

// Adds a step with a fresh name; used by the API builders. Returns its name.
std::string AddStep(Pipeline* pipeline, PipelineStep step);

}  // namespace partita
