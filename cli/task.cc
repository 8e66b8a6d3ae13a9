// partita task: one task of a plan, for systems that run N indexed commands.
#include <cstdio>

#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/session/summary.h"

namespace partita::cli {
namespace {

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "task --plan PLAN --stage S --partition I [OPTIONS]";
  spec.description =
      "Runs one task, a stage on one partition, of a compiled plan and commits its output: the same bytes as "
      "`partita run` writes. "
      "A task that is done already is not done again. When all tasks are done, `partita run PLAN` finishes "
      "the datasets.";
  spec.flags = {
      {"plan", "PLAN", "the compiled plan, of `partita compile`"},
      {"stage", "S", "index of the stage, from 0"},
      {"partition", "I", "index of the partition, from 0"},
      {"json", "", "print stats as one JSON object"},
  };
  spec.run_options = true;
  spec.examples = "  partita task --plan plan.json --stage 0 --partition 17 --memory 1GiB\n";
  return spec;
}

Status RunOne(const Arguments& arguments, Observer* observer) {
  for (const char* needed : {"plan", "stage", "partition"}) {
    if (!arguments.Has(needed))
      return UserError(std::string("option --") + needed + " is missing", "usage: partita " + Spec().usage);
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t stage, ParseNumber("stage", arguments.Get("stage"), 0));
  ARROW_ASSIGN_OR_RAISE(const int64_t partition, ParseNumber("partition", arguments.Get("partition"), 0));
  if (stage > INT32_MAX) return UserError("there is no stage " + arguments.Get("stage"));
  ARROW_ASSIGN_OR_RAISE(auto loaded, Load(arguments.Get("plan"), arguments));
  if (!loaded.is_plan) {
    return UserError("'" + arguments.Get("plan") + "' is no compiled plan",
                     "make one with `partita compile pipeline.yaml -o plan.json`");
  }
  ARROW_ASSIGN_OR_RAISE(auto options, OptionsOf(arguments, loaded.compiled.options));
  Session session(Env::Default());
  RunControl control;
  control.observer = observer;
  const Interruptible interruptible(control.cancel);
  return session.RunTask(loaded.compiled, {static_cast<int>(stage), partition}, options, control);
}

}  // namespace

int Task(const std::vector<std::string>& words) {
  int exit_code = 0;
  const auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  Observer observer;
  const Status status = RunOne(*arguments, &observer);
  if (arguments->Has("json")) {
    Json out = {{"status", status.ok()            ? "ok"
                           : status.IsCancelled() ? "cancelled"
                                                  : "failed"},
                {"stats", observer.ToJson()}};
    if (!status.ok()) out["error"] = ErrorJson(status);
    std::fputs(PrettyJson(out).c_str(), stdout);
  }
  return Report(status);
}

}  // namespace partita::cli
