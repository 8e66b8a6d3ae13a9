// A run whose tasks are executed elsewhere: a Ray or Dask cluster, processes of this machine, a batch system.
// docs/engines.md tells how an engine plugs in. A plan whose rows a caller takes (sink "collect") hands them
// over task by task, where it runs (TaskRunner::Take): the driver sees none, and nothing is kept of such a
// run.
//
//   driver:  auto run = session.OpenRun(compiled, options, observer);     worker:  session.OpenWorker(…)
//            instructions = run->coordinator()->Start(capacity) worker->runner()->Run(task) … OnReport,
//            OnLost, OnTick until kFinishRun or kFailRun … run->Finish()
#pragma once

#include <memory>
#include <string>

#include "partita/engine/coordinator.h"
#include "partita/engine/task_runner.h"
#include "partita/session/session.h"

namespace partita {

class RemoteRun {
 public:
  const CompiledPlan& compiled() const { return compiled_; }
  // Everything was done by an earlier run: Finish() needs no engine.
  bool was_complete() const { return directory_->complete(); }
  // Where rows that change partition lie: for OpenWorker of a run without datasets; "" of others, and where
  // no rows do.
  std::string folder() const;
  Coordinator* coordinator() { return coordinator_.get(); }
  Observer* observer() { return observer_; }
  // `status`: OK after kFinishRun; else why the run ends. Writes manifests and record, gives the folder free.
  Result<RunResult> Finish(const Status& status);

 private:
  friend class Session;
  Env* env_ = nullptr;
  CompiledPlan compiled_;
  RunOptions options_;
  Observer own_;
  Observer* observer_ = nullptr;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<Coordinator> coordinator_;
};

class RemoteWorker {
 public:
  const CompiledPlan& compiled() const { return compiled_; }
  const RunOptions& options() const { return options_; }
  TaskRunner* runner() { return runner_.get(); }

 private:
  friend class Session;
  CompiledPlan compiled_;
  RunOptions options_;
  std::unique_ptr<TaskRunner> runner_;
};

}  // namespace partita
