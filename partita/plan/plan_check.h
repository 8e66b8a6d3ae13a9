// What must hold in every plan, wherever it comes from. Internal to the room.
#pragma once

#include <string>

#include "partita/base/error.h"
#include "partita/plan/plan.h"

namespace partita {

Status BadPlan(const std::string& why);
// Indices, order of stages, inputs of sinks and exchanges, schemas that must agree, filters that must parse.
Status CheckPlan(const Plan& plan);

}  // namespace partita
