// Binding and the evaluation of what was bound. Internal to this room.
#pragma once

#include "partita/expression/expression.h"
#include "partita/expression/kernel_node.h"

namespace partita {

Result<BoundNodePtr> BindNode(const Expression& expression, const arrow::Schema& schema);

}  // namespace partita
