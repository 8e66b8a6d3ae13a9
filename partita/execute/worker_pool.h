// Threads that work on tasks. Each picks the most useful action of the oldest task that has one: sinks first,
// then steps, then reading. It also gives memory where it must: waiting tasks are woken when bytes are freed;
// when nothing can go on, the youngest task gives its memory back and starts again later; when the oldest is
// alone and still refused, it starts again frugally, and then fails with the law-2 error.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "partita/execute/task_run.h"

namespace partita {

struct WorkerPoolOptions {
  int threads = 1;
  Env* env = nullptr;
  Budget* budget = nullptr;      // outlives the pool
  Observer* observer = nullptr;  // outlives the pool
  int64_t target_block_bytes = 4 << 20;
  double stall_seconds = 5;  // no progress for so long is told as a kStall event
  // Asks who holds bytes outside of tasks to give back about so many; says how many came. Called without the
  // lock when no task can go on. May be empty.
  std::function<Result<int64_t>(int64_t bytes)> give_back;
  // Called once for each submitted task, from a worker thread, without the lock. May submit more.
  std::function<void(TaskEnd)> on_end;
};

class WorkerPool {
 public:
  explicit WorkerPool(WorkerPoolOptions options);
  ~WorkerPool();  // stops all tasks (as cancelled) and joins

  // `age`: lower is older; the oldest task is never held back. Unique.
  void Submit(TaskInit init, int64_t age);
  // The task ends with `status`, if it is still running.
  void Cancel(int stage, int64_t partition, const Status& status);
  void CancelAll(const Status& status);
  int64_t running() const;

  // Something outside changed (a sink is ready again, memory came back): look again.
  void Wake();

  // An asynchronous call was answered, with what is not known yet: look again, but do not take it for memory
  // that came back.
  void Notify();

  // For TaskRun.
  const WorkerPoolOptions& options() const { return options_; }
  std::mutex& mutex() { return mutex_; }
  int64_t epoch() const { return epoch_.load(std::memory_order_acquire); }
  void NoteRefusal();   // [locked]
  void NoteProgress();  // [locked] An asynchronous call did its work.
  // [locked] Refused work frees what it had, which looks like memory that came back: tasks would wake each
  // other for ever. After so many refusals without any work done, only escalation goes on.
  bool retries_left() const { return refusals_ < kMostRefusals; }

 private:
  void Work();
  void Monitor();
  bool TakeAction(std::shared_ptr<TaskRun>* task, Action* action);  // [locked]
  void Escalate(std::unique_lock<std::mutex>* lock);                // [locked]
  bool IsStuck() const;                                             // [locked]
  bool GiveBack(std::unique_lock<std::mutex>* lock);                // [locked]
  void CheckStall(int64_t now_ns);                                  // [locked]

  WorkerPoolOptions options_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::vector<std::shared_ptr<TaskRun>> tasks_;  // by age, oldest first
  std::vector<std::thread> threads_;
  std::thread monitor_;
  std::condition_variable monitor_wake_;
  bool stop_ = false;
  int sleeping_ = 0;
  bool waiter_ = false;  // registered with the budget
  bool giving_ = false;  // somebody waits for give_back
  std::atomic<int64_t> epoch_{0};
  std::atomic<int64_t> progress_{0};
  // Actions that were done, not refused. Escalation goes on to the next means while this stands still.
  int64_t successes_ = 0, cache_dropped_at_ = -1;
  static constexpr int kMostRefusals = 32;
  int refusals_ = 0;  // since something was done
  int64_t last_progress_ = -1, last_progress_ns_ = 0, last_stall_ns_ = 0;
};

}  // namespace partita
