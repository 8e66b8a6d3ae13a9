#include "partita/engine/local_engine.h"

#include <algorithm>
#include <chrono>
#include <set>

#include "partita/base/units.h"
#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

// Stages that cannot be asked go partition by partition: their tasks tell why.
StageGraph GraphOf(const Plan& plan, const TaskFactory& factory) {
  StageGraph graph = MakeStageGraph(plan, factory.scan_partitions());
  for (size_t s = 0; s < graph.stages.size(); ++s)
    graph.stages[s].in_stretches = factory.GoesInStretches(static_cast<int>(s)).ValueOr(false);
  return graph;
}

// Carries the scheduler's instructions to the worker pool and the pool's ends back. The scheduler is stepped
// by whichever thread has news, under one lock.
class LocalRun {
 public:
  LocalRun(TaskFactory* factory, const RunContext& context, const LocalEngineOptions& options)
      : factory_(factory),
        context_(context),
        options_(options),
        max_running_(std::min(MostRunningTasks(*context.plan, context.budget->limit_bytes(), context.threads),
                              options.most_tasks)),
        running_limit_(max_running_),
        scheduler_(GraphOf(*context.plan, *factory), {.max_running_tasks = max_running_,
                                                      .max_stretches = context.threads,
                                                      .max_attempts = options.max_attempts}) {}

  Status Run() {
    WorkerPoolOptions pool_options;
    pool_options.threads = context_.threads;
    pool_options.env = context_.env;
    pool_options.budget = context_.budget.get();
    pool_options.observer = context_.observer;
    pool_options.target_block_bytes = TargetBlockBytes(context_.budget->limit_bytes());
    pool_options.give_back = [this](int64_t bytes) { return factory_->GiveBack(bytes); };
    pool_options.on_end = [this](TaskEnd end) { OnEnd(std::move(end)); };
    WorkerPool pool(pool_options);
    pool_ = &pool;
    for (auto& [sink, collector] : context_.collectors) collector->SetWake([&pool] { pool.Wake(); });
    Restore();
    {
      std::unique_lock lock(mutex_);
      Carry(scheduler_.Start(NowMs()), &lock);
      while (!(finished_ && live_ == 0)) {
        changed_.wait_for(lock, std::chrono::milliseconds(50));
        if (!finished_ && scheduler_.next_tick_ms() <= NowMs()) Carry(scheduler_.Step({}, NowMs()), &lock);
        Status asked = options_.cancel.Check();
        if (asked.ok() && options_.poll) {
          lock.unlock();
          asked = options_.poll();
          lock.lock();
        }
        if (!asked.ok() && !finished_) {
          Carry(scheduler_.Step({.kind = SchedulerEvent::Kind::kCancel}, NowMs()), &lock);
          status_ = asked;
        }
      }
    }
    for (auto& [sink, collector] : context_.collectors) collector->SetWake(nullptr);
    return status_;
  }

 private:
  int64_t NowMs() const { return context_.env->MonotonicNanos() / 1000000; }

  void Restore() {
    for (const auto& [key, commit] : context_.directory->log()->commits()) {
      if (key.second >= kRetryPartitions) continue;
      const auto made = factory_->MadeBy(commit);
      scheduler_.Restore({key.first, key.second}, made.rows, made.bytes);
      CountCommitted(*context_.plan, commit, context_.observer);
    }
    context_.observer->tasks_resumed.store(scheduler_.tasks_done());
  }

  void OnEnd(TaskEnd end) {
    const TaskId task{end.stage, end.partition};
    SchedulerEvent event;
    event.task = task;
    const bool frugal = end.frugal_next;
    if (end.preempted) {
      event.kind = SchedulerEvent::Kind::kTaskPreempted;
    } else if (!end.status.ok()) {
      event.kind = SchedulerEvent::Kind::kTaskFailed;
      event.status = end.status;
    } else {
      auto rows = factory_->Commit(std::move(end));
      event.kind = rows.ok() ? SchedulerEvent::Kind::kTaskCommitted : SchedulerEvent::Kind::kTaskFailed;
      event.status = rows.status();
      if (rows.ok()) {
        event.rows = std::move(rows->rows);
        event.bytes = std::move(rows->bytes);
      }
    }
    std::unique_lock lock(mutex_);
    --live_;
    if (frugal) frugal_.insert(task);
    if (event.kind == SchedulerEvent::Kind::kTaskPreempted) {
      AdjustCapacity(-1, &lock);
    } else if (event.kind == SchedulerEvent::Kind::kTaskCommitted) {
      frugal_.erase(task);
      if (running_limit_ < max_running_ && ++commits_since_preemption_ % 8 == 0) AdjustCapacity(+1, &lock);
    }
    Carry(scheduler_.Step(event, NowMs()), &lock);
    if (finished_ && live_ == 0) changed_.notify_all();
  }

