#include <malloc.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "cli/arguments.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "components/register.h"
#include "partita/block/schema.h"
#include "partita/pipeline/step_spec.h"
#include "partita/session/session.h"

namespace partita::cli {
namespace {

constexpr Verb kVerbs[] = {
    {"run", "run a pipeline or a compiled plan", Run},
    {"validate", "check a pipeline and the columns of its steps", Validate},
    {"explain", "show the plan of a pipeline", Explain},
    {"compile", "freeze a pipeline and its sources into a plan", Compile},
    {"inspect", "show a dataset's files, columns and first rows", Inspect},
    {"components", "list the steps there are, or one step's arguments", Components},
    {"task", "run one task of a compiled plan", Task},
    {"schema", "print the JSON schema of the pipeline file", Schema},
};

void PrintUsage() {
  std::printf(
      "partita %s: declared data pipelines, run inside a memory budget\n\nUsage: partita VERB "
      "[ARGUMENTS]\n\n",
      BuildVersion().c_str());
  for (const auto& verb : kVerbs) std::printf("  %-12s%s\n", verb.name, verb.summary);
  std::printf("\n`partita VERB --help` tells a verb's options.\n");
}

// What was printed must have arrived: a full disk is an error, a reader that went away (`| head`) is none.
int FinishOutput(int code) {
  const bool failed = std::ferror(stdout) != 0;
  const bool flushed = std::fflush(stdout) == 0;
  if (code != 0 || (flushed && !failed) || OutputReaderGone()) return code;
  return Report(EnvironmentError("cannot write to stdout: " +
                                 std::string(failed ? "the device may be full" : std::strerror(errno))));
}

int Main(int argc, char** argv) {
  // A peer that closes its socket, or a pipe, is an error of that write, not the end of the process.
  std::signal(SIGPIPE, SIG_IGN);
  // What libraries allocate outside the budget's pools goes back to the kernel when freed.
  mallopt(M_MMAP_THRESHOLD, 1 << 20);
  mallopt(M_TRIM_THRESHOLD, 2 << 20);
  mallopt(M_ARENA_MAX, 4);
  // What Arrow allocates for itself, a few small buffers, comes from there too: its own allocators start with
  // a megabyte.
  setenv("ARROW_DEFAULT_MEMORY_POOL", "system", /*overwrite=*/0);
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.empty() || words[0] == "-h" || words[0] == "--help" || words[0] == "help") {
    PrintUsage();
    return words.empty() ? 2 : 0;
  }
  if (words[0] == "-V" || words[0] == "--version" || words[0] == "version") {
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
  return Report(UserError("unknown verb '" + words[0] + "'",
                          nearest.empty() ? "see partita --help" : "did you mean '" + nearest + "'?"));
}

}  // namespace

int RunCommand(int argc, char** argv) { return FinishOutput(Main(argc, argv)); }

}  // namespace partita::cli

int main(int argc, char** argv) {
  const int code = partita::cli::RunCommand(argc, argv);
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  return code;  // leaks are reported by an ordinary exit
#else
  // All that counts is written. What an ordinary exit would still do (destructors of libraries, memory given
  // back piece by piece) takes a tenth of the time of a small command.
  std::fflush(nullptr);
  std::_Exit(code);
#endif
}
