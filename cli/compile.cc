// partita compile: freezes a pipeline and the state of its sources into a plan.
#include <cstdio>

#include "cli/load.h"
#include "cli/verbs.h"
#include "partita/base/json.h"

namespace partita::cli {
namespace {

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "compile FILE [-o plan.json] [OPTIONS]";
  spec.description =
      "Compiles a pipeline.yaml: looks at its sources and writes what will be computed, with the snapshot of "
      "the sources, as one "
      "portable JSON document. `partita run plan.json` and `partita task` compute exactly that, whatever "
      "happens to the file or "
      "is added to the sources later.";
  spec.min_positional = spec.max_positional = 1;
  spec.flags = {
      {"output", "PLAN", "the file to write, also -o; without it the plan goes to stdout"},
      SetFlag(),
      OnErrorFlag(),
  };
  spec.examples = "  partita compile pipeline.yaml -o plan.json && partita run plan.json\n";
  return spec;
}

Status CompileTo(const Arguments& arguments) {
  Session session(Env::Default());
  RunOptions options;
  const auto& file = arguments.positional[0];
  ARROW_ASSIGN_OR_RAISE(auto loaded, LoadAndCompile(&session, file, arguments, &options));
  if (loaded.is_plan) return UserError("'" + file + "' is compiled already", "name a pipeline.yaml");
  const std::string text = loaded.compiled.ToText();
  const std::string output = arguments.Get("output");
  if (output.empty()) {
    std::fputs(text.c_str(), stdout);
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(WriteFileAtomically(Env::Default(), output, text));
  std::fprintf(stderr, "plan %.12s, snapshot %.12s -> %s\n", loaded.compiled.plan_hash.c_str(),
               loaded.compiled.snapshot_hash.c_str(), output.c_str());
  return Status::OK();
}

}  // namespace

int Compile(const std::vector<std::string>& words) {
  int exit_code = 0;
  auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  OnErrorAsOption(&*arguments);
  return Report(CompileTo(*arguments));
}

}  // namespace partita::cli
