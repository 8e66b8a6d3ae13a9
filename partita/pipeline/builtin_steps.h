// The built-in steps, by kind. Internal to the room: RegisterBuiltinSteps registers all.
#pragma once

#include <vector>

#include "partita/pipeline/step_spec.h"

namespace partita {

std::vector<StepSpec> BuiltinSources();
std::vector<StepSpec> BuiltinTransforms();
std::vector<StepSpec> BuiltinExchanges();  // transforms in which rows change partition
std::vector<StepSpec> BuiltinSinks();

}  // namespace partita
