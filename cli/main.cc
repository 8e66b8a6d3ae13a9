#include <malloc.h>

#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "cli/arguments.h"
#include "cli/verbs.h"
#include "components/register.h"
#include "partita/block/schema.h"
#include "partita/pipeline/step_spec.h"
#include "partita/session/session.h"

namespace partita::cli {
namespace {

constexpr Verb kVerbs[] = {
    {"run", "run a pipeline or a compiled plan", Run},
};

void PrintUsage() {
  std::printf("partita %s: declared data pipelines, run inside a memory budget\n\nUsage: partita VERB [ARGUMENTS]\n\n",
              BuildVersion().c_str());
  for (const auto& verb : kVerbs) std::printf("  %-12s%s\n", verb.name, verb.summary);
  std::printf("\n`partita VERB --help` tells a verb's options.\n");
}

int Main(int argc, char** argv) {
  // What libraries allocate outside the budget's pools goes back to the kernel when freed.
  mallopt(M_MMAP_THRESHOLD, 64 << 10);
  mallopt(M_TRIM_THRESHOLD, 256 << 10);
  mallopt(M_ARENA_MAX, 4);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || words[0] == "-h" || words[0] == "--help" || words[0] == "help") {
    PrintUsage();
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "--version" || words[0] == "version") {
    std::printf("partita %s\n", BuildVersion().c_str());
    return 0;
  }
  RegisterBuiltinSteps();
  RegisterBuiltinTransforms();
  RegisterComponents();
  std::vector<std::string> names;
  for (const auto& verb : kVerbs) {
    if (words[0] == verb.name) return verb.run({words.begin() + 1, words.end()});
    names.push_back(verb.name);
  }
  const auto nearest = NearestName(words[0], names);
  return Report(UserError("unknown verb '" + words[0] + "'", nearest.empty() ? "see partita --help" : "did you mean '" + nearest + "'?"));
}

}  // namespace
}  // namespace partita::cli

int main(int argc, char** argv) { return partita::cli::Main(argc, argv); }
