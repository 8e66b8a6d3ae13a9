// An as-of join: each row is looked up in a table of the right side that is ordered within each key.
#pragma once

#include "partita/operator/operator.h"

namespace partita {

// Arguments: those of a probe (operator/probe.h), and "asof" as AsofToJson.
Result<std::unique_ptr<Transform>> MakeAsofProbe(const TransformInit& init);

}  // namespace partita
