// partita schema: the JSON schema of the pipeline file.
#include <cstdio>

#include "cli/arguments.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/pipeline/pipeline.h"

namespace partita::cli {
namespace {

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "schema";
  spec.description =
      "Prints the JSON schema of the pipeline file, with every step of this build. An editor that is given "
      "it completes and checks "
      "what you write; `docs/pipeline.schema.json` is this text.";
  return spec;
}

}  // namespace

int Schema(const std::vector<std::string>& words) {
  int exit_code = 0;
  if (!ParseVerb(words, Spec(), &exit_code)) return exit_code;
  std::fputs(PrettyJson(PipelineJsonSchema()).c_str(), stdout);
  return 0;
}

}  // namespace partita::cli
