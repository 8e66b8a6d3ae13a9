// project: computes every output column from an expression; select, drop, rename, with_columns and cast
// compile to it. Args: {"columns": [[name, expression JSON], ...]}. A plain column costs nothing (shared
// buffers).
#pragma once

#include <memory>

#include "partita/operator/operator.h"

namespace partita {

Result<std::unique_ptr<Transform>> MakeProject(const TransformInit& init);

}  // namespace partita
