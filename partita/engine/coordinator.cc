#include "partita/engine/coordinator.h"

#include <utility>

#include "partita/base/units.h"
#include "partita/engine/task_runner.h"
#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

// A task whose input is lost so often fails: something is wrong that doing work again does not mend.
constexpr int kMostLosses = 12;

}  // namespace

Result<std::unique_ptr<Coordinator>> Coordinator::Make(Env* env, const Plan* plan, const Snapshot* snapshot,
                                                       RunDirectory* directory, Observer* observer,
                                                       int max_attempts) {
  auto coordinator = std::unique_ptr<Coordinator>(new Coordinator(env, plan, directory, observer));
  std::vector<int64_t> scan_partitions(plan->stages.size(), -1);
  for (size_t s = 0; s < plan->stages.size(); ++s) {
    if (plan->stages[s].source.kind != PlanSource::Kind::kScan) continue;
    ARROW_ASSIGN_OR_RAISE(const auto partitions, NumberedPartitions(*plan, static_cast<int>(s), *snapshot));
    scan_partitions[s] = static_cast<int64_t>(partitions.size());
  }
  ExchangeStore exchanges(plan, env, directory, Budget::Make(kMiB), 1);
  exchanges.SetScanPartitions(scan_partitions);
  ARROW_RETURN_NOT_OK(exchanges.DropLost());
  coordinator->scheduler_ = std::make_unique<Scheduler>(MakeStageGraph(*plan, scan_partitions),
                                                        SchedulerOptions{.max_attempts = max_attempts});
  AddSteps(*plan, observer);
  coordinator->Restore();
  return coordinator;
}

void Coordinator::Restore() {
  for (const auto& [key, commit] : directory_->log()->commits()) {
    if (key.second >= kRetryPartitions) continue;
    const auto made = MadeBy(*plan_, commit);
    scheduler_->Restore({key.first, key.second}, made.rows, made.bytes);
    CountCommitted(*plan_, commit, observer_);
  }
  observer_->tasks_resumed.store(scheduler_->tasks_done());
}

std::vector<Instruction> Coordinator::Start(int capacity) {
  (void)scheduler_->Step({.kind = SchedulerEvent::Kind::kCapacity, .max_running = capacity}, NowMs());
  return Note(scheduler_->Start(NowMs()));
}

std::vector<Instruction> Coordinator::OnReport(TaskReport report) {
  report.counted.AddTo(observer_);
  if (report.end.status.ok() && report.end.stage >= 0 &&
      report.end.stage < static_cast<int>(plan_->stages.size()))
    shown_.Ended(report.end);
  if (report.end.status.ok() && !report.carried.empty())
    report.end.status = committer_.PutDown(report.carried, &report.end);
  const TaskId task{report.end.stage, report.end.partition};
  if (!live_.contains(task)) {
    if (committer_.Check(report.end, report.place).ok()) committer_.Discard(report.end);
    return {};
  }
  SchedulerEvent event{.kind = SchedulerEvent::Kind::kTaskFailed, .task = task, .status = report.end.status};
  if (event.status.ok()) event.status = committer_.Check(report.end, report.place);
  if (event.status.ok() && unneeded_.contains(task)) {
    committer_.Discard(report.end);
    event.status = Status::Cancelled("not needed any more");
  }
  if (event.status.ok()) {
    auto made = Commit(std::move(report));
    event.status = made.status();
    if (made.ok()) {
      event.kind = SchedulerEvent::Kind::kTaskCommitted;
      event.rows = std::move(made->rows);
      event.bytes = std::move(made->bytes);
    }
  }
  live_.erase(task);
  unneeded_.erase(task);
  if (!LostItsInput(task, event.status)) return Step(event);
  // First what is lost: until it is there again the task must not start.
  auto instructions = Step({.kind = SchedulerEvent::Kind::kOutputsLost, .tasks = blocks_.lost()});
  for (auto& more : Step({.kind = SchedulerEvent::Kind::kTaskPreempted, .task = task}))
    instructions.push_back(std::move(more));
  return instructions;
}

