// partita run: the whole pipeline, with progress.
#include <arrow/compute/cast.h>
#include <arrow/type.h>

#include <cstdio>
#include <thread>

#include "cli/engines.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/progress.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/expression/expression.h"
#include "partita/session/summary.h"

namespace partita::cli {
namespace {

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "run FILE [OPTIONS]";
  spec.description =
      "Runs a pipeline.yaml or a compiled plan.json and writes its datasets. A run that was stopped, killed "
      "or failed goes on where "
      "it was when the same command is given again; a finished one has nothing to do.";
  spec.min_positional = spec.max_positional = 1;
  spec.flags = {
      SetFlag(),
      {"retry-quarantine", "", "run only the rows that an earlier run put in quarantine"},
      {"json", "", "print the result as one JSON object: datasets, stats, record"},
      {"quiet", "", "no progress and no summary; errors only"},
  };
  spec.run_options = true;
  spec.examples =
      "  partita run pipeline.yaml --memory 2GiB\n"
      "  partita run pipeline.yaml --set urls=part-*.parquet --fresh\n"
      "  partita run plan.json --json --quiet > result.json\n"
      "  partita run plan.json --engine ray://head:6379\n";
  return spec;
}

// The sources' rows are known where every file tells its count and no step stops early.
ProgressFacts FactsOf(const CompiledPlan& compiled, int threads) {
  ProgressFacts facts;
  facts.threads = threads;
  facts.source_rows = 0;
  const auto add = [&](int64_t rows) {
    if (facts.source_rows >= 0) facts.source_rows = rows < 0 ? -1 : facts.source_rows + rows;
  };
  for (const auto& stage : compiled.plan.stages) {
    if (stage.source.kind != PlanSource::Kind::kScan) continue;
    facts.source_steps.push_back(stage.source.step);
    const auto* source = compiled.snapshot.Find(stage.source.step);
    if (source == nullptr || stage.source.limit >= 0) {
      add(-1);
    } else if (source->files.empty()) {
      add(source->num_rows);
    }
    if (source == nullptr) continue;
    for (const auto& file : source->files) add(file.num_rows);
  }
  return facts;
}

int Fail(const Status& status, const Observer& observer, double seconds, const Arguments& arguments) {
  if (arguments.Has("json")) std::fputs(PrettyJson(FailureJson(status, observer, seconds)).c_str(), stdout);
  const int code = Report(status);
  if (!arguments.Has("quiet")) std::fputs(UnfinishedText(status, observer).c_str(), stderr);
  return code;
}

}  // namespace

int Run(const std::vector<std::string>& words) {
  int exit_code = 0;
  const auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  // Nearly every run needs the kernels, and the table of casts: they get ready while the pipeline is read and
  // its sources are looked at.
  const std::jthread kernels([] {
    (void)EnsureComputeKernels();
    (void)arrow::compute::CanCast(*arrow::int64(), *arrow::float64());
  });
  Env* env = Env::Default();
  Session session(env);
  RunOptions options;
  Observer observer;
  Progress progress(&observer, env, arguments->Has("quiet"));
  auto loaded = LoadAndCompile(&session, arguments->positional[0], *arguments, &options);
  if (!loaded.ok()) return Fail(loaded.status(), observer, progress.seconds(), *arguments);
  if (!IsLocal(options) && !arguments->Has("retry-quarantine")) {  // bad rows are few: no cluster is asked
    return Fail(BecomeDriver(loaded->compiled, options, *arguments), observer, progress.seconds(),
                *arguments);
  }
  auto resolved = ResolveOptions(options, env);
  if (!resolved.ok()) return Fail(resolved.status(), observer, progress.seconds(), *arguments);
  progress.SetFacts(FactsOf(loaded->compiled, resolved->threads));

  RunControl control;
  control.observer = &observer;
  control.poll = [&progress] {
    progress.Poll();
    return Status::OK();
  };
  const Interruptible interruptible(control.cancel);
  auto result = arguments->Has("retry-quarantine")
                    ? session.RetryQuarantine(loaded->compiled, *resolved, control)
                    : session.Run(loaded->compiled, *resolved, control);
  progress.Finish();
  if (!result.ok()) return Fail(result.status(), observer, progress.seconds(), *arguments);
  if (arguments->Has("json")) {
    std::fputs(PrettyJson(SummaryJson(*result, observer, progress.seconds())).c_str(), stdout);
  } else if (!arguments->Has("quiet")) {
    std::fputs(SummaryText(*result, observer, progress.seconds()).c_str(), stdout);
  }
  return 0;
}

}  // namespace partita::cli
