#include "partita/engine/task_runner.h"

#include <algorithm>
#include <chrono>

#include "partita/base/json.h"
#include "partita/engine/local_engine.h"
#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

constexpr auto kWaitForMemory = std::chrono::milliseconds(500);
constexpr auto kLookForCancel = std::chrono::milliseconds(100);

Status NotNeeded() { return Status::Cancelled("not needed any more"); }

// The commits of one writing stage, as columns.
Status AddWriter(const Plan& plan, int exchange, const Json& json, CommitLog* log) {
  const int stage = json.at("stage").get<int>(), output = json.at("output").get<int>();
  const auto writers = WritersOf(plan, exchange);
  // One stage may write an exchange twice: a union of two branches.
  const auto writer = std::find_if(writers.begin(), writers.end(), [&](const ExchangeWriter& w) {
    return w.stage == stage && w.output == output;
  });
  if (writer == writers.end())
    return BugError("an exchange is described with a stage that does not write it");
  const auto& partitions = json.at("partitions");
  const auto &rows = json.at("rows"), &bytes = json.at("bytes");
  if (rows.size() != partitions.size() || bytes.size() != partitions.size())
    return BugError("the description of an exchange is torn");
  for (size_t i = 0; i < partitions.size(); ++i) {
    const auto partition = partitions[i].get<int64_t>();
    if (partition < 0 || rows[i].get<int64_t>() < 0) return BugError("an exchange is described wrongly");
    TaskCommit commit;
    commit.stage = stage;
    commit.partition = partition;
    // A stage may write several exchanges: what is known of the others stays.
    if (const auto it = log->commits().find({stage, partition}); it != log->commits().end())
      commit.outputs = it->second.outputs;
    commit.outputs.push_back({.output = writer->output,
                              .rows = rows[i].get<int64_t>(),
                              .files = {},
                              .bytes = bytes[i].get<int64_t>()});
    ARROW_RETURN_NOT_OK(log->Append(std::move(commit)));
  }
  return Status::OK();
}

}  // namespace

std::string DescribeExchange(const Plan& plan, const CommitLog& log, int exchange) {
  Json writers = Json::array();
  for (const auto& writer : WritersOf(plan, exchange)) {
    Json partitions = Json::array(), rows = Json::array(), bytes = Json::array();
    for (const auto& commit : log.OfStage(writer.stage)) {
      if (commit.partition >= kRetryPartitions) continue;
      const auto made = MadeBy(plan, commit);
      partitions.push_back(commit.partition);
      rows.push_back(made.rows[static_cast<size_t>(writer.output)]);
      bytes.push_back(made.bytes[static_cast<size_t>(writer.output)]);
    }
    writers.push_back({{"stage", writer.stage},
                       {"output", writer.output},
                       {"partitions", std::move(partitions)},
                       {"rows", std::move(rows)},
                       {"bytes", std::move(bytes)}});
  }
  return CanonicalJson({{"exchange", exchange}, {"writers", std::move(writers)}});
}

Result<std::unique_ptr<TaskRunner>> TaskRunner::Make(Env* env, const Plan* plan, const Snapshot* snapshot,
                                                     const RunIdentity& identity, MemoryTables tables,
                                                     const TaskRunnerOptions& options) {
  auto runner = std::unique_ptr<TaskRunner>(new TaskRunner(env, plan));
  ARROW_ASSIGN_OR_RAISE(runner->directory_,
                        RunDirectory::Attach(env, DatasetsOf(*plan).datasets, identity, options.scratch_dir,
                                             options.work_dir, options.run_folder));
  runner->budget_ = Budget::Make(options.memory_bytes);
  runner->observer_.memory_limit.store(options.memory_bytes);
  RunContext context;
  context.plan = plan;
  context.snapshot = snapshot;
  context.env = env;
  context.budget = runner->budget_;
  context.observer = &runner->observer_;
  context.directory = runner->directory_.get();
  context.tables = std::move(tables);
  context.threads = options.threads;
  context.delivery = runner->delivery_;
  runner->slots_ = MostRunningTasks(*plan, options.memory_bytes, options.threads);
  ARROW_ASSIGN_OR_RAISE(runner->factory_, TaskFactory::Make(std::move(context)));

  WorkerPoolOptions pool;
  pool.threads = options.threads;
  pool.env = env;
  pool.budget = runner->budget_.get();
  pool.observer = &runner->observer_;
  pool.target_block_bytes = TargetBlockBytes(options.memory_bytes);
  pool.on_end = [runner = runner.get()](TaskEnd end) {
    std::lock_guard lock(runner->mutex_);
    const auto it = runner->running_.find({end.stage, end.partition});
    if (it != runner->running_.end()) it->second.end = std::move(end);
    runner->changed_.notify_all();
  };
  runner->pool_ = std::make_unique<WorkerPool>(std::move(pool));
  return runner;
}

