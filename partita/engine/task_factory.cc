#include "partita/engine/task_factory.h"

#include <arrow/type.h>

#include <algorithm>

#include "partita/operator/file_sink.h"

namespace partita {

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

Result<std::unique_ptr<TaskFactory>> TaskFactory::Make(RunContext context) {
  auto factory = std::unique_ptr<TaskFactory>(new TaskFactory());
  factory->context_ = std::move(context);
  auto& c = factory->context_;
  factory->datasets_ = DatasetsOf(*c.plan);
  factory->attempt_ = c.env->RandomHex(4);
  factory->exchanges_ = std::make_unique<ExchangeStore>(c.plan, c.env, c.directory, c.budget, c.threads);
  for (size_t s = 0; s < c.plan->stages.size(); ++s) {
    StageProgram::Init init;
    init.plan = c.plan;
    init.stage = static_cast<int>(s);
    init.env = c.env;
    init.pool = c.budget->root();
    init.observer = c.observer;
    init.threads = c.threads;
    init.table_of =
        [store = factory->exchanges_.get()](const PlanNode& node) -> Result<std::shared_ptr<JoinTable>> {
      return store->TableOf(node);
    };
    ARROW_ASSIGN_OR_RAISE(auto program, StageProgram::Make(init));
    factory->programs_.push_back(std::move(program));
    factory->partitions_.emplace_back();
    factory->scan_partitions_.push_back(-1);
    if (c.windows != nullptr) {
      for (const auto& window : *c.windows)
        factory->partitions_[s].push_back(
            PartitionOf(window, static_cast<int64_t>(factory->partitions_[s].size())));
      factory->scan_partitions_[s] = static_cast<int64_t>(c.windows->size());
    } else if (c.plan->stages[s].source.kind == PlanSource::Kind::kScan) {
      ARROW_ASSIGN_OR_RAISE(factory->partitions_[s],
                            ScanPartitions(*c.plan, static_cast<int>(s), *c.snapshot));
      factory->scan_partitions_[s] = static_cast<int64_t>(factory->partitions_[s].size());
      for (const auto& output : c.plan->stages[s].outputs) {
        if (output.input_index > 0 && factory->scan_partitions_[s] > kPartitionsPerInput) {
          return UserError(
              "an input of a union has more than " + std::to_string(kPartitionsPerInput) + " partitions",
              "raise partition_bytes or rows_per_partition of the source");
        }
      }
    }
  }
  factory->exchanges_->SetScanPartitions(factory->scan_partitions_);
  return factory;
}

Result<TaskInit> TaskFactory::MakeTask(TaskId task, bool frugal) {
  const auto& stage = context_.plan->stages[static_cast<size_t>(task.stage)];
  TaskInit init;
  init.program = programs_[static_cast<size_t>(task.stage)];
  init.partition = task.partition;
  init.frugal = frugal;
  if (stage.source.kind == PlanSource::Kind::kScan) {
    const auto& partitions = partitions_[static_cast<size_t>(task.stage)];
    if (task.partition < 0 || task.partition >= static_cast<int64_t>(partitions.size())) {
      return UserError("stage " + std::to_string(task.stage) + " has " + std::to_string(partitions.size()) +
                       " partitions; there is no " + std::to_string(task.partition));
    }
    init.scan = partitions[static_cast<size_t>(task.partition)];
    ScanInit scan;
    scan.source = &stage.source;
    scan.snapshot = context_.snapshot->Find(stage.source.step);
    if (scan.snapshot == nullptr) return BugError("the snapshot has no source '" + stage.source.step + "'");
    scan.partition = init.scan;
    if (stage.source.format == "memory") {
      auto it = context_.tables.find(stage.source.args.value("id", std::string()));
      if (it != context_.tables.end()) scan.table = it->second;
    }
    if (context_.windows != nullptr) {
      WindowScanInit window{scan.source, scan.snapshot, std::move(scan.table),
                            &(*context_.windows)[static_cast<size_t>(task.partition)]};
      init.make_source = [window = std::move(window)] { return MakeWindowScan(window); };
    } else {
      init.make_source = [scan = std::move(scan)]() mutable { return MakeScan(std::move(scan)); };
    }
  } else {
    init.make_source = [this, source = &stage.source, partition = task.partition] {
      return exchanges_->MakeSource(*source, partition, NextAttempt());
    };
  }
  init.make_sink = [this, task](int output) { return MakeSink(task, output); };
  init.make_quarantine =
      [this, task](int node, std::shared_ptr<arrow::Schema> schema) -> Result<std::unique_ptr<Sink>> {
    const auto& step = StepOf(task.stage, node);
    auto sink = std::make_unique<PlanSink>();
    sink->step = step;
    sink->op = "write_parquet";
    sink->format = "parquet";
    sink->schema = std::move(schema);
    FileSinkInit init;
    init.sink = sink.get();
    {
      std::lock_guard lock(mutex_);
      quarantine_sinks_.push_back(std::move(sink));
    }
    const auto dataset = static_cast<size_t>(datasets_.quarantine);
    init.partition = DatasetPartition(task.stage, task.partition);
    init.attempt = NextAttempt();
    init.temporary_dir = context_.directory->TemporaryDir(dataset);
    init.spill_dir = context_.directory->SpillDir();
    init.env = context_.env;
    return MakeFileSink(std::move(init));
  };
  return init;
}

const std::string& TaskFactory::StepOf(int stage, int node) const {
  const auto& plan_stage = context_.plan->stages[static_cast<size_t>(stage)];
  return node < 0 ? plan_stage.source.step : plan_stage.nodes[static_cast<size_t>(node)].step;
}

Result<std::unique_ptr<Sink>> TaskFactory::MakeSink(TaskId task, int output_index) {
  const auto& output =
      context_.plan->stages[static_cast<size_t>(task.stage)].outputs[static_cast<size_t>(output_index)];
  if (output.kind == PlanOutput::Kind::kExchange)
    return exchanges_->MakeSink(output, task.partition, NextAttempt());
  const auto& sink = context_.plan->sinks[static_cast<size_t>(output.target)];
  if (sink.op == "collect") {
    auto it = context_.collectors.find(output.target);
    if (it == context_.collectors.end())
      return UserError("the plan hands rows to a caller; there is none here", "add a write step");
    return it->second->MakeSink(output.input_index, task.partition);
  }
  const auto dataset = static_cast<size_t>(datasets_.dataset_of_sink[static_cast<size_t>(output.target)]);
  FileSinkInit init;
  init.sink = &sink;
  init.partition = DatasetPartition(output.input_index, task.partition);
  init.attempt = NextAttempt();
  init.temporary_dir = context_.directory->TemporaryDir(dataset);
  init.spill_dir = context_.directory->SpillDir();
  init.env = context_.env;
  return MakeFileSink(std::move(init));
}

Result<MadeRows> TaskFactory::Commit(TaskEnd end) {
  const auto& stage = context_.plan->stages[static_cast<size_t>(end.stage)];
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
      prefix = "__step=" + StepOf(end.stage, output.output - kQuarantineOutput - 1) + "/";
    } else {
      const auto& plan_output = stage.outputs[static_cast<size_t>(output.output)];
      if (plan_output.kind == PlanOutput::Kind::kExchange) {
        const std::string folder = exchanges_->Folder(plan_output.target);
        for (const auto& file : output.files) {
          ARROW_RETURN_NOT_OK(context_.env->Rename(file.temporary, JoinPath(folder, file.path)));
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
  auto made = MadeBy(commit);
  ARROW_RETURN_NOT_OK(context_.directory->Commit(pending, std::move(commit)));
  for (const auto& output : stage.outputs) {
    if (output.kind != PlanOutput::Kind::kSink) continue;
    auto it = context_.collectors.find(output.target);
    if (it != context_.collectors.end()) it->second->TaskDone(output.input_index, end.partition);
  }
  return made;
}

// Tasks that ran ahead of a limit and turned out not to be needed: whether they ran depends on timing, so
// what they quarantined does not count. The partition in which the limit is reached counts whole.
std::set<CommitLog::Key> TaskFactory::BeyondLimits() const {
  const auto& plan = *context_.plan;
  const auto* log = context_.directory->log();
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
        left -= MadeBy(commit).rows[static_cast<size_t>(writer.output)];
      }
    }
  }
  return beyond;
}

std::vector<Manifest> TaskFactory::Manifests(const std::string& plan_hash,
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
  for (const auto& [key, commit] : context_.directory->log()->commits()) {
    for (const auto& output : commit.outputs) {
      if (output.dataset < 0) continue;
      if (output.output >= kQuarantineOutput && beyond.contains(key)) {
        for (const auto& file : output.files)
          (void)context_.env->RemoveFile(
              JoinPath(datasets_.datasets[static_cast<size_t>(output.dataset)].path, file.path));
        continue;
      }
      auto& manifest = manifests[static_cast<size_t>(output.dataset)];
      // A retry's rows come after those of all inputs.
      const bool retry = key.second >= kRetryPartitions;
      const bool quarantine = output.output >= kQuarantineOutput;
      const int input = retry        ? 0
                        : quarantine ? key.first
                                     : context_.plan->stages[static_cast<size_t>(key.first)]
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
