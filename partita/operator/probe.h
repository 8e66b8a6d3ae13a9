// A broadcast join: each row is looked up in a table of the right side. Rows keep their order; pairs of one
// row stand in the order of the right side.
#pragma once

#include "partita/operator/operator.h"

namespace partita {

// Arguments: {"join": as JoinToJson, "left_on": [...], "right_on": [...], "bytes": ...}.
Result<std::unique_ptr<Transform>> MakeProbe(const TransformInit& init);

}  // namespace partita
