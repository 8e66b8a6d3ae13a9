// The worker's side of a run whose tasks are executed away from its coordinator (engine/coordinator.h): one
// object a process and run. Tasks share its budget and threads, as they do in the local engine, and leave
// only files that nobody sees; what it returns is for the coordinator to commit.
//
// Thread-safety: all functions from any thread.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/dataset/run_directory.h"
#include "partita/engine/node_env.h"
#include "partita/engine/node_ledger.h"
#include "partita/engine/node_server.h"
#include "partita/engine/task_factory.h"
#include "partita/engine/task_report.h"
#include "partita/engine/under_way.h"

namespace partita {

// What a reader needs to know of a complete exchange: which tasks wrote it, how much, and on which nodes it
// lies. Made by the coordinator, once and again when some of it was lost and made anew (a higher `edition`);
// shipped once to each worker. O(partitions) bytes.
std::string DescribeExchange(const Plan& plan, const CommitLog& log, int exchange,
                             const NodeLedger* blocks = nullptr, int64_t edition = 0);

struct TaskRunnerOptions {
  int64_t memory_bytes = 0;
  int threads = 1;
  std::string scratch_dir;  // local to this machine
  std::string work_dir;     // shared: RunDirectory::Options
  std::string run_folder;   // of a run without datasets; "": it needs none, for no rows change partition
  // Exchange blocks of the stages `on_nodes` stay on this node, and others read them there: the address by
  // which they reach it, and the run's secret. "": all go to the run's storage.
  std::string node_host, node_token;
  std::vector<bool> on_nodes;
};

class TaskRunner {
 public:
  // `plan` and `snapshot` outlive it.
  static Result<std::unique_ptr<TaskRunner>> Make(Env* env, const Plan* plan, const Snapshot* snapshot,
                                                  const RunIdentity& identity, MemoryTables tables,
                                                  const TaskRunnerOptions& options);
  ~TaskRunner();  // cancels what runs

  // Tasks that may run at once: enough that threads are never idle, no more than the budget can give the
  // least each needs.
  int slots() const { return slots_; }
  // Of the stages that scan; -1: of those that read an exchange.
  const std::vector<int64_t>& scan_partitions() const { return factory_->scan_partitions(); }
  // See DescribeExchange. Again is fine; what is older than the last edition is passed over.
  Status AddExchange(int exchange, std::string_view description);
  // Runs a task to its end, however often it has to give its memory back on the way. Blocks. An error of the
  // task is in the report.
  Result<TaskReport> Run(TaskId task, const CancelToken& cancel = {});
  // The rows that a task handed over at an output (of a sink "collect"), once it has ended well; once.
  Delivery::Batches Take(TaskId task, int output) { return delivery_->Take(task, output); }
  // Ends a task that runs here; its report says cancelled. No task: nothing happens.
  void Cancel(TaskId task);
  // See RowsUnderWay::ToText.
  std::string UnderWay();

 private:
  struct Running {
    bool cancelled = false;
    std::optional<TaskEnd> end;
  };

  TaskRunner(Env* env, const Plan* plan)
      : env_(env), plan_(plan), counted_(&observer_), under_way_(plan, &observer_) {}
  Status Check(TaskId task) const;  // [locked]
  Status CheckStorage(const TaskRunnerOptions& options);
  Result<std::vector<CarriedFile>> Carry(const TaskEnd& end) const;
  TaskReport Report(TaskEnd end);  // [locked]
  void NameBlocks(TaskEnd* end) const;
  // Where `task` finds its node's disk full, it may write to the run's storage instead.
  bool MayTurnToStorage(TaskId task, const Status& status) const;

  Env* env_;
  const Plan* plan_;
  std::shared_ptr<Budget> budget_;
  Observer observer_;
  std::unique_ptr<NodeEnv> node_env_;  // both, or none
  std::unique_ptr<NodeServer> server_;
  bool has_storage_ = true;  // of the run, that all workers see
  StagePlaces places_;
  std::unique_ptr<RunDirectory> directory_;
  std::shared_ptr<Delivery> delivery_ = std::make_shared<Delivery>();
  std::unique_ptr<TaskFactory> factory_;
  int slots_ = 1;
  std::mutex mutex_;
  std::condition_variable changed_;
  CountedReader counted_;
  RowsUnderWay under_way_;
  std::map<TaskId, Running> running_;
  std::mutex adding_;                 // before mutex_
  std::map<int, int64_t> exchanges_;  // their editions; written under both
  int64_t ended_ = 0;                 // tasks that left, for those that wait for memory
  std::unique_ptr<WorkerPool> pool_;
};

}  // namespace partita
