#include "partita/engine/task_factory.h"

#include <arrow/type.h>

#include <algorithm>

#include "partita/operator/file_sink.h"

namespace partita {

Result<std::unique_ptr<TaskFactory>> TaskFactory::Make(RunContext context) {
  auto factory = std::unique_ptr<TaskFactory>(new TaskFactory(std::move(context)));
  auto& c = factory->context_;
  factory->attempt_ = c.env->RandomHex(4);
  factory->exchanges_ =
      std::make_unique<ExchangeStore>(c.plan, c.env, c.directory, c.budget, c.threads, c.places);
  factory->exchanges_->SetNodeFolder(c.node_folder);
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
                            NumberedPartitions(*c.plan, static_cast<int>(s), *c.snapshot));
      factory->scan_partitions_[s] = static_cast<int64_t>(factory->partitions_[s].size());
    }
  }
  factory->exchanges_->SetScanPartitions(factory->scan_partitions_);
  return factory;
}

Result<TaskInit> TaskFactory::MakeTask(TaskId task, bool frugal, bool on_storage) {
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
    ARROW_ASSIGN_OR_RAISE(scan.may_encode, exchanges_->EncodableColumns(stage));
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
  init.make_sink = [this, task, on_storage](int output) { return MakeSink(task, output, on_storage); };
  init.make_quarantine =
      [this, task](int node, std::shared_ptr<arrow::Schema> schema) -> Result<std::unique_ptr<Sink>> {
    const auto& step = committer_.StepOf(task.stage, node);
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
    const auto dataset = static_cast<size_t>(committer_.datasets().quarantine);
    init.location = JoinPath(context_.plan->quarantine, Committer::QuarantinePrefix(step));
    init.partition = DatasetPartition(task.stage, task.partition);
    init.attempt = NextAttempt();
    init.temporary_dir = context_.directory->TemporaryDir(dataset);
    init.spill_dir = context_.directory->SpillDir();
    init.env = context_.env;
    return MakeFileSink(std::move(init));
  };
  return init;
}

Result<std::unique_ptr<Sink>> TaskFactory::MakeSink(TaskId task, int output_index, bool on_storage) {
  const auto& output =
      context_.plan->stages[static_cast<size_t>(task.stage)].outputs[static_cast<size_t>(output_index)];
  if (output.kind == PlanOutput::Kind::kExchange)
    return exchanges_->MakeSink(task.stage, output, task.partition, NextAttempt(), on_storage);
  const auto& sink = context_.plan->sinks[static_cast<size_t>(output.target)];
  if (sink.op == "collect" && context_.delivery) return context_.delivery->MakeSink(task, output_index);
  if (sink.op == "collect") {
    auto it = context_.collectors.find(output.target);
    if (it == context_.collectors.end())
      return UserError("the plan hands rows to a caller; there is none here", "add a write step");
    return it->second->MakeSink(output.input_index, task.partition);
  }
  const auto dataset =
      static_cast<size_t>(committer_.datasets().dataset_of_sink[static_cast<size_t>(output.target)]);
  FileSinkInit init;
  init.sink = &sink;
  init.location = committer_.datasets().datasets[dataset].path;
  init.partition = DatasetPartition(output.input_index, task.partition);
  init.attempt = NextAttempt();
  init.temporary_dir = context_.directory->TemporaryDir(dataset);
  init.spill_dir = context_.directory->SpillDir();
  init.env = context_.env;
  return MakeFileSink(std::move(init));
}

Result<MadeRows> TaskFactory::Commit(TaskEnd end) {
  const int stage = end.stage;
  const int64_t partition = end.partition;
  ARROW_ASSIGN_OR_RAISE(auto made, committer_.Commit(std::move(end)));
  exchanges_->OnCommit(stage, partition);
  for (const auto& output : context_.plan->stages[static_cast<size_t>(stage)].outputs) {
    if (output.kind != PlanOutput::Kind::kSink) continue;
    auto it = context_.collectors.find(output.target);
    if (it != context_.collectors.end()) it->second->TaskDone(output.input_index, partition);
  }
  return made;
}

}  // namespace partita
