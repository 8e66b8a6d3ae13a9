// The asynchronous transform behind map_batches and its like.
#pragma once

#include <memory>

#include "components/python/function_args.h"
#include "partita/operator/operator.h"

namespace partita {

Result<std::unique_ptr<AsyncTransform>> MakeFunctionStep(FunctionKind kind, const TransformInit& init);

}  // namespace partita