  // Fewer tasks at once after one had to give its memory back; slowly more again.
  void AdjustCapacity(int by, std::unique_lock<std::mutex>* lock) {
    running_limit_ = std::clamp(running_limit_ + by, 1, max_running_);
    SchedulerEvent event;
    event.kind = SchedulerEvent::Kind::kCapacity;
    event.max_running = running_limit_;
    Carry(scheduler_.Step(event, NowMs()), lock);
  }

  void Carry(std::vector<Instruction> instructions, std::unique_lock<std::mutex>* lock) {
    for (auto& instruction : instructions) {
      const TaskId task = instruction.task;
      switch (instruction.kind) {
        case Instruction::Kind::kStartTask: {
          auto init = factory_->MakeTask(task, frugal_.contains(task));
          if (!init.ok()) {
            Carry(scheduler_.Step({.kind = SchedulerEvent::Kind::kTaskFailed,
                                   .task = task,
                                   .rows = {},
                                   .status = init.status()},
                                  NowMs()),
                  lock);
            break;
          }
          ++live_;
          pool_->Submit(std::move(*init), AgeOf(*context_.plan, task));
          break;
        }
        case Instruction::Kind::kCancelTask:
          pool_->Cancel(task.stage, task.partition, Status::Cancelled("not needed any more"));
          break;
        case Instruction::Kind::kRetryLater:
          context_.observer->Emit({EventKind::kTaskRetried, context_.env->NowUnixMicros(), task.stage,
                                   task.partition, "", RenderError(instruction.status)});
          break;
        case Instruction::Kind::kRedoTask:  // of blocks on nodes
        case Instruction::Kind::kRecallTask:
          break;
        case Instruction::Kind::kFinishRun:
          finished_ = true;
          changed_.notify_all();
          break;
        case Instruction::Kind::kFailRun:
          finished_ = true;
          status_ = instruction.status;
          changed_.notify_all();
          break;
      }
    }
    context_.observer->tasks_total.store(scheduler_.tasks_total(), std::memory_order_relaxed);
    context_.observer->tasks_done.store(scheduler_.tasks_done(), std::memory_order_relaxed);
    context_.observer->tasks_running.store(live_, std::memory_order_relaxed);
    TellPartitions();
  }

  // Collectors learn how many partitions each input has as soon as it is known.
  void TellPartitions() {
    if (context_.collectors.empty() || told_all_) return;
    told_all_ = true;
    for (size_t s = 0; s < context_.plan->stages.size(); ++s) {
      const int64_t count = scheduler_.partitions_of(static_cast<int>(s));
      if (count < 0) told_all_ = false;
      for (const auto& output : context_.plan->stages[s].outputs) {
        if (output.kind != PlanOutput::Kind::kSink) continue;
        auto it = context_.collectors.find(output.target);
        if (it != context_.collectors.end() && count >= 0)
          it->second->SetPartitions(output.input_index, count);
      }
    }
  }

  TaskFactory* factory_;
  const RunContext& context_;
  const LocalEngineOptions& options_;
  const int max_running_;
  int running_limit_;
  Scheduler scheduler_;
  WorkerPool* pool_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::set<TaskId> frugal_;
  int64_t live_ = 0;
  int64_t commits_since_preemption_ = 0;
  bool finished_ = false, told_all_ = false;
  Status status_;
};

}  // namespace

int MostRunningTasks(const Plan& plan, int64_t budget_bytes, int threads) {
  bool waits = false;
  for (const auto& stage : plan.stages) {
    for (const auto& node : stage.nodes) {
      const auto* factory = FindTransform(node.op);
      waits = waits || (factory != nullptr && factory->make_async);
    }
  }
  const int64_t fit = budget_bytes / std::max<int64_t>(1, LeastBudgetBytes(plan));
  return static_cast<int>(std::clamp<int64_t>(fit, 1, threads + (waits ? 3 : 1)));
}

int64_t TargetBlockBytes(int64_t budget_bytes) {
  return std::clamp<int64_t>(budget_bytes / 64, 64 * kKiB, 4 * kMiB);
}

Status RunLocal(TaskFactory* factory, const RunContext& context, const LocalEngineOptions& options) {
  return LocalRun(factory, context, options).Run();
}

}  // namespace partita
