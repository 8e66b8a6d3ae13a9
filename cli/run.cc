#include <csignal>
#include <cstdio>

#include "cli/load.h"
#include "cli/verbs.h"
#include "partita/base/units.h"

namespace partita::cli {
namespace {

CancelToken* g_cancel = nullptr;
void OnSignal(int) {
  if (g_cancel->cancelled()) std::_Exit(130);  // the second Ctrl-C does not wait
  g_cancel->Cancel();
}

void PrintResult(const RunResult& result) {
  for (const auto& dataset : result.datasets) {
    std::printf("%s: %s rows in %zu partitions -> %s\n", dataset.step.c_str(), FormatCount(dataset.manifest.num_rows).c_str(),
                dataset.manifest.partitions.size(), dataset.path.c_str());
  }
  if (result.quarantine) {
    std::printf("quarantine: %s rows -> %s\n", FormatCount(result.quarantine->manifest.num_rows).c_str(),
                result.quarantine->path.c_str());
  }
}

}  // namespace

int Run(const std::vector<std::string>& words) {
  const std::vector<FlagSpec> flags = {
      {"set", "NAME=VALUE", "a parameter of the pipeline", true},
      {"retry-quarantine", "", "run only the rows that an earlier run put in quarantine"},
      {"json", "", "print the result as JSON"},
      {"quiet", "", "print errors only"},
  };
  auto arguments = ParseArguments(words, flags, true);
  if (!arguments.ok()) return Report(arguments.status());
  if (arguments->help || arguments->positional.size() != 1) {
    std::printf("partita run FILE: run a pipeline.yaml or a compiled plan.json\n\n%s", FlagHelp(flags, true).c_str());
    return arguments->help ? 0 : 2;
  }
  Session session(Env::Default());
  RunOptions options;
  auto loaded = LoadAndCompile(&session, arguments->positional[0], *arguments, &options);
  if (!loaded.ok()) return Report(loaded.status());

  RunControl control;
  Observer observer;
  control.observer = &observer;
  g_cancel = &control.cancel;
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  auto result = arguments->Has("retry-quarantine") ? session.RetryQuarantine(loaded->compiled, options, control)
                                                   : session.Run(loaded->compiled, options, control);
  if (!result.ok()) return Report(result.status());
  if (!arguments->Has("quiet")) PrintResult(*result);
  return 0;
}

}  // namespace partita::cli
