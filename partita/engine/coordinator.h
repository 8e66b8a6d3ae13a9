// The coordinator's side of a run whose tasks are executed elsewhere: by a cluster's workers, by processes of
// this machine. It owns the run's folder and the scheduler; tells what to start; and commits what workers
// report (engine/task_runner.h is their side). No data passes it, and its state is O(partitions).
//
// A task may run twice or more at once, be lost, or be reported long after it was given up: the first good
// report counts, the files of the others are removed. An engine tells one end for each task it was told to
// start, not one for each copy.
//
// Blocks of exchanges may stay on the nodes (node_path.h). When a reader finds a worker's lost, the tasks
// that made them count no longer, as far as anybody still needs them, and are done again; their readers wait.
//
// Not thread-safe: one thread drives a run.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "partita/dataset/run_directory.h"
#include "partita/dataset/snapshot.h"
#include "partita/engine/committer.h"
#include "partita/engine/node_ledger.h"
#include "partita/engine/task_report.h"
#include "partita/engine/under_way.h"
#include "partita/schedule/scheduler.h"

namespace partita {

class Coordinator {
 public:
  // All outlive it. Forgets commits whose exchange files are lost, restores the others.
  static Result<std::unique_ptr<Coordinator>> Make(Env* env, const Plan* plan, const Snapshot* snapshot,
                                                   RunDirectory* directory, Observer* observer,
                                                   int max_attempts);

  // What to do now; `capacity`: tasks that may be started and not ended at once.
  std::vector<Instruction> Start(int capacity);
  // A worker's report of a task that it ran to its end, good or bad.
  std::vector<Instruction> OnReport(TaskReport report);
  // The task ended without a report: its worker died, or the engine failed.
  std::vector<Instruction> OnLost(TaskId task, const Status& status);
  std::vector<Instruction> OnCapacity(int capacity);
  // Time passed; cheap, call it often.
  std::vector<Instruction> OnTick();
  std::vector<Instruction> Cancel();

  // The task was to be recalled (Instruction::kRecallTask), and no worker has seen it.
  std::vector<Instruction> OnRecalled(TaskId task);

  // Of an exchange that a started task reads: what its workers need to know (DescribeExchange). An error
  // while a part of it is lost.
  Result<std::string> Describe(int exchange) const;
  // Other than before: there is another description.
  int64_t EditionOf(int exchange) const { return editions_[static_cast<size_t>(exchange)]; }
  // Is all there that tasks of a stage read? Else copies of them need not be started.
  bool IsReady(int stage) const { return scheduler_->IsReady(stage); }
  // Is this task started, not ended, and its output still wanted?
  bool IsNeeded(TaskId task) const { return live_.contains(task) && !unneeded_.contains(task); }
  // See RowsShown::Show. `ShowNothing`: before the run's numbers are taken down.
  Status ShowUnderWay(std::string_view texts) { return shown_.Show(texts); }
  void ShowNothing() { shown_.Clear(); }
  const Committer& committer() const { return committer_; }

 private:
  Coordinator(Env* env, const Plan* plan, RunDirectory* directory, Observer* observer)
      : env_(env),
        plan_(plan),
        directory_(directory),
        observer_(observer),
        committer_(plan, env, directory),
        shown_(plan, observer),
        editions_(plan->exchanges.size(), 0) {}
  void Restore();
  Result<MadeRows> Commit(TaskReport report);
  bool LostItsInput(TaskId task, const Status& status);
  void TakeBack(TaskId task);
  int64_t NowMs() const { return env_->MonotonicNanos() / 1000000; }
  std::vector<Instruction> Step(const SchedulerEvent& event);
  std::vector<Instruction> Note(std::vector<Instruction> instructions);

  Env* env_;
  const Plan* plan_;
  RunDirectory* directory_;
  Observer* observer_;
  Committer committer_;
  RowsShown shown_;
  std::unique_ptr<Scheduler> scheduler_;
  std::set<TaskId> live_;
  std::set<TaskId> unneeded_;  // live, but cancelled
  NodeLedger blocks_;
  std::vector<int64_t> editions_;  // by exchange: how often some of it was taken back
  std::set<TaskId> redone_;        // taken back: their rows are counted
  std::map<TaskId, int> losses_;   // how often what a task reads was lost
};

}  // namespace partita
