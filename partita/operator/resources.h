// How much there is of what workers of a step hold while they live (licences, connections of a service): of
// the whole process, as the run that began last says. Thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

using Resources = std::map<std::string, double>;

// "licence=2,robot=1", or the same as a JSON object. "": none.
Result<Resources> ParseResources(std::string_view text);
// For workers that start from now on.
Status SetResources(std::string_view text);
Resources CurrentResources();

}  // namespace partita
