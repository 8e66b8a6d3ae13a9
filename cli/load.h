// Reads what `run`, `validate`, `explain` and `compile` take: a pipeline.yaml or a compiled plan.json.
#pragma once

#include <string>

#include "cli/arguments.h"
#include "partita/session/session.h"

namespace partita::cli {

struct Loaded {
  Pipeline pipeline;      // empty for a compiled plan
  CompiledPlan compiled;  // set for a compiled plan, or by CompileLoaded
  bool is_plan = false;
};
Result<Loaded> Load(const std::string& file, const Arguments& arguments);
// Load, look at the sources, apply --on-error, compile.
Result<Loaded> LoadAndCompile(Session* session, const std::string& file, const Arguments& arguments, RunOptions* options);

}  // namespace partita::cli
