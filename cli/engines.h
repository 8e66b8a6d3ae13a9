// Engines that Python drives (python/partita/engines): the plan goes to an interpreter, which takes this
// process's place.
#pragma once

#include "cli/arguments.h"
#include "partita/session/session.h"

namespace partita::cli {

inline bool IsLocal(const RunOptions& options) { return options.engine == "local"; }

// Becomes `python3 -m partita.engines …`. Returns only the error that kept it from starting.
Status BecomeDriver(const CompiledPlan& compiled, const RunOptions& options, const Arguments& arguments);

}  // namespace partita::cli