Result<MadeRows> Coordinator::Commit(TaskReport report) {
  const TaskId task{report.end.stage, report.end.partition};
  std::vector<NodeLedger::Block> blocks;
  for (const auto& output : report.end.outputs) {
    for (const auto& file : output.files) {
      if (!NodePath::Is(file.temporary)) continue;
      ARROW_ASSIGN_OR_RAISE(auto path, NodePath::Parse(file.temporary));
      blocks.push_back({output.output, std::move(path.name)});
    }
  }
  Observer* counted_by = redone_.contains(task) ? nullptr : observer_;
  ARROW_ASSIGN_OR_RAISE(auto made, committer_.Commit(std::move(report.end), counted_by));
  redone_.erase(task);
  if (!blocks.empty()) blocks_.Commit(task, report.place, std::move(blocks));
  return made;
}

// A reader says by the file of its error which worker's blocks it did not find. Whoever reads an older
// description than the last may miss what is long made again.
bool Coordinator::LostItsInput(TaskId task, const Status& status) {
  const auto* detail = DetailOf(status);
  if (detail == nullptr || !detail->retriable || !NodePath::Is(detail->context.file)) return false;
  const auto path = NodePath::Parse(detail->context.file);
  if (!path.ok() || ++losses_[task] > kMostLosses) return false;
  if (!blocks_.Holds(*path)) return true;
  const int64_t count = blocks_.Lose(path->at);
  observer_->Emit({EventKind::kNotice, env_->NowUnixMicros(), task.stage, task.partition, "",
                   MessageOf(status) + "; of " + std::to_string(count) +
                       " tasks; those that are still needed are done again"});
  return true;
}

void Coordinator::TakeBack(TaskId task) {
  directory_->log()->Drop({task.stage, task.partition});
  blocks_.Forget(task);
  redone_.insert(task);
  for (const auto& output : plan_->stages[static_cast<size_t>(task.stage)].outputs)
    ++editions_[static_cast<size_t>(output.target)];
}

std::vector<Instruction> Coordinator::OnRecalled(TaskId task) {
  if (live_.erase(task) == 0) return {};
  unneeded_.erase(task);
  return Step({.kind = SchedulerEvent::Kind::kTaskPreempted, .task = task});
}

std::vector<Instruction> Coordinator::OnLost(TaskId task, const Status& status) {
  if (live_.erase(task) == 0) return {};
  unneeded_.erase(task);
  return Step({.kind = SchedulerEvent::Kind::kTaskFailed, .task = task, .status = status});
}

std::vector<Instruction> Coordinator::OnCapacity(int capacity) {
  return Step({.kind = SchedulerEvent::Kind::kCapacity, .max_running = capacity});
}

std::vector<Instruction> Coordinator::OnTick() {
  if (scheduler_->next_tick_ms() > NowMs()) return {};
  return Step({});
}

std::vector<Instruction> Coordinator::Cancel() { return Step({.kind = SchedulerEvent::Kind::kCancel}); }

Result<std::string> Coordinator::Describe(int exchange) const {
  if (!scheduler_->IsComplete(exchange))
    return BugError("exchange " + std::to_string(exchange) + " is asked for before it is complete");
  return DescribeExchange(*plan_, *directory_->log(), exchange, &blocks_, EditionOf(exchange));
}

std::vector<Instruction> Coordinator::Step(const SchedulerEvent& event) {
  return Note(scheduler_->Step(event, NowMs()));
}

std::vector<Instruction> Coordinator::Note(std::vector<Instruction> instructions) {
  for (const auto& instruction : instructions) {
    if (instruction.kind == Instruction::Kind::kStartTask) {
      live_.insert(instruction.task);
    } else if (instruction.kind == Instruction::Kind::kCancelTask) {
      if (live_.contains(instruction.task)) unneeded_.insert(instruction.task);
    } else if (instruction.kind == Instruction::Kind::kRedoTask) {
      TakeBack(instruction.task);
    } else if (instruction.kind == Instruction::Kind::kRetryLater) {
      observer_->Emit({EventKind::kTaskRetried, env_->NowUnixMicros(), instruction.task.stage,
                       instruction.task.partition, "", RenderError(instruction.status)});
    }
  }
  observer_->tasks_total.store(scheduler_->tasks_total());
  observer_->tasks_done.store(scheduler_->tasks_done());
  observer_->tasks_running.store(static_cast<int64_t>(live_.size()));
  return instructions;
}

}  // namespace partita
