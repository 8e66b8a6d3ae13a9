#include "partita/session/conclude.h"

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {

Status CheckBudget(const Plan& plan, int64_t budget_bytes) {
  const int64_t least = LeastBudgetBytes(plan);
  if (least <= budget_bytes) return Status::OK();
  return OutOfMemoryError(
      "the plan needs a budget of at least " + FormatBytes(least) + "; it has " + FormatBytes(budget_bytes),
      "give it more with --memory=" + std::to_string((least + kMiB - 1) / kMiB) + "MiB");
}

namespace {

constexpr size_t kMostNotices = 100;

// Where rows lay between stages, on a cluster.
Json PlacesOf(const CompiledPlan& compiled, const ExchangeChoice& choice) {
  Json places = Json::array();
  const auto placed = PlaceExchanges(compiled.plan, compiled.snapshot, choice);
  for (size_t x = 0; x < placed.size(); ++x) {
    places.push_back({{"step", compiled.plan.exchanges[x].step},
                      {"on_nodes", placed[x].on_nodes},
                      {"why", placed[x].why}});
  }
  return places;
}

Json NoticesOf(const Observer& observer) {
  Json notices = Json::array();
  size_t cursor = 0;
  for (const auto& event : observer.EventsSince(&cursor)) {
    if (event.kind == EventKind::kNotice && notices.size() < kMostNotices) notices.push_back(event.message);
  }
  return notices;
}

Json RecordOf(const CompiledPlan& compiled, const RunOptions& options, const Observer& observer,
              const Status& status) {
  Json values = Json::object();
  for (const auto& spec : RunOptionSpecs()) values[spec.name] = spec.get(options);
  Json record = {{"build", BuildVersion()},
                 {"plan", compiled.plan_hash},
                 {"snapshot", compiled.snapshot_hash},
                 {"options", std::move(values)},
                 {"stats", observer.ToJson()},
                 {"notices", NoticesOf(observer)},
                 {"status", status.ok() ? "ok" : RenderError(status)}};
  if (options.engine != "local") record["exchanges"] = PlacesOf(compiled, options.exchange);
  return record;
}

}  // namespace

Result<RunResult> ConcludeRun(Env* env, RunDirectory* directory, const Committer& committer,
                              const CompiledPlan& compiled, const RunOptions& options, Observer* observer,
                              Status status) {
  RunResult result;
  result.was_complete = directory->complete();
  auto manifests = committer.Manifests(compiled.plan_hash, compiled.snapshot_hash);
  if (status.ok()) status = result.was_complete ? directory->RemoveScratch() : directory->Finish(manifests);
  observer->finished_us.store(env->NowUnixMicros());
  observer->Emit({status.ok() ? EventKind::kRunFinished : EventKind::kRunFailed, env->NowUnixMicros(), -1, -1,
                  "", status.ok() ? "" : RenderError(status)});
  const std::string name = std::to_string(observer->started_us.load()) + "-" + env->RandomHex(3);
  (void)directory->WriteRunRecord(name, PrettyJson(RecordOf(compiled, options, *observer, status)));
  ARROW_RETURN_NOT_OK(status);

  result.record_path = JoinPath(directory->books(), "runs/" + name + ".json");
  const auto& plan_datasets = committer.datasets();
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

}  // namespace partita
