// filter: keeps the rows where a predicate is true (SQL: null is not true). Args: {"predicate": expression
// JSON}.
#pragma once

#include <memory>

#include "partita/operator/operator.h"

namespace partita {

Result<std::unique_ptr<Transform>> MakeFilter(const TransformInit& init);

}  // namespace partita
