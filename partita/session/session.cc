#include "partita/session/session.h"

#include <arrow/api.h>
#include <arrow/util/base64.h>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/block/content_digest.h"
#include "partita/block/logical_bytes.h"
#include "partita/engine/local_engine.h"
#include "partita/operator/payload.h"
#include "partita/operator/resources.h"
#include "partita/session/conclude.h"

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
  return Keep("table-" + digest.substr(0, 32), std::move(table));
}

Result<std::string> Session::AddBlocks(const std::string& name, std::shared_ptr<arrow::Schema> schema,
                                       std::vector<RemoteBlock> blocks, MemoryTable::Fetch fetch,
                                       bool fetch_copies) {
  auto table = std::make_shared<MemoryTable>();
  table->schema = std::move(schema);
  for (const auto& block : blocks) {
    if (block.rows < 0 || block.size_bytes < 0) return UserError("a block has negative rows or bytes");
    table->first_rows.push_back(table->num_rows);
    table->num_rows += block.rows;
  }
  table->blocks = std::move(blocks);
  table->fetch = std::move(fetch);
  table->fetch_copies = fetch_copies;
  return Keep(name, std::move(table));
}

std::string Session::Keep(const std::string& name, std::shared_ptr<const MemoryTable> table) {
  std::lock_guard lock(mutex_);
  std::string id = name;
  for (int copy = 2; tables_.contains(id); ++copy) id = name + "-" + std::to_string(copy);
  tables_[id] = std::move(table);
  return id;
}

std::shared_ptr<const MemoryTable> Session::TableOf(const std::string& id) {
  std::lock_guard lock(mutex_);
  const auto it = tables_.find(id);
  return it == tables_.end() ? nullptr : it->second;
}

void Session::ForgetTable(const std::string& id) {
  std::lock_guard lock(mutex_);
  tables_.erase(id);
}

Result<RunResult> Session::Run(const CompiledPlan& compiled, const RunOptions& given, RunControl control) {
  if (given.engine != "local") {
    return UserError("this program runs tasks itself; it cannot start the engine '" + given.engine + "'",
                     "start it from Python, or with the command `partita run`");
  }
  ARROW_ASSIGN_OR_RAISE(auto options, ResolveOptions(given, env_));
  ARROW_RETURN_NOT_OK(options.exchange.Check(compiled.plan));
  ARROW_RETURN_NOT_OK(CheckBudget(compiled.plan, options.memory_bytes));
  RunIdentity identity{compiled.plan_hash, compiled.snapshot_hash, compiled.ToText()};
  RunDirectory::Options directory_options;
  directory_options.fresh = options.fresh;
  directory_options.work_dir = options.work_dir;
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
  ARROW_RETURN_NOT_OK(SetResources(options.resources));
  context.places.in_memory =
      PlaceStages(compiled.plan, PlaceExchanges(compiled.plan, compiled.snapshot, options.exchange))
          .in_memory;
  observer->memory_limit.store(options.memory_bytes);
  observer->started_us.store(env_->NowUnixMicros());
  ARROW_ASSIGN_OR_RAISE(auto factory, TaskFactory::Make(context));

  ARROW_RETURN_NOT_OK(factory->DropLostExchanges());
  LocalEngineOptions engine;
  engine.max_attempts = options.max_attempts;
  engine.poll = control.poll;
  engine.cancel = control.cancel;
  const Status status = RunLocal(factory.get(), context, engine);
  observer->memory_peak.store(context.budget->peak_bytes());
  return ConcludeRun(env_, directory, factory->committer(), compiled, options, observer, status);
}

}  // namespace partita
