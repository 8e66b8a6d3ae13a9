// How a run ends, whoever executed its tasks: manifests, clean-up, the run record.
#pragma once

#include "partita/engine/committer.h"
#include "partita/session/session.h"

namespace partita {

Status CheckBudget(const Plan& plan, int64_t budget_bytes);

// `status`: how the tasks ended. Returns it where it is an error, after the record is written.
Result<RunResult> ConcludeRun(Env* env, RunDirectory* directory, const Committer& committer,
                              const CompiledPlan& compiled, const RunOptions& options, Observer* observer,
                              Status status);

}  // namespace partita
