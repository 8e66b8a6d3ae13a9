// The rules of a pipeline's graph, the same for YAML, JSON and the API builders. Internal to the room.
#pragma once

#include <string>

#include "partita/base/error.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

// A name that people can write after `input:` and on a command line: letters, digits, '_', '-', '.'; at most
// 128.
Status CheckStepName(std::string_view name);
// `wanted`, or `wanted_2`, `wanted_3`, ... where it is taken.
std::string FreshName(const Pipeline& pipeline, const std::string& wanted);
// The step that the next one takes its rows from when it names none: the last that is no sink; "" where there
// is none.
std::string DefaultInput(const Pipeline& pipeline);
// Checks the inputs of a step that is to follow `pipeline`: they exist, are no sinks, and are as many as the
// step takes.
Status CheckInputs(const Pipeline& pipeline, const StepSpec& spec, const PipelineStep& step);

}  // namespace partita
