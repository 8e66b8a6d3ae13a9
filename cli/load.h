// Reads what `run`, `validate`, `explain` and `compile` take: a pipeline.yaml or a compiled plan.json.
#pragma once

#include <string>

#include "cli/arguments.h"
#include "partita/session/session.h"

namespace partita::cli {

struct Loaded {
  Pipeline pipeline;      // empty for a compiled plan
  CompiledPlan compiled;  // set for a compiled plan, or by LoadAndCompile
  bool is_plan = false;
};
// Checks structure, names and arguments; looks at no source.
Result<Loaded> Load(const std::string& file, const Arguments& arguments);
// Load, look at the sources, apply --on-error, compile.
Result<Loaded> LoadAndCompile(Session* session, const std::string& file, const Arguments& arguments,
                              RunOptions* options);

// An error of compiling `pipeline`, with the place in `file` in front: "pipeline.yaml:7:5: there is no column
// …".
Status InFile(const Status& status, const std::string& file, const Pipeline& pipeline);

// Flags that several verbs share.
FlagSpec SetFlag();      // --set NAME=VALUE
FlagSpec OnErrorFlag();  // --on-error POLICY, of verbs that compile but do not run
// Makes the flag of OnErrorFlag the run option that it is.
void OnErrorAsOption(Arguments* arguments);

}  // namespace partita::cli
