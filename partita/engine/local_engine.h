// The local engine: runs a plan on threads of this process, all ready stages at once, streaming.
#pragma once

#include <functional>
#include <limits>

#include "partita/engine/task_factory.h"

namespace partita {

struct LocalEngineOptions {
  int max_attempts = 3;
  int most_tasks = std::numeric_limits<int>::max();  // at once, where threads and budget allow more
  // Called about every 50 ms by the thread that runs the plan; non-OK cancels the run (Ctrl-C).
  std::function<Status()> poll;
  CancelToken cancel;
};

// Runs until every task is committed (then returns OK; manifests are the caller's) or the run fails. Blocks.
Status RunLocal(TaskFactory* factory, const RunContext& context, const LocalEngineOptions& options);

// Tasks that may run at once in one process: enough that threads are never idle, no more than the budget can
// give the least each needs.
int MostRunningTasks(const Plan& plan, int64_t budget_bytes, int threads);

// Bytes of a block that suits the budget: physical, never seen in output.
int64_t TargetBlockBytes(int64_t budget_bytes);

}  // namespace partita
