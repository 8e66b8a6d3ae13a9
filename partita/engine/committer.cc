#include "partita/engine/committer.h"

#include <arrow/type.h>

#include <algorithm>

#include "partita/storage/staged_file.h"
#include "partita/storage/store.h"

namespace partita {
namespace {

bool IsOnNode(const TaskOutput& output) {
  return std::any_of(output.files.begin(), output.files.end(),
                     [](const OutputFile& file) { return NodePath::Is(file.temporary); });
}

}  // namespace

PlanDatasets DatasetsOf(const Plan& plan) {
  PlanDatasets result;
  for (const auto& sink : plan.sinks) {
    if (sink.op == "collect") {
      result.dataset_of_sink.push_back(-1);
      continue;
    }
    result.dataset_of_sink.push_back(static_cast<int>(result.datasets.size()));
    result.datasets.push_back({sink.args.value("path", std::string()), sink.format, sink.schema});
  }
  if (!plan.quarantine.empty()) {
    result.quarantine = static_cast<int>(result.datasets.size());
    result.datasets.push_back({plan.quarantine, "parquet", arrow::schema({})});
  }
  return result;
}

Result<std::vector<Partition>> NumberedPartitions(const Plan& plan, int stage, const Snapshot& snapshot) {
  ARROW_ASSIGN_OR_RAISE(auto partitions, ScanPartitions(plan, stage, snapshot));
  for (const auto& output : plan.stages[static_cast<size_t>(stage)].outputs) {
    if (output.input_index > 0 && static_cast<int64_t>(partitions.size()) > kPartitionsPerInput) {
      return UserError(
          "an input of a union has more than " + std::to_string(kPartitionsPerInput) + " partitions",
          "raise partition_bytes or rows_per_partition of the source");
    }
  }
  return partitions;
}

// In the order in which the local engine's stages name them.
void AddSteps(const Plan& plan, Observer* observer) {
  std::set<std::string> known;
  for (const auto& counters : observer->steps()) known.insert(counters.step);
  const auto add = [&](const std::string& step, const std::string& op) {
    if (known.insert(step).second) observer->AddStep(step, op);
  };
  for (const auto& stage : plan.stages) {
    if (stage.source.kind == PlanSource::Kind::kScan) {
      add(stage.source.step, stage.source.op);
    } else {
      add(plan.exchanges[static_cast<size_t>(stage.source.exchange)].step, "exchange");
    }
    for (const auto& node : stage.nodes) add(node.step, node.op);
    for (const auto& output : stage.outputs) {
      const auto target = static_cast<size_t>(output.target);
      if (output.kind == PlanOutput::Kind::kSink) {
        add(plan.sinks[target].step, plan.sinks[target].op);
      } else {
        add(plan.exchanges[target].step, "exchange");
      }
    }
  }
}

void CountCommitted(const Plan& plan, const TaskCommit& commit, Observer* observer) {
  const auto counters_of = [&](const std::string& name) -> StepCounters* {
    for (const auto& counters : observer->steps()) {
      if (counters.step == name) return const_cast<StepCounters*>(&counters);
    }
    return nullptr;
  };
  const auto& stage = plan.stages[static_cast<size_t>(commit.stage)];
  for (size_t i = 0; i < commit.steps.size() && i <= stage.nodes.size(); ++i) {
    auto* step = counters_of(i == 0 ? stage.source.step : stage.nodes[i - 1].step);
    if (step == nullptr) continue;
    step->rows_in += commit.steps[i].rows_in;
    step->rows_out += commit.steps[i].rows_out;
    step->rows_skipped += commit.steps[i].skipped;
    step->rows_quarantined += commit.steps[i].quarantined;
  }
  const auto made = MadeBy(plan, commit);
  for (size_t o = 0; o < made.rows.size(); ++o) {
    const auto& output = stage.outputs[o];
    if (output.kind != PlanOutput::Kind::kSink) continue;
    auto* sink = counters_of(plan.sinks[static_cast<size_t>(output.target)].step);
    if (sink == nullptr) continue;
    sink->rows_in += made.rows[o];
    sink->rows_out += made.rows[o];
  }
}

const std::string& Committer::StepOf(int stage, int node) const {
  const auto& plan_stage = plan_->stages[static_cast<size_t>(stage)];
  return node < 0 ? plan_stage.source.step : plan_stage.nodes[static_cast<size_t>(node)].step;
}

Result<std::string> Committer::FolderOf(int stage_index, int output) const {
  const auto& stage = plan_->stages[static_cast<size_t>(stage_index)];
  if (output >= kQuarantineOutput) {
    const int node = output - kQuarantineOutput - 1;
    if (datasets_.quarantine < 0 || node < -1 || node >= static_cast<int>(stage.nodes.size()))
      return BugError("a quarantine that the plan does not have");
    return directory_->TemporaryDir(static_cast<size_t>(datasets_.quarantine));
  }
  if (output < 0 || output >= static_cast<int>(stage.outputs.size()))
    return BugError("an output that the stage does not have");
  const auto& target = stage.outputs[static_cast<size_t>(output)];
  if (target.kind == PlanOutput::Kind::kExchange) return directory_->ExchangeDir(target.target);
  const int dataset = datasets_.dataset_of_sink[static_cast<size_t>(target.target)];
  return dataset < 0 ? std::string() : directory_->TemporaryDir(static_cast<size_t>(dataset));
}

Status Committer::PutDown(const std::vector<CarriedFile>& carried, TaskEnd* end) const {
  if (end->stage < 0 || end->stage >= static_cast<int>(plan_->stages.size()))
    return BugError("a report of a stage that the plan does not have");
  for (const auto& one : carried) {
    const auto output = std::find_if(end->outputs.begin(), end->outputs.end(),
                                     [&](const TaskOutput& known) { return known.output == one.output; });
    if (output == end->outputs.end() || one.file >= output->files.size())
      return BugError("a report carries a file that it does not name");
    ARROW_ASSIGN_OR_RAISE(const std::string folder, FolderOf(end->stage, one.output));
    auto& file = output->files[one.file];
    const std::string name(BaseName(file.temporary));
    if (folder.empty() || !IsSafeRelativePath(name)) return BugError("a report carries a file of nobody");
    file.temporary = JoinPath(folder, name);
    ARROW_RETURN_NOT_OK(PutStaged(env_, file.temporary, one.taken));
  }
  return Status::OK();
}

Status Committer::Check(const TaskEnd& end, const NodePlace& place) const {
  const auto wrong = [&](const std::string& what) {
    return BugError("the report of stage " + std::to_string(end.stage) + ", partition " +
                    std::to_string(end.partition) + " names " + what);
  };
  if (end.stage < 0 || end.stage >= static_cast<int>(plan_->stages.size())) return wrong("no stage");
  const auto& stage = plan_->stages[static_cast<size_t>(end.stage)];
  std::set<int> seen;
  for (const auto& output : end.outputs) {
    if (!seen.insert(output.output).second) return wrong("an output twice");
    auto found = FolderOf(end.stage, output.output);
    if (!found.ok()) return wrong(MessageOf(found.status()));
    const std::string folder = std::move(*found);
    if (folder.empty() && !output.files.empty()) return wrong("files of rows that are handed over");
    const bool on_node = IsOnNode(output);
    if (on_node && (output.output >= static_cast<int>(stage.outputs.size()) || output.files.size() != 1 ||
                    stage.outputs[static_cast<size_t>(output.output)].kind != PlanOutput::Kind::kExchange ||
                    !MayStayOnNodes(*plan_, end.stage)))
      return wrong("a block on a node, where none may be");
    for (const auto& file : output.files) {
      if (on_node) {
        const auto path = NodePath::Parse(file.temporary);
        if (!path.ok() || path->at != place.at)
          return wrong("'" + file.temporary + "', which is no block of it");
        continue;
      }
      if (!IsSafeRelativePath(file.path) || DirName(file.temporary) != folder)
        return wrong("the file '" + file.temporary + "', which is none of this run");
    }
  }
  return Status::OK();
}

void Committer::Discard(const TaskEnd& end) const {
  for (const auto& output : end.outputs) {
    if (IsOnNode(output)) continue;  // it goes with its worker
    for (const auto& file : output.files) (void)DiscardStaged(env_, file.temporary);
  }
}

Result<MadeRows> Committer::Commit(TaskEnd end, Observer* counted_by) const {
  const auto& stage = plan_->stages[static_cast<size_t>(end.stage)];
  TaskCommit commit;
  commit.stage = end.stage;
  commit.partition = end.partition;
  commit.steps = std::move(end.steps);
  std::vector<RunDirectory::Pending> pending;
  for (auto& output : end.outputs) {
    CommittedOutput committed;
    committed.output = output.output;
    committed.rows = output.rows;
    committed.bytes = output.bytes;
    std::string prefix;
    if (output.output >= kQuarantineOutput) {
      committed.dataset = datasets_.quarantine;
      prefix = QuarantinePrefix(StepOf(end.stage, output.output - kQuarantineOutput - 1));
    } else {
      const auto& plan_output = stage.outputs[static_cast<size_t>(output.output)];
      if (plan_output.kind == PlanOutput::Kind::kExchange) {
        const std::string folder = directory_->ExchangeDir(plan_output.target);
        if (IsOnNode(output)) output.files.clear();
        for (const auto& file : output.files) {
          ARROW_RETURN_NOT_OK(env_->Rename(file.temporary, JoinPath(folder, file.path)));
        }
      } else {
        committed.dataset = datasets_.dataset_of_sink[static_cast<size_t>(plan_output.target)];
      }
    }
    for (const auto& file : output.files) {
      committed.files.push_back({prefix + file.path, file.rows, file.size_bytes});
      if (committed.dataset >= 0) {
        pending.push_back({static_cast<size_t>(committed.dataset), file.temporary, prefix + file.path});
      }
    }
    commit.outputs.push_back(std::move(committed));
  }
  auto made = MadeBy(*plan_, commit);
  const TaskCommit kept = counted_by != nullptr ? commit : TaskCommit{};
  ARROW_RETURN_NOT_OK(directory_->Commit(pending, std::move(commit)));
  if (counted_by != nullptr) CountCommitted(*plan_, kept, counted_by);
  return made;
}

// Tasks that ran ahead of a limit and turned out not to be needed: whether they ran depends on timing, so
// what they quarantined does not count. The partition in which the limit is reached counts whole.
std::set<CommitLog::Key> Committer::BeyondLimits() const {
  const auto& plan = *plan_;
  const auto* log = directory_->log();
  std::set<CommitLog::Key> beyond;
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const auto& outputs = plan.stages[s].outputs;
    const bool limited =
        !outputs.empty() && std::all_of(outputs.begin(), outputs.end(), [&](const PlanOutput& output) {
          return output.kind == PlanOutput::Kind::kExchange &&
                 plan.exchanges[static_cast<size_t>(output.target)].has_prefix_limit();
        });
    if (!limited) continue;
    for (const auto& commit : log->OfStage(static_cast<int>(s))) {
      if (commit.partition < kRetryPartitions) beyond.insert({commit.stage, commit.partition});
    }
  }
  for (size_t x = 0; x < plan.exchanges.size() && !beyond.empty(); ++x) {
    int64_t left = plan.exchanges[x].limit;
    for (const auto& writer : WritersOf(plan, static_cast<int>(x))) {
      for (const auto& commit : log->OfStage(writer.stage)) {
        if (left <= 0 || commit.partition >= kRetryPartitions) break;
        beyond.erase({commit.stage, commit.partition});
        left -= MadeBy(plan, commit).rows[static_cast<size_t>(writer.output)];
      }
    }
  }
  return beyond;
}

