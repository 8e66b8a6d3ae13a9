// Makes the tasks of a run: where rows come from and where they go. Shared by the local engine and by the
// workers of all others (engine/task_runner.h), so that each runs the same function on the same files.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "partita/dataset/run_directory.h"
#include "partita/engine/collector.h"
#include "partita/engine/committer.h"
#include "partita/engine/delivery.h"
#include "partita/engine/exchange_store.h"
#include "partita/execute/worker_pool.h"
#include "partita/operator/window_scan.h"
#include "partita/schedule/scheduler.h"

namespace partita {

using MemoryTables =
    std::map<std::string, std::shared_ptr<const MemoryTable>>;  // by the `id` argument of from_memory

struct RunContext {
  const Plan* plan = nullptr;
  const Snapshot* snapshot = nullptr;
  Env* env = nullptr;
  std::shared_ptr<Budget> budget;
  Observer* observer = nullptr;
  RunDirectory* directory = nullptr;
  MemoryTables tables;
  std::map<int, std::shared_ptr<Collector>> collectors;  // by sink, for sinks of op "collect"
  std::shared_ptr<Delivery>
      delivery;  // instead of collectors, of tasks that are executed for another process
  int threads = 1;
  StagePlaces places;       // see ExchangeStore; in memory only where all tasks run in this process
  std::string node_folder;  // ExchangeStore::SetNodeFolder
  // Of a plan of one stage that scans: the partitions to read instead of its own. Outlives the run.
  const std::vector<WindowRead>* windows = nullptr;
};

class TaskFactory {
 public:
  static Result<std::unique_ptr<TaskFactory>> Make(RunContext context);

  const std::vector<int64_t>& scan_partitions() const { return scan_partitions_; }
  // The partitions of a stage that reads an exchange follow from the commits of the stages that write it.
  // `on_storage`: see ExchangeStore::MakeSink.
  Result<TaskInit> MakeTask(TaskId task, bool frugal, bool on_storage = false);
  // Committer::Commit; then tells the collectors.
  Result<MadeRows> Commit(TaskEnd end);
  MadeRows MadeBy(const TaskCommit& commit) const { return partita::MadeBy(*context_.plan, commit); }
  // See ExchangeStore::DropLost. Call before the run starts.
  Status DropLostExchanges() { return exchanges_->DropLost(); }
  // See ExchangeStore::GiveBack.
  Result<int64_t> GiveBack(int64_t bytes) { return exchanges_->GiveBack(bytes); }
  void SetNodeBlocks(int exchange, ExchangeStore::NodeBlocks blocks) {
    exchanges_->SetNodeBlocks(exchange, std::move(blocks));
  }
  // See ExchangeStore::GoesInStretches.
  Result<bool> GoesInStretches(int stage) const { return exchanges_->GoesInStretches(stage); }
  const Committer& committer() const { return committer_; }

 private:
  explicit TaskFactory(RunContext context)
      : context_(std::move(context)), committer_(context_.plan, context_.env, context_.directory) {}
  std::string NextAttempt() { return attempt_ + "-" + std::to_string(next_attempt_.fetch_add(1)); }
  Result<std::unique_ptr<Sink>> MakeSink(TaskId task, int output, bool on_storage);

  RunContext context_;
  Committer committer_;
  std::vector<std::shared_ptr<StageProgram>> programs_;
  std::vector<std::vector<Partition>> partitions_;  // scan stages
  std::vector<int64_t> scan_partitions_;
  std::vector<std::unique_ptr<PlanSink>> quarantine_sinks_;  // by (stage, node), kept for their args
  std::unique_ptr<ExchangeStore> exchanges_;
  std::mutex mutex_;
  std::string attempt_;  // of this process: distinguishes temporary files
  std::atomic<int64_t> next_attempt_{0};
};

}  // namespace partita