TaskRunner::~TaskRunner() {
  std::unique_lock lock(mutex_);
  for (auto& [task, running] : running_) running.cancelled = true;
  lock.unlock();
  if (pool_) pool_->CancelAll(Status::Cancelled("the worker ends"));
  lock.lock();
  changed_.wait(lock, [this] { return running_.empty(); });
}

Status TaskRunner::AddExchange(int exchange, std::string_view description) {
  ARROW_ASSIGN_OR_RAISE(const Json json, ParseJson(description));
  std::lock_guard lock(mutex_);
  if (exchange < 0 || exchange >= static_cast<int>(plan_->exchanges.size()))
    return BugError("the plan has no exchange " + std::to_string(exchange));
  if (exchanges_.contains(exchange)) return Status::OK();
  try {  // the accessors throw where the text has another layout
    if (json.at("exchange").get<int>() != exchange) return BugError("this describes another exchange");
    for (const auto& writer : json.at("writers"))
      ARROW_RETURN_NOT_OK(AddWriter(*plan_, exchange, writer, directory_->log()));
  } catch (const std::exception& error) {
    return BugError(std::string("the description of an exchange cannot be read: ") + error.what());
  }
  exchanges_.insert(exchange);
  return Status::OK();
}

Status TaskRunner::Check(TaskId task) const {
  if (task.stage < 0 || task.stage >= static_cast<int>(plan_->stages.size()))
    return UserError("the plan has no stage " + std::to_string(task.stage));
  for (const int exchange : ExchangesReadBy(*plan_, task.stage)) {
    if (!exchanges_.contains(exchange)) {
      return BugError("stage " + std::to_string(task.stage) + " reads exchange " + std::to_string(exchange) +
                      ", of which this worker was told nothing");
    }
  }
  if (running_.contains(task)) return BugError("the task runs here already");
  return Status::OK();
}

TaskReport TaskRunner::Report(TaskEnd end) {
  TaskReport report{std::move(end), counted_.Next()};
  report.counted.memory_peak = budget_->peak_bytes();
  return report;
}

Result<TaskReport> TaskRunner::Run(TaskId task, const CancelToken& cancel) {
  std::unique_lock lock(mutex_);
  ARROW_RETURN_NOT_OK(Check(task));
  Running& running = running_[task];
  TaskEnd end;
  for (bool frugal = false;;) {
    auto init = factory_->MakeTask(task, frugal);
    if (init.ok()) {
      lock.unlock();
      pool_->Submit(std::move(*init), AgeOf(*plan_, task));
      lock.lock();
      // Also for a cancel that came before the pool knew the task.
      while (!changed_.wait_for(lock, kLookForCancel, [&] { return running.end.has_value(); })) {
        if (cancel.cancelled()) running.cancelled = true;
        if (running.cancelled) pool_->Cancel(task.stage, task.partition, NotNeeded());
      }
      end = std::move(*running.end);
      running.end.reset();
    } else {
      end.status = init.status();
    }
    if (!end.preempted || running.cancelled) break;
    frugal = end.frugal_next;
    // It gave its memory to an older task: it goes on when one has ended.
    const int64_t ended = ended_;
    changed_.wait_for(lock, kWaitForMemory,
                      [&] { return ended_ != ended || running_.size() == 1 || running.cancelled; });
  }
  if (end.preempted && end.status.ok()) end.status = NotNeeded();
  end.stage = task.stage;
  end.partition = task.partition;
  if (!end.status.ok()) delivery_->Drop(task);
  running_.erase(task);
  ++ended_;
  TaskReport report = Report(std::move(end));
  changed_.notify_all();
  return report;
}

void TaskRunner::Cancel(TaskId task) {
  std::lock_guard lock(mutex_);
  const auto it = running_.find(task);
  if (it == running_.end()) return;
  it->second.cancelled = true;
  pool_->Cancel(task.stage, task.partition, NotNeeded());
  changed_.notify_all();
}

}  // namespace partita
