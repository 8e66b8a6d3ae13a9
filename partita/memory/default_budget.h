// The budget when the user names none: the smaller of 70 % of the limit (machine, or cgroup up its hierarchy) and 85 % of what
// is free now. Pure function.
#pragma once

#include <cstdint>

#include "partita/base/env.h"

namespace partita {

int64_t DefaultBudgetBytes(const MachineLimits& limits);

}  // namespace partita
