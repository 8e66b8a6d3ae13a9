#include "partita/session/session.h"

#include <arrow/api.h>
#include <arrow/util/base64.h>

#include <thread>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/block/content_digest.h"
#include "partita/block/logical_bytes.h"
#include "partita/engine/local_engine.h"
#include "partita/operator/payload.h"
#include "partita/schedule/stage_graph.h"

namespace partita {

std::string BuildVersion() { return PARTITA_VERSION; }

std::string CompiledPlan::ToText() const {
  Json document = {{"plan", plan.ToJson()}, {"snapshot", snapshot.ToJson()}, {"options", options}};
  // Code that the plan names by digest lies beside it: the document alone is enough to run it.
  for (const std::string& name : PayloadNames(plan)) {
    if (const auto bytes = FindPayload(name)) document["payloads"][name] = arrow::util::base64_encode(*bytes);
  }
  return PrettyJson(document);
}

Result<CompiledPlan> CompiledPlan::FromText(std::string_view text) {
  ARROW_ASSIGN_OR_RAISE(auto json, ParseJson(text));
  if (!json.is_object() || !json.contains("plan") || !json.contains("snapshot")) {
    return UserError("this is no compiled plan",
                     "make one with `partita compile pipeline.yaml -o plan.json`");
  }
  CompiledPlan compiled;
  ARROW_ASSIGN_OR_RAISE(compiled.plan, Plan::FromJson(json["plan"]));
  ARROW_ASSIGN_OR_RAISE(compiled.snapshot, Snapshot::FromJson(json["snapshot"]));
  compiled.plan_hash = compiled.plan.Hash();
  compiled.snapshot_hash = compiled.snapshot.Hash();
  compiled.options = json.value("options", Json::object());
  const auto payloads = json.find("payloads");
  if (payloads == json.end()) return compiled;
  if (!payloads->is_object()) return DataError("the payloads of this plan are no map");
  for (const auto& [name, text] : payloads->items()) {
    if (!text.is_string()) return DataError("payload '" + name + "' of this plan is no text");
    auto bytes = arrow::util::base64_decode(text.get_ref<const std::string&>());
    if (!bytes.ok()) return DataError("payload '" + name + "' of this plan cannot be read");
    ARROW_ASSIGN_OR_RAISE(const std::string found, AddPayload(std::move(*bytes)));
    if (found != name)
      return DataError("payload '" + name + "' of this plan holds other bytes than its name says");
  }
  return compiled;
}

Session::Session(Env* env) : env_(env) { RegisterBuiltinSteps(), RegisterBuiltinTransforms(); }

Result<std::string> Session::AddTable(std::shared_ptr<arrow::Schema> schema,
                                      std::vector<std::shared_ptr<arrow::RecordBatch>> batches) {
  // The name is made of the rows, so that another process that gives the same ones goes on where this one
  // stopped.
  ARROW_ASSIGN_OR_RAISE(const std::string digest, ContentDigest(*schema, batches));
  auto table = std::make_shared<MemoryTable>();
  table->schema = std::move(schema);
  for (auto& batch : batches) {
    if (batch->num_rows() == 0) continue;
    table->first_rows.push_back(table->num_rows);
    table->num_rows += batch->num_rows();
    table->batches.push_back(std::move(batch));
  }
  const std::string name = "table-" + digest.substr(0, 32);
  std::lock_guard lock(mutex_);
  std::string id = name;
  for (int copy = 2; tables_.contains(id); ++copy) id = name + "-" + std::to_string(copy);
  tables_[id] = std::move(table);
  return id;
}

void Session::ForgetTable(const std::string& id) {
  std::lock_guard lock(mutex_);
  tables_.erase(id);
}

namespace {

Status CheckBudget(const Plan& plan, int64_t budget_bytes) {
  const int64_t least = LeastBudgetBytes(plan);
  if (least <= budget_bytes) return Status::OK();
  return OutOfMemoryError(
      "the plan needs a budget of at least " + FormatBytes(least) + "; it has " + FormatBytes(budget_bytes),
      "give it more with --memory=" + std::to_string((least + kMiB - 1) / kMiB) + "MiB");
}

Json RecordOf(const CompiledPlan& compiled, const RunOptions& options, const Observer& observer,
              const Status& status) {
  Json values = Json::object();
  for (const auto& spec : RunOptionSpecs()) values[spec.name] = spec.get(options);
  return {{"build", BuildVersion()},
          {"plan", compiled.plan_hash},
          {"snapshot", compiled.snapshot_hash},
          {"options", std::move(values)},
          {"stats", observer.ToJson()},
          {"status", status.ok() ? "ok" : RenderError(status)}};
}

}  // namespace

Result<RunResult> Session::Run(const CompiledPlan& compiled, const RunOptions& given, RunControl control) {
  ARROW_ASSIGN_OR_RAISE(auto options, ResolveOptions(given, env_));
  ARROW_RETURN_NOT_OK(CheckBudget(compiled.plan, options.memory_bytes));
  RunIdentity identity{compiled.plan_hash, compiled.snapshot_hash, compiled.ToText()};
  RunDirectory::Options directory_options;
  directory_options.fresh = options.fresh;
  auto datasets = DatasetsOf(compiled.plan).datasets;
  if (datasets.empty()) return UserError("the pipeline writes nothing", "add a write step");
  ARROW_ASSIGN_OR_RAISE(auto directory, RunDirectory::Open(env_, std::move(datasets), identity,
                                                           options.spill_dir, directory_options));
  return RunIn(directory.get(), compiled, options, std::move(control));
}

Result<RunResult> Session::RunIn(RunDirectory* directory, const CompiledPlan& compiled,
                                 const RunOptions& options, RunControl control) {
  Observer own;
  Observer* observer = control.observer != nullptr ? control.observer : &own;
  RunContext context;
  context.plan = &compiled.plan;
  context.snapshot = &compiled.snapshot;
  context.env = env_;
  context.budget = Budget::Make(options.memory_bytes);
  context.observer = observer;
  context.directory = directory;
  {
    std::lock_guard lock(mutex_);
    context.tables = tables_;
  }
  context.threads = options.threads;
  observer->memory_limit.store(options.memory_bytes);
  observer->started_us.store(env_->NowUnixMicros());
  ARROW_ASSIGN_OR_RAISE(auto factory, TaskFactory::Make(context));

  ARROW_RETURN_NOT_OK(factory->DropLostExchanges());
  RunResult result;
  Status status;
  result.was_complete = directory->complete();
  LocalEngineOptions engine;
  engine.max_attempts = options.max_attempts;
  engine.poll = control.poll;
  engine.cancel = control.cancel;
  status = RunLocal(factory.get(), context, engine);
  auto manifests = factory->Manifests(compiled.plan_hash, compiled.snapshot_hash);
  if (status.ok()) status = result.was_complete ? directory->RemoveScratch() : directory->Finish(manifests);
  observer->memory_peak.store(context.budget->peak_bytes());
  observer->finished_us.store(env_->NowUnixMicros());
  observer->Emit({status.ok() ? EventKind::kRunFinished : EventKind::kRunFailed, env_->NowUnixMicros(), -1,
                  -1, "", status.ok() ? "" : RenderError(status)});
  const std::string name = std::to_string(observer->started_us.load()) + "-" + env_->RandomHex(3);
  (void)directory->WriteRunRecord(name, PrettyJson(RecordOf(compiled, options, *observer, status)));
  ARROW_RETURN_NOT_OK(status);

  result.record_path = JoinPath(directory->primary(), "_partita/runs/" + name + ".json");
  const auto plan_datasets = DatasetsOf(compiled.plan);
  for (size_t i = 0; i < compiled.plan.sinks.size(); ++i) {
    const int dataset = plan_datasets.dataset_of_sink[i];
    if (dataset < 0) continue;
    const auto& sink = compiled.plan.sinks[i];
    result.datasets.push_back({sink.step, plan_datasets.datasets[static_cast<size_t>(dataset)].path,
                               sink.format, std::move(manifests[static_cast<size_t>(dataset)])});
  }
  if (plan_datasets.quarantine >= 0) {
    auto& manifest = manifests[static_cast<size_t>(plan_datasets.quarantine)];
    if (manifest.num_rows > 0)
      result.quarantine =
          WrittenDataset{"quarantine", compiled.plan.quarantine, "parquet", std::move(manifest)};
  }
  return result;
}

Status Session::RunTask(const CompiledPlan& compiled, TaskId task, const RunOptions& given,
                        RunControl control) {
  ARROW_ASSIGN_OR_RAISE(auto options, ResolveOptions(given, env_));
  ARROW_RETURN_NOT_OK(CheckBudget(compiled.plan, options.memory_bytes));
  if (task.stage < 0 || task.stage >= static_cast<int>(compiled.plan.stages.size())) {
    return UserError("the plan has " + std::to_string(compiled.plan.stages.size()) +
                     " stages; there is no stage " + std::to_string(task.stage));
  }
  Observer own;
  Observer* observer = control.observer != nullptr ? control.observer : &own;
  RunDirectory::Options directory_options;
  directory_options.read_only_log = true;
  RunIdentity identity{compiled.plan_hash, compiled.snapshot_hash, compiled.ToText()};
  ARROW_ASSIGN_OR_RAISE(auto directory, RunDirectory::Open(env_, DatasetsOf(compiled.plan).datasets, identity,
                                                           options.spill_dir, directory_options));
  if (directory->log()->Contains(task.stage, task.partition)) return Status::OK();
  RunContext context;
  context.plan = &compiled.plan;
  context.snapshot = &compiled.snapshot;
  context.env = env_;
  context.budget = Budget::Make(options.memory_bytes);
  context.observer = observer;
  context.directory = directory.get();
  context.threads = options.threads;
  ARROW_ASSIGN_OR_RAISE(auto factory, TaskFactory::Make(context));
  // The scheduler knows what the commits so far make possible.
  Scheduler scheduler(MakeStageGraph(compiled.plan, factory->scan_partitions()), {});
  for (const auto& [key, commit] : directory->log()->commits()) {
    if (key.second >= kRetryPartitions) continue;
    const auto made = factory->MadeBy(commit);
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

  std::mutex mutex;
  std::condition_variable changed;
  std::optional<TaskEnd> ended;
  WorkerPoolOptions pool_options;
  pool_options.threads = options.threads;
  pool_options.env = env_;
  pool_options.budget = context.budget.get();
  pool_options.observer = observer;
  pool_options.target_block_bytes = TargetBlockBytes(options.memory_bytes);
  pool_options.on_end = [&](TaskEnd end) {
    std::lock_guard lock(mutex);
    ended = std::move(end);
    changed.notify_all();
  };
  WorkerPool pool(pool_options);
  for (bool frugal = false;;) {
    ARROW_ASSIGN_OR_RAISE(auto init, factory->MakeTask(task, frugal));
    pool.Submit(std::move(init), 0);
    std::unique_lock lock(mutex);
    while (!ended) {
      changed.wait_for(lock, std::chrono::milliseconds(50));
      if (control.cancel.cancelled()) pool.CancelAll(Status::Cancelled("the task was cancelled"));
    }
    TaskEnd end = std::move(*ended);
    ended.reset();
    lock.unlock();
    if (end.preempted) {
      frugal = true;
      continue;
    }
    ARROW_RETURN_NOT_OK(end.status);
    return factory->Commit(std::move(end)).status();
  }
}

}  // namespace partita
