#include "partita/execute/worker_pool.h"

#include <algorithm>
#include <chrono>

#include "partita/base/units.h"

namespace partita {

WorkerPool::WorkerPool(WorkerPoolOptions options) : options_(std::move(options)) {
  options_.budget->SetReleaseListener([this] {
    epoch_.fetch_add(1, std::memory_order_acq_rel);
    wake_.notify_all();  // without the mutex: a sleeper that misses it looks again within its time-out
  });
  last_progress_ns_ = options_.env->MonotonicNanos();
  for (int i = 0; i < options_.threads; ++i) threads_.emplace_back([this] { Work(); });
  monitor_ = std::thread([this] { Monitor(); });
}

WorkerPool::~WorkerPool() {
  {
    std::unique_lock lock(mutex_);
    for (auto& task : tasks_) task->Stop(Status::Cancelled("the run was cancelled"), false, false);
    wake_.notify_all();
    while (!tasks_.empty()) wake_.wait_for(lock, std::chrono::milliseconds(20));
    stop_ = true;
  }
  wake_.notify_all();
  monitor_wake_.notify_all();
  for (auto& thread : threads_) thread.join();
  monitor_.join();
  options_.budget->SetReleaseListener(nullptr);
  if (waiter_) options_.budget->RemoveWaiter();
}

void WorkerPool::Submit(TaskInit init, int64_t age) {
  auto task = std::make_shared<TaskRun>(std::move(init), this, age);
  std::lock_guard lock(mutex_);
  auto at = std::find_if(tasks_.begin(), tasks_.end(), [&](const auto& t) { return t->age() > age; });
  tasks_.insert(at, std::move(task));
  if (sleeping_ > 0) wake_.notify_one();
}

void WorkerPool::Cancel(int stage, int64_t partition, const Status& status) {
  std::lock_guard lock(mutex_);
  for (auto& task : tasks_) {
    if (task->stage() == stage && task->partition() == partition) task->Stop(status, false, false);
  }
  wake_.notify_all();
}

void WorkerPool::CancelAll(const Status& status) {
  std::lock_guard lock(mutex_);
  for (auto& task : tasks_) task->Stop(status, false, false);
  wake_.notify_all();
}

int64_t WorkerPool::running() const {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(tasks_.size());
}

void WorkerPool::Wake() {
  std::lock_guard lock(mutex_);
  refusals_ = 0;
  if (sleeping_ > 0) wake_.notify_all();
}

void WorkerPool::Notify() {
  std::lock_guard lock(mutex_);
  if (sleeping_ > 0) wake_.notify_all();
}

void WorkerPool::NoteProgress() {
  ++successes_;
  refusals_ = 0;
}

void WorkerPool::NoteRefusal() {
  ++refusals_;
  if (waiter_) return;
  waiter_ = true;
  options_.budget->AddWaiter();
}

bool WorkerPool::TakeAction(std::shared_ptr<TaskRun>* task, Action* action) {
  const int64_t epoch = epoch_.load(std::memory_order_acquire);
  for (size_t i = 0; i < tasks_.size(); ++i) {
    *action = tasks_[i]->Claim(i == 0, epoch);
    if (action->kind != Action::Kind::kNone) {
      *task = tasks_[i];
      return true;
    }
  }
  return false;
}

void WorkerPool::Work() {
  std::unique_lock lock(mutex_);
  std::shared_ptr<TaskRun> task;
  Action action;
  while (true) {
    if (!TakeAction(&task, &action)) {
      if (stop_) return;
      Escalate(&lock);
      if (TakeAction(&task, &action)) goto work;
      const auto [reason, counters] = tasks_.empty()
                                          ? std::pair<WaitReason, StepCounters*>{WaitReason::kNone, nullptr}
                                          : tasks_[0]->WhyWaiting();
      options_.observer->current_wait.store(static_cast<int>(reason), std::memory_order_relaxed);
      const int64_t start = options_.env->MonotonicNanos();
      ++sleeping_;
      if (wake_.wait_for(lock, std::chrono::milliseconds(100)) == std::cv_status::timeout) refusals_ = 0;
      --sleeping_;
      if (counters != nullptr) {
        counters->wait_ns[static_cast<size_t>(reason)].fetch_add(options_.env->MonotonicNanos() - start,
                                                                 std::memory_order_relaxed);
      }
      continue;
    }
  work:
    // One action may make several possible: another sleeper looks for them.
    if (sleeping_ > 0) wake_.notify_one();
    lock.unlock();
    options_.observer->current_wait.store(0, std::memory_order_relaxed);
    task->Execute(&action);
    progress_.fetch_add(1, std::memory_order_relaxed);
    lock.lock();
    // What an asynchronous call comes to is known when it is answered.
    if (action.result.ok() && !action.started_async) NoteProgress();
    task->Complete(&action);
    if (task->ended()) {
      tasks_.erase(std::find(tasks_.begin(), tasks_.end(), task));
      epoch_.fetch_add(1, std::memory_order_acq_rel);
      if (tasks_.empty() && waiter_) {
        waiter_ = false;
        options_.budget->RemoveWaiter();
      }
      wake_.notify_all();
    }
    action = Action();
    task.reset();
  }
}

bool WorkerPool::IsStuck() const {
  if (tasks_.empty() || !tasks_[0]->blocked_on_memory()) return false;
  // What is under way will free memory.
  return std::all_of(tasks_.begin(), tasks_.end(),
                     [](const auto& task) { return task->idle() && !task->stopping(); });
}

// Nobody can do anything. If the reason is memory, somebody gives back.
void WorkerPool::Escalate(std::unique_lock<std::mutex>* lock) {
  if (giving_ || !IsStuck()) return;
  refusals_ = 0;
  if (cache_dropped_at_ != successes_) {
    // The first means is to try once more: bytes may have been freed between the refusal and now.
    cache_dropped_at_ = successes_;
    options_.budget->DropCache();
    epoch_.fetch_add(1, std::memory_order_acq_rel);
    return;
  }
  if (GiveBack(lock) || !IsStuck()) return;
  if (tasks_.size() > 1) {
    tasks_.back()->Stop(Status::OK(), /*preempted=*/true, /*frugal_next=*/false);
  } else if (!tasks_[0]->frugal()) {
    tasks_[0]->Stop(Status::OK(), /*preempted=*/true, /*frugal_next=*/true);
  } else {
    Status refusal = tasks_[0]->refusal();
    ErrorContext where;
    where.hint = "give the run more with --memory; `partita explain` tells the least a plan needs";
    tasks_[0]->Stop(WithContext(std::move(refusal), std::move(where)), false, false);
  }
  epoch_.fetch_add(1, std::memory_order_acq_rel);
}

// What is held outside of tasks goes before a task does: a quarter of the budget, so that it is not asked
// again at once. True: look again.
bool WorkerPool::GiveBack(std::unique_lock<std::mutex>* lock) {
  if (!options_.give_back) return false;
  giving_ = true;
  lock->unlock();
  const auto freed = options_.give_back(options_.budget->limit_bytes() / 4);
  lock->lock();
  giving_ = false;
  if (freed.ok() && *freed == 0) return false;
  if (!freed.ok() && !freed.status().IsOutOfMemory()) {
    for (auto& task : tasks_) task->Stop(freed.status(), false, false);
  }
  epoch_.fetch_add(1, std::memory_order_acq_rel);
  wake_.notify_all();
  return freed.ok() || !freed.status().IsOutOfMemory();
}

void WorkerPool::CheckStall(int64_t now_ns) {
  const int64_t progress = progress_.load(std::memory_order_relaxed);
  if (progress != last_progress_ || tasks_.empty()) {
    last_progress_ = progress;
    last_progress_ns_ = now_ns;
    last_stall_ns_ = 0;
    return;
  }
  const double seconds = static_cast<double>(now_ns - std::max(last_progress_ns_, last_stall_ns_)) * 1e-9;
  if (seconds < options_.stall_seconds) return;
  last_stall_ns_ = now_ns;
  Event event{
      EventKind::kStall, options_.env->NowUnixMicros(), tasks_[0]->stage(), tasks_[0]->partition(), "", ""};
  event.message = "no progress for " + FormatSeconds(static_cast<double>(now_ns - last_progress_ns_) * 1e-9) +
                  ": " + tasks_[0]->Describe();
  options_.observer->Emit(std::move(event));
}

void WorkerPool::Monitor() {
  std::unique_lock lock(mutex_);
  while (!stop_) {
    monitor_wake_.wait_for(lock, std::chrono::milliseconds(200));
    if (stop_) return;
    auto* observer = options_.observer;
    observer->memory_used.store(options_.budget->used_bytes(), std::memory_order_relaxed);
    observer->memory_peak.store(options_.budget->peak_bytes(), std::memory_order_relaxed);
    CheckStall(options_.env->MonotonicNanos());
    lock.unlock();
    if (auto memory = options_.env->Memory(); memory.ok()) {
      const int64_t unaccounted =
          memory->anonymous_bytes - options_.budget->used_bytes() - options_.budget->held_by_caller_bytes();
      if (unaccounted > observer->unaccounted_peak.load(std::memory_order_relaxed)) {
        observer->unaccounted_peak.store(unaccounted, std::memory_order_relaxed);
      }
    }
    lock.lock();
  }
}

}  // namespace partita
