// Retrying quarantined rows: a plan of its own whose sources are the quarantine's files and whose steps are
// those from the failing one on. Its output is written aside; one line of the commit log then adds it to the
// datasets and empties the quarantine.
#include <arrow/type.h>

#include <map>

#include "partita/base/json.h"
#include "partita/session/session.h"
#include "partita/storage/store.h"

namespace partita {
namespace {

struct Quarantined {
  int stage, node;
  std::vector<CommittedFile> files;
  std::vector<TaskCommit::Dropped> from;
};

std::vector<Quarantined> FindQuarantined(const CommitLog& log) {
  std::map<std::pair<int, int>, Quarantined> found;
  for (const auto& [key, commit] : log.commits()) {
    for (const auto& output : commit.outputs) {
      if (output.output < kQuarantineOutput || output.files.empty()) continue;
      const int node = output.output - kQuarantineOutput - 1;
      if (node < 0) continue;  // rows that no reader could parse stay where they are
      auto& entry = found.try_emplace({key.first, node}, Quarantined{key.first, node, {}, {}}).first->second;
      entry.files.insert(entry.files.end(), output.files.begin(), output.files.end());
      entry.from.push_back({key.first, key.second, output.output});
    }
  }
  std::vector<Quarantined> result;
  for (auto& [key, entry] : found) result.push_back(std::move(entry));
  return result;
}

// The part of a stage from `node` on, with `node`'s input rows as its source.
struct RetryStage {
  PlanStage stage;
  std::vector<int> original_output;  // index in the original stage, by output
};

Result<RetryStage> StageFrom(const Plan& plan, const Quarantined& entry, std::map<int, int>* inputs_of_sink) {
  const PlanStage& original = plan.stages[static_cast<size_t>(entry.stage)];
  const PlanNode& first = original.nodes[static_cast<size_t>(entry.node)];
  RetryStage result;
  auto& source = result.stage.source;
  source.step = "quarantine-" + std::to_string(entry.stage) + "-" + first.step;
  source.op = "read_parquet";
  source.format = "parquet";
  source.schema =
      first.input < 0 ? original.source.schema : original.nodes[static_cast<size_t>(first.input)].output;
  std::map<int, int> renumbered;
  for (int n = entry.node; n < static_cast<int>(original.nodes.size()); ++n) {
    const auto& node = original.nodes[static_cast<size_t>(n)];
    if (n != entry.node && !renumbered.contains(node.input)) continue;
    PlanNode copy = node;
    copy.input = n == entry.node ? -1 : renumbered.at(node.input);
    renumbered[n] = static_cast<int>(result.stage.nodes.size());
    if (copy.table >= 0) {
      return UserError("rows of step '" + first.step + "' are joined in step '" + copy.step +
                           "'; they cannot be retried alone",
                       "fix the cause and run with --fresh");
    }
    result.stage.nodes.push_back(std::move(copy));
  }
  for (size_t o = 0; o < original.outputs.size(); ++o) {
    PlanOutput output = original.outputs[o];
    if (!renumbered.contains(output.node)) continue;
    if (output.kind == PlanOutput::Kind::kExchange) {
      return UserError("rows of step '" + first.step +
                           "' go through an exchange (limit or exact shards); they cannot be retried alone",
                       "fix the cause and run with --fresh");
    }
    output.node = renumbered.at(output.node);
    output.input_index = (*inputs_of_sink)[output.target]++;
    result.stage.outputs.push_back(output);
    result.original_output.push_back(static_cast<int>(o));
  }
  result.stage.is_volatile = original.is_volatile;
  return result;
}

}  // namespace

Result<RunResult> Session::RetryQuarantine(const CompiledPlan& compiled, const RunOptions& given,
                                           RunControl control) {
  if (compiled.plan.quarantine.empty())
    return UserError("no step of this plan quarantines rows", "set on_error: quarantine");
  RunIdentity identity{compiled.plan_hash, compiled.snapshot_hash, compiled.ToText()};
  ARROW_ASSIGN_OR_RAISE(auto options, ResolveOptions(given, env_));
  options.fresh = false;
  options.engine = "local";  // bad rows are few
  const auto plan_datasets = DatasetsOf(compiled.plan);
  for (const auto& dataset : plan_datasets.datasets) {
    if (!IsObjectStore(dataset.path)) continue;
    return UserError("rows in quarantine cannot be retried yet where the run writes to S3",
                     "read the quarantine's Parquet files in a pipeline of their own");
  }
  ARROW_ASSIGN_OR_RAISE(auto directory,
                        RunDirectory::Open(env_, plan_datasets.datasets, identity, options.spill_dir, {}));
  if (!directory->complete()) {
    return UserError("the run is not finished, so there is nothing to retry yet",
                     "run it to its end first, without --retry-quarantine");
  }
  const auto quarantined = FindQuarantined(*directory->log());
  if (quarantined.empty()) return RunIn(directory.get(), compiled, options, std::move(control));

  CompiledPlan retry;
  retry.plan.name = compiled.plan.name + " (retry)";
  std::map<int, int> inputs_of_sink;
  std::vector<RetryStage> stages;
  for (const auto& entry : quarantined) {
    ARROW_ASSIGN_OR_RAISE(auto stage, StageFrom(compiled.plan, entry, &inputs_of_sink));
    SourceSnapshot source;
    source.step = stage.stage.source.step;
    source.format = "parquet";
    source.schema = stage.stage.source.schema;
    for (const auto& file : entry.files) {
      SourceFile source_file;
      source_file.entry.location = JoinPath(compiled.plan.quarantine, file.path);
      ARROW_ASSIGN_OR_RAISE(auto status, env_->Stat(source_file.entry.location));
      source_file.entry.size_bytes = status.size_bytes;
      source_file.entry.mtime_ns = status.mtime_ns;
      source.files.push_back(std::move(source_file));
    }
    retry.snapshot.sources.push_back(std::move(source));
    stages.push_back(std::move(stage));
  }
  std::map<int, int> sink_number;  // original -> retry
  for (const auto& [sink, inputs] : inputs_of_sink) {
    sink_number[sink] = static_cast<int>(retry.plan.sinks.size());
    PlanSink copy = compiled.plan.sinks[static_cast<size_t>(sink)];
    copy.inputs = inputs;
    copy.args["path"] = JoinPath(copy.args.value("path", std::string()), "_partita/retry");
    retry.plan.sinks.push_back(std::move(copy));
  }
  for (auto& stage : stages) {
    for (auto& output : stage.stage.outputs) output.target = sink_number.at(output.target);
    retry.plan.stages.push_back(stage.stage);
  }
  retry.plan.quarantine = JoinPath(compiled.plan.quarantine, "_partita/retry");
  retry.plan_hash = retry.plan.Hash();
  retry.snapshot_hash = retry.snapshot.Hash();
  RunOptions retry_options = options;
  retry_options.fresh = true;  // an interrupted retry starts over: its rows are few
  ARROW_RETURN_NOT_OK(Run(retry, retry_options, control).status());

  // What the retry's tasks made, under names of its own round.
  int64_t round = 0;
  for (const auto& [key, commit] : directory->log()->commits()) {
    if (key.second >= kRetryPartitions) round = std::max(round, key.second / kRetryPartitions);
  }
  ARROW_ASSIGN_OR_RAISE(
      auto retry_log,
      CommitLog::Open(env_, JoinPath(DatasetsOf(retry.plan).datasets[0].path, "_partita/commits.log")));
  const auto retry_datasets = DatasetsOf(retry.plan);
  TaskCommit merged;
  merged.stage = quarantined[0].stage;
  merged.partition = (round + 1) * kRetryPartitions;
  std::vector<RunDirectory::Pending> pending;
  for (const auto& [key, commit] : retry_log->commits()) {
    const auto& entry = quarantined[static_cast<size_t>(key.first)];
    const auto& stage = stages[static_cast<size_t>(key.first)];
    for (const auto& output : commit.outputs) {
      CommittedOutput moved;
      moved.rows = output.rows;
      if (output.output >= kQuarantineOutput) {
        moved.dataset = plan_datasets.quarantine;
        // The same step, by its index in the original stage: nodes were copied in order from the failing one
        // on.
        const auto& step = stage.stage.nodes[static_cast<size_t>(output.output - kQuarantineOutput - 1)].step;
        const auto& nodes = compiled.plan.stages[static_cast<size_t>(entry.stage)].nodes;
        for (size_t n = 0; n < nodes.size(); ++n) {
          if (nodes[n].step == step) moved.output = kQuarantineOutput + static_cast<int>(n) + 1;
        }
      } else {
        moved.output = stage.original_output[static_cast<size_t>(output.output)];
        const auto& original =
            compiled.plan.stages[static_cast<size_t>(entry.stage)].outputs[static_cast<size_t>(moved.output)];
        moved.dataset = plan_datasets.dataset_of_sink[static_cast<size_t>(original.target)];
      }
      for (const auto& file : output.files) {
        const std::string folder(DirName(file.path));
        const std::string name = "part-r" + std::to_string(round + 1) + "-" + std::to_string(key.first) +
                                 "-" + std::string(BaseName(file.path)).substr(5);
        const std::string path = folder == "." ? name : folder + "/" + name;
        moved.files.push_back({path, file.rows, file.size_bytes});
        pending.push_back(
            {static_cast<size_t>(moved.dataset),
             JoinPath(retry_datasets.datasets[static_cast<size_t>(output.dataset)].path, file.path), path});
      }
      merged.outputs.push_back(std::move(moved));
    }
  }
  for (const auto& entry : quarantined)
    merged.dropped.insert(merged.dropped.end(), entry.from.begin(), entry.from.end());
  ARROW_RETURN_NOT_OK(directory->Commit(pending, std::move(merged)));
  for (const auto& entry : quarantined) {
    for (const auto& file : entry.files)
      ARROW_RETURN_NOT_OK(env_->RemoveFile(JoinPath(compiled.plan.quarantine, file.path)));
  }
  for (const auto& dataset : retry_datasets.datasets) ARROW_RETURN_NOT_OK(env_->RemoveTree(dataset.path));
  directory->NotComplete();
  // Only the manifests are left to write. What the caller's observer tells is the retry: these rows, this
  // memory.
  control.observer = nullptr;
  return RunIn(directory.get(), compiled, options, std::move(control));
}

}  // namespace partita
