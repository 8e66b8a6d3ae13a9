// Values of arguments: one coercion for each ArgType. Internal to the room.
#pragma once

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

// Coerces a value that is not null to the normal form of `arg`, and checks choices and range (of lists and
// maps: the number of entries). User errors without the names of step and argument.
Result<Json> NormaliseValue(const ArgSpec& arg, const Json& value);

}  // namespace partita
