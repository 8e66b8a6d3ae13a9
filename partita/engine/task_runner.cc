#include "partita/engine/task_runner.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "partita/base/json.h"
#include "partita/engine/local_engine.h"
#include "partita/schedule/stage_graph.h"
#include "partita/storage/staged_file.h"

namespace partita {
namespace {

constexpr auto kWaitForMemory = std::chrono::milliseconds(500);
constexpr auto kLookForCancel = std::chrono::milliseconds(100);

Status NotNeeded() { return Status::Cancelled("not needed any more"); }

// Where blocks lie, of an exchange that is being described.
struct DescribedBlocks {
  std::vector<NodePlace> places;
  std::set<int> used;
  ExchangeStore::NodeBlocks blocks;
};

// The commits of one writing stage, as columns.
Status AddWriter(const Plan& plan, int exchange, const Json& json, CommitLog* log, DescribedBlocks* found) {
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
  const bool on_nodes = json.contains("places");
  if (on_nodes && (json.at("places").size() != rows.size() || json.at("names").size() != rows.size()))
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
    std::erase_if(commit.outputs, [&](const auto& known) { return known.output == writer->output; });
    commit.outputs.push_back({.output = writer->output,
                              .rows = rows[i].get<int64_t>(),
                              .files = {},
                              .bytes = bytes[i].get<int64_t>()});
    ARROW_RETURN_NOT_OK(log->Append(std::move(commit)));
    const int place = on_nodes ? json.at("places")[i].get<int>() : -1;
    if (place < 0) continue;
    const auto& where = found->places.at(static_cast<size_t>(place));
    found->blocks[{writer->input_index, partition}] =
        NodePath::Text(where, json.at("names")[i].get<std::string>());
    found->used.insert(place);
  }
  return Status::OK();
}

}  // namespace

std::string DescribeExchange(const Plan& plan, const CommitLog& log, int exchange, const NodeLedger* blocks,
                             int64_t edition) {
  Json writers = Json::array();
  bool on_nodes = false;
  for (const auto& writer : WritersOf(plan, exchange)) {
    Json partitions = Json::array(), rows = Json::array(), bytes = Json::array();
    Json places = Json::array(), names = Json::array();
    for (const auto& commit : log.OfStage(writer.stage)) {
      if (commit.partition >= kRetryPartitions) continue;
      const auto made = MadeBy(plan, commit);
      partitions.push_back(commit.partition);
      rows.push_back(made.rows[static_cast<size_t>(writer.output)]);
      bytes.push_back(made.bytes[static_cast<size_t>(writer.output)]);
      const auto block = blocks == nullptr ? NodeLedger::Found()
                                           : blocks->Find({writer.stage, commit.partition}, writer.output);
      places.push_back(block.place);
      names.push_back(block.name);
      on_nodes = on_nodes || block.place >= 0;
    }
    writers.push_back({{"stage", writer.stage},
                       {"output", writer.output},
                       {"partitions", std::move(partitions)},
                       {"rows", std::move(rows)},
                       {"bytes", std::move(bytes)},
                       {"places", std::move(places)},
                       {"names", std::move(names)}});
  }
  Json places = Json::array();
  if (on_nodes) {
    for (const auto& place : blocks->places()) places.push_back({place.at, place.root});
  } else {
    for (auto& writer : writers) {
      writer.erase("places");
      writer.erase("names");
    }
  }
  return CanonicalJson({{"exchange", exchange},
                        {"edition", edition},
                        {"places", std::move(places)},
                        {"writers", std::move(writers)}});
}

