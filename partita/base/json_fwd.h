// The name of the JSON type, without its weight.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace partita {
using Json = nlohmann::json;
}