std::vector<Manifest> Committer::Manifests(const std::string& plan_hash,
                                           const std::string& snapshot_hash) const {
  std::vector<Manifest> manifests;
  for (const auto& dataset : datasets_.datasets) {
    Manifest manifest;
    manifest.format = dataset.format;
    manifest.schema = dataset.schema;
    manifest.plan_hash = plan_hash;
    manifest.snapshot_hash = snapshot_hash;
    manifests.push_back(std::move(manifest));
  }
  const auto beyond = BeyondLimits();
  for (const auto& [key, commit] : directory_->log()->commits()) {
    for (const auto& output : commit.outputs) {
      if (output.dataset < 0) continue;
      if (output.output >= kQuarantineOutput && beyond.contains(key)) {
        const auto& folder = datasets_.datasets[static_cast<size_t>(output.dataset)].path;
        auto store = OpenStore(env_, folder);
        for (const auto& file : output.files) {
          if (store.ok()) (void)(*store)->RemoveFile(JoinPath(folder, file.path));
        }
        continue;
      }
      auto& manifest = manifests[static_cast<size_t>(output.dataset)];
      // A retry's rows come after those of all inputs.
      const bool retry = key.second >= kRetryPartitions;
      const bool quarantine = output.output >= kQuarantineOutput;
      const int input = retry        ? 0
                        : quarantine ? key.first
                                     : plan_->stages[static_cast<size_t>(key.first)]
                                           .outputs[static_cast<size_t>(output.output)]
                                           .input_index;
      manifest.num_rows += output.rows;
      if (output.files.empty()) continue;
      const int64_t partition = DatasetPartition(input, key.second);
      if (!manifest.partitions.empty() && manifest.partitions.back().partition == partition) {
        auto& files = manifest.partitions.back().files;
        files.insert(files.end(), output.files.begin(), output.files.end());
      } else {
        manifest.partitions.push_back({partition, output.files});
      }
    }
  }
  for (auto& manifest : manifests) {
    std::sort(manifest.partitions.begin(), manifest.partitions.end(),
              [](const auto& a, const auto& b) { return a.partition < b.partition; });
  }
  return manifests;
}

}  // namespace partita