Result<std::unique_ptr<TaskRunner>> TaskRunner::Make(Env* env, const Plan* plan, const Snapshot* snapshot,
                                                     const RunIdentity& identity, MemoryTables tables,
                                                     const TaskRunnerOptions& options) {
  auto runner = std::unique_ptr<TaskRunner>(new TaskRunner(env, plan));
  if (!options.node_host.empty()) {
    ARROW_ASSIGN_OR_RAISE(runner->server_,
                          NodeServer::Start(env, options.scratch_dir, options.node_host, options.node_token));
    runner->node_env_ = std::make_unique<NodeEnv>(env, options.node_host, options.node_token);
    env = runner->env_ = runner->node_env_.get();
  }
  runner->has_storage_ = !DatasetsOf(*plan).datasets.empty() || !options.run_folder.empty();
  ARROW_ASSIGN_OR_RAISE(runner->directory_,
                        RunDirectory::Attach(env, DatasetsOf(*plan).datasets, identity, options.scratch_dir,
                                             options.work_dir, options.run_folder));
  ARROW_RETURN_NOT_OK(runner->CheckStorage(options));
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
  if (runner->server_) {
    runner->places_.on_nodes = options.on_nodes;
    context.places = runner->places_;
    context.node_folder = runner->server_->place().root;
  }
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

// Without the run's books exchanges have no storage that others see.
Status TaskRunner::CheckStorage(const TaskRunnerOptions& options) {
  if (directory_->shares_books()) return Status::OK();
  has_storage_ = false;
  for (size_t s = 0; s < plan_->stages.size(); ++s) {
    const bool on_nodes = server_ != nullptr && s < options.on_nodes.size() && options.on_nodes[s];
    for (const auto& output : plan_->stages[s].outputs) {
      if (on_nodes || output.kind != PlanOutput::Kind::kExchange) continue;
      return EnvironmentError("this worker does not see the folder of the run, through which rows of step '" +
                                  plan_->exchanges[static_cast<size_t>(output.target)].step + "' go",
                              "name a folder that every worker mounts at the same path with --work-dir; "
                              "`partita explain` tells why "
                              "rows do not stay on the nodes",
                              /*retriable=*/false);
    }
  }
  return Status::OK();
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
  std::lock_guard adding(adding_);
  if (exchange < 0 || exchange >= static_cast<int>(plan_->exchanges.size()))
    return BugError("the plan has no exchange " + std::to_string(exchange));
  int64_t edition = 0;
  DescribedBlocks found;
  try {  // the accessors throw where the text has another layout
    if (json.at("exchange").get<int>() != exchange) return BugError("this describes another exchange");
    edition = json.value("edition", int64_t{0});
    if (const auto known = exchanges_.find(exchange); known != exchanges_.end() && known->second >= edition)
      return Status::OK();
    for (const auto& place : json.value("places", Json::array())) {
      found.places.push_back({place.at(0).get<std::string>(), place.at(1).get<std::string>()});
    }
    for (const auto& writer : json.at("writers"))
      ARROW_RETURN_NOT_OK(AddWriter(*plan_, exchange, writer, directory_->log(), &found));
  } catch (const std::exception& error) {
    return BugError(std::string("the description of an exchange cannot be read: ") + error.what());
  }
  if (!found.blocks.empty() && !node_env_)
    return BugError("an exchange lies on nodes, and this worker does not know how to read there");
  for (const int place : found.used) node_env_->AddPlace(found.places[static_cast<size_t>(place)]);
  factory_->SetNodeBlocks(exchange, std::move(found.blocks));
  std::lock_guard lock(mutex_);
  exchanges_[exchange] = edition;
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
  if (end.status.ok()) under_way_.Ended(end);
  NameBlocks(&end);
  TaskReport report{std::move(end), counted_.Next(), {}};
  if (server_) report.place = server_->place();
  report.counted.memory_peak = budget_->peak_bytes();
  return report;
}

// Files of this node get the names under which other nodes find them.
void TaskRunner::NameBlocks(TaskEnd* end) const {
  if (!server_) return;
  const std::string root = server_->place().root + "/";
  for (auto& output : end->outputs) {
    for (auto& file : output.files) {
      if (file.temporary.starts_with(root))
        file.temporary =
            NodePath::Text(server_->place(), std::string_view(file.temporary).substr(root.size()));
    }
  }
}

bool TaskRunner::MayTurnToStorage(TaskId task, const Status& status) const {
  return server_ != nullptr && has_storage_ && KindOf(status) == ErrorKind::kResource && status.IsIOError() &&
         places_.OnNodes(task.stage);
}

// What is staged in a folder that the coordinator does not see goes with the report.
Result<std::vector<CarriedFile>> TaskRunner::Carry(const TaskEnd& end) const {
  std::vector<CarriedFile> carried;
  if (!directory_->carries() || !end.status.ok()) return carried;
  for (const auto& output : end.outputs) {
    for (size_t i = 0; i < output.files.size(); ++i) {
      const auto& path = output.files[i].temporary;
      if (!IsStagedUpload(path)) continue;
      ARROW_ASSIGN_OR_RAISE(auto taken, TakeStaged(env_, path));
      carried.push_back({output.output, i, std::move(taken)});
    }
  }
  return carried;
}

Result<TaskReport> TaskRunner::Run(TaskId task, const CancelToken& cancel) {
  std::unique_lock lock(mutex_);
  ARROW_RETURN_NOT_OK(Check(task));
  Running& running = running_[task];
  TaskEnd end;
  for (bool frugal = false, on_storage = false;;) {
    auto init = factory_->MakeTask(task, frugal, on_storage);
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
    if (!end.preempted && !running.cancelled && !on_storage && MayTurnToStorage(task, end.status)) {
      on_storage = true;
      continue;
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
  lock.unlock();
  auto carried = Carry(end);
  lock.lock();
  if (!carried.ok()) end.status = carried.status();
  if (!end.status.ok()) delivery_->Drop(task);
  running_.erase(task);
  ++ended_;
  TaskReport report = Report(std::move(end));
  if (carried.ok()) report.carried = std::move(*carried);
  changed_.notify_all();
  return report;
}

std::string TaskRunner::UnderWay() {
  std::lock_guard lock(mutex_);
  return under_way_.ToText();
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
