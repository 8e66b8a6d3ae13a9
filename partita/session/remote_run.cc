#include "partita/session/remote_run.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "partita/engine/exchange_places.h"
#include "partita/operator/resources.h"
#include "partita/schedule/stage_graph.h"
#include "partita/session/conclude.h"

namespace partita {
namespace {

RunIdentity IdentityOf(const CompiledPlan& compiled) {
  return {compiled.plan_hash, compiled.snapshot_hash, compiled.ToText()};
}

// What a worker spills must not go to the storage that all share.
std::string ScratchDir(const RunOptions& options) {
  if (!options.spill_dir.empty()) return options.spill_dir;
  std::error_code error;
  auto folder = std::filesystem::temp_directory_path(error);
  return error ? "/tmp" : folder.string();
}

Status WritesNothing() { return UserError("the pipeline writes nothing", "add a write step"); }

bool HandsOver(const Plan& plan) {
  return std::any_of(plan.sinks.begin(), plan.sinks.end(),
                     [](const PlanSink& sink) { return sink.op == "collect"; });
}

}  // namespace

std::string RemoteRun::folder() const {
  const Plan& plan = compiled_.plan;
  if (!HandsOver(plan) || plan.exchanges.empty()) return "";
  const auto placed = PlaceExchanges(plan, compiled_.snapshot, options_.exchange);
  const bool on_nodes =
      std::all_of(placed.begin(), placed.end(), [](const auto& exchange) { return exchange.on_nodes; });
  return on_nodes ? "" : directory_->books();
}

Result<std::unique_ptr<RemoteRun>> Session::OpenRun(CompiledPlan compiled, const RunOptions& given,
                                                    Observer* observer) {
  auto run = std::unique_ptr<RemoteRun>(new RemoteRun());
  run->env_ = env_;
  run->compiled_ = std::move(compiled);
  run->options_ = given;
  run->observer_ = observer != nullptr ? observer : &run->own_;
  const Plan& plan = run->compiled_.plan;
  ARROW_RETURN_NOT_OK(given.exchange.Check(plan));
  auto datasets = DatasetsOf(plan).datasets;
  if (datasets.empty() && !HandsOver(plan)) return WritesNothing();
  if (!datasets.empty() && HandsOver(plan))
    return UserError("rows are handed over or written, not both in one run",
                     "leave out the quarantine: on_error skip or fail");
  const std::string scratch = datasets.empty() ? ScratchDir(given) : given.spill_dir;
  RunDirectory::Options options;
  options.fresh = given.fresh;
  options.work_dir = given.work_dir;
  ARROW_ASSIGN_OR_RAISE(run->directory_, RunDirectory::Open(env_, std::move(datasets),
                                                            IdentityOf(run->compiled_), scratch, options));
  if (!run->folder().empty()) ARROW_RETURN_NOT_OK(env_->CreateDirs(run->folder()));
  run->observer_->started_us.store(env_->NowUnixMicros());
  ARROW_ASSIGN_OR_RAISE(run->coordinator_,
                        Coordinator::Make(env_, &plan, &run->compiled_.snapshot, run->directory_.get(),
                                          run->observer_, given.max_attempts));
  return run;
}

Result<RunResult> RemoteRun::Finish(const Status& status) {
  if (coordinator_) coordinator_->ShowNothing();
  if (HandsOver(compiled_.plan)) {
    observer_->finished_us.store(env_->NowUnixMicros());
    directory_->Close();
    ARROW_RETURN_NOT_OK(status);
    return RunResult();
  }
  auto result =
      ConcludeRun(env_, directory_.get(), coordinator_->committer(), compiled_, options_, observer_, status);
  directory_->Close();
  return result;
}

Result<std::unique_ptr<RemoteWorker>> Session::OpenWorker(CompiledPlan compiled, const RunOptions& given,
                                                          const std::string& run_folder,
                                                          const std::string& node_host,
                                                          const std::string& node_token) {
  auto worker = std::unique_ptr<RemoteWorker>(new RemoteWorker());
  worker->compiled_ = std::move(compiled);
  ARROW_ASSIGN_OR_RAISE(worker->options_, ResolveOptions(given, env_));
  const auto& options = worker->options_;
  ARROW_RETURN_NOT_OK(SetResources(options.resources));
  const Plan& plan = worker->compiled_.plan;
  ARROW_RETURN_NOT_OK(CheckBudget(plan, options.memory_bytes));
  MemoryTables tables;
  {
    std::lock_guard lock(mutex_);
    tables = tables_;
  }
  TaskRunnerOptions runner{
      options.memory_bytes, options.threads, ScratchDir(options), options.work_dir, run_folder, {}, {}, {}};
  const auto& snapshot = worker->compiled_.snapshot;
  const auto places = PlaceStages(plan, PlaceExchanges(plan, snapshot, options.exchange));
  if (places.AnyOnNodes()) {
    runner.node_host = node_host;
    runner.node_token = node_token;
    runner.on_nodes = places.on_nodes;
  }
  ARROW_ASSIGN_OR_RAISE(worker->runner_,
                        TaskRunner::Make(env_, &plan, &worker->compiled_.snapshot,
                                         IdentityOf(worker->compiled_), std::move(tables), runner));
  return worker;
}

// The two halves in one process: execute, as a worker does; commit, as a coordinator does. Tasks of one run
// may be at it at once, so nobody holds the run's lock; lines of the log are appended whole.
Status Session::RunTask(const CompiledPlan& compiled, TaskId task, const RunOptions& given,
                        RunControl control) {
  if (task.stage < 0 || task.stage >= static_cast<int>(compiled.plan.stages.size())) {
    return UserError("the plan has " + std::to_string(compiled.plan.stages.size()) +
                     " stages; there is no stage " + std::to_string(task.stage));
  }
  if (DatasetsOf(compiled.plan).datasets.empty()) return WritesNothing();
  const auto open = [&] {
    RunDirectory::Options options;
    options.read_only_log = true;
    options.work_dir = given.work_dir;
    return RunDirectory::Open(env_, DatasetsOf(compiled.plan).datasets, IdentityOf(compiled),
                              ScratchDir(given), options);
  };
  ARROW_ASSIGN_OR_RAISE(auto directory, open());
  if (directory->log()->Contains(task.stage, task.partition)) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(auto worker, OpenWorker(compiled, given));
  // The scheduler knows what the commits so far make possible.
  Scheduler scheduler(MakeStageGraph(compiled.plan, worker->runner()->scan_partitions()), {});
  for (const auto& [key, commit] : directory->log()->commits()) {
    if (key.second >= kRetryPartitions) continue;
    const auto made = MadeBy(compiled.plan, commit);
    scheduler.Restore({key.first, key.second}, made.rows, made.bytes);
  }
  (void)scheduler.Start(0);
  const int64_t partitions = scheduler.partitions_of(task.stage);
  if (partitions < 0) {
    return UserError(
        "stage " + std::to_string(task.stage) + " reads what earlier stages have not finished writing",
        "run every task of the stages above it first");
  }
  if (task.partition < 0 || task.partition >= partitions) {
    return UserError("stage " + std::to_string(task.stage) + " has " + std::to_string(partitions) +
                     " partitions; there is no " + std::to_string(task.partition));
  }
  for (const int exchange : ExchangesReadBy(compiled.plan, task.stage)) {
    ARROW_RETURN_NOT_OK(worker->runner()->AddExchange(
        exchange, DescribeExchange(compiled.plan, *directory->log(), exchange)));
  }
  ARROW_ASSIGN_OR_RAISE(auto report, worker->runner()->Run(task, control.cancel));
  if (control.observer != nullptr) {
    AddSteps(compiled.plan, control.observer);
    report.counted.AddTo(control.observer);
  }
  ARROW_RETURN_NOT_OK(report.end.status);
  // Another copy of this task may have come first: its files count.
  ARROW_ASSIGN_OR_RAISE(directory, open());
  const Committer committer(&compiled.plan, env_, directory.get());
  if (directory->log()->Contains(task.stage, task.partition)) {
    committer.Discard(report.end);
    return Status::OK();
  }
  return committer.Commit(std::move(report.end), control.observer).status();
}

}  // namespace partita
