#include "components/python/local_pool.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <set>
#include <thread>

#include "partita/base/env.h"
#include "partita/base/json.h"

namespace partita {
namespace {

using Kind = WorkerAnswer::Kind;

constexpr auto kTick = std::chrono::milliseconds(50);
constexpr int kPatienceTicks = 20;  // of a thread with a result for which there is no room
constexpr double kNanosPerSecond = 1e9;

std::mutex& HostMutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

LocalHost& Host() {
  static auto* host = new LocalHost();
  return *host;
}

}  // namespace

void SetLocalHost(LocalHost host) {
  const std::lock_guard lock(HostMutex());
  Host() = std::move(host);
}

bool HasLocalHost() {
  const std::lock_guard lock(HostMutex());
  return static_cast<bool>(Host());
}

struct LocalJobs::State {
  explicit State(LocalPoolOptions given)
      : options(std::move(given)),
        segments(std::make_shared<SegmentPool>(options.pool, static_cast<size_t>(3 * options.threads + 2))) {}

  const LocalPoolOptions options;
  const std::shared_ptr<SegmentPool> segments;
  std::mutex mutex;
  std::condition_variable changed;
  // Guarded.
  std::deque<WorkerJob> waiting;
  std::set<LocalTask*> running;
  std::vector<std::thread::id> answering;  // threads that are in a `done`
  bool started = false, closed = false;
  Status broken;
  std::thread watcher;  // answers for batches that nobody waits for

  void Answer(std::unique_lock<std::mutex>* lock, WorkerJob job, WorkerAnswer answer) {
    answering.push_back(std::this_thread::get_id());
    lock->unlock();
    job.input.reset();
    job.done(std::move(answer));
    job = WorkerJob();
    lock->lock();
    answering.erase(std::find(answering.begin(), answering.end(), std::this_thread::get_id()));
    changed.notify_all();
  }

  // Answers once; what comes later for this task is dropped.
  void Answer(std::unique_lock<std::mutex>* lock, LocalTask* task, WorkerAnswer answer) {
    if (running.erase(task) == 0) return;
    WorkerJob job = std::move(task->job_);
    Answer(lock, std::move(job), std::move(answer));
  }

  void AnswerWaiting(std::unique_lock<std::mutex>* lock, const WorkerAnswer& answer) {
    while (!waiting.empty()) {
      WorkerJob job = std::move(waiting.front());
      waiting.pop_front();
      Answer(lock, std::move(job), answer);
    }
  }

  void Watch() {
    std::unique_lock lock(mutex);
    while (!closed) {
      changed.wait_for(lock, kTick);
      for (bool found = true; found;) {
        found = false;
        for (LocalTask* task : running) {
          if (!task->job_.cancel.cancelled()) continue;
          Answer(&lock, task, {.kind = Kind::kCancelled});
          found = true;
          break;  // others may have come and gone meanwhile
        }
      }
      segments->DropIdleIfRefused();
      if (running.empty() && waiting.empty() && segments->has_idle()) segments->DropIdle();
    }
  }
};

LocalJobs::LocalJobs(LocalPoolOptions options) : state_(std::make_unique<State>(std::move(options))) {}
LocalJobs::~LocalJobs() = default;

const LocalPoolOptions& LocalJobs::options() const { return state_->options; }

std::shared_ptr<LocalTask> LocalJobs::Next() {
  State& state = *state_;
  std::unique_lock lock(state.mutex);
  while (true) {
    state.changed.wait(lock, [&] { return state.closed || !state.waiting.empty(); });
    if (state.closed) return nullptr;
    WorkerJob job = std::move(state.waiting.front());
    state.waiting.pop_front();
    if (job.cancel.cancelled()) {
      state.Answer(&lock, std::move(job), {.kind = Kind::kCancelled});
      continue;
    }
    auto task = std::make_shared<LocalTask>(shared_from_this(), std::move(job));
    state.running.insert(task.get());
    return task;
  }
}

bool LocalJobs::closed() const {
  const std::lock_guard lock(state_->mutex);
  return state_->closed;
}

void LocalJobs::Fail(const Status& why) {
  std::unique_lock lock(state_->mutex);
  if (state_->broken.ok()) state_->broken = why;
  state_->AnswerWaiting(&lock, {.kind = Kind::kFatal, .error = why});
}

LocalTask::LocalTask(std::shared_ptr<LocalJobs> of, WorkerJob job)
    : input(job.input),
      input_bytes(job.input_bytes),
      groups(job.groups),
      jobs_(std::move(of)),
      started_ns_(Env::Default()->MonotonicNanos()),
      job_(std::move(job)) {}

LocalTask::~LocalTask() {
  std::unique_lock lock(jobs_->state_->mutex);
  jobs_->state_->Answer(&lock, this,
                        {.kind = Kind::kFatal, .error = BugError("a thread ended without an answer")});
}

Result<SegmentPool::Lease> LocalTask::Output(int64_t bytes) {
  SegmentPool& segments = *jobs_->state_->segments;
  Result<SegmentPool::Lease> piece = segments.Take(bytes);
  for (int i = 0; i < kPatienceTicks && piece.status().IsOutOfMemory(); ++i) {
    std::this_thread::sleep_for(kTick);
    piece = segments.Take(bytes);
  }
  if (piece.ok()) output_ = *piece;
  refusal_ = piece.status();
  return piece;
}

void LocalTask::Finish(const Json& words) {
  WorkerAnswer answer = AnswerOf(words, std::move(output_), refusal_);
  std::unique_lock lock(jobs_->state_->mutex);
  jobs_->state_->Answer(&lock, this, std::move(answer));
}

void LocalTask::TellStuck(const std::string& stack) {
  auto& state = *jobs_->state_;
  const std::lock_guard lock(state.mutex);
  if (!state.running.contains(this)) return;  // nobody waits for it: neither the observer
  stack_ = stack;
  if (state.options.observer == nullptr) return;
  Env* env = Env::Default();
  const double seconds = static_cast<double>(env->MonotonicNanos() - started_ns_) / kNanosPerSecond;
  state.options.observer->Emit(StuckEvent(state.options.step, job_, stack, seconds, env->NowUnixMicros()));
}

LocalPool::LocalPool(LocalPoolOptions options) : jobs_(std::make_shared<LocalJobs>(std::move(options))) {}

LocalPool::~LocalPool() {
  auto& state = *jobs_->state_;
  std::thread watcher;
  {
    std::unique_lock lock(state.mutex);
    state.closed = true;
    state.changed.notify_all();
    state.AnswerWaiting(&lock, {.kind = Kind::kCancelled});
    while (!state.running.empty()) state.Answer(&lock, *state.running.begin(), {.kind = Kind::kCancelled});
    // One of the answers may be what ends the last use of this pool: that one is not waited for.
    const auto others = [&] {
      return std::any_of(state.answering.begin(), state.answering.end(),
                         [](std::thread::id id) { return id != std::this_thread::get_id(); });
    };
    state.changed.wait(lock, [&] { return !others(); });
    watcher = std::move(state.watcher);
  }
  if (!watcher.joinable()) return;
  if (watcher.get_id() == std::this_thread::get_id()) {
    watcher.detach();
  } else {
    watcher.join();
  }
}

void LocalPool::Submit(WorkerJob job) {
  auto& state = *jobs_->state_;
  std::unique_lock lock(state.mutex);
  if (!state.broken.ok())
    return state.Answer(&lock, std::move(job), {.kind = Kind::kFatal, .error = state.broken});
  state.waiting.push_back(std::move(job));
  state.changed.notify_all();
  if (state.started) return;
  state.started = true;
  state.watcher = std::thread([jobs = jobs_] { jobs->state_->Watch(); });
  lock.unlock();
  LocalHost host;
  {
    const std::lock_guard guard(HostMutex());
    host = Host();
  }
  const Status status = host ? host(jobs_) : BugError("nobody runs functions in this process");
  if (!status.ok()) jobs_->Fail(status);
}

SegmentPool* LocalPool::segments() const { return jobs_->state_->segments.get(); }

std::vector<InFlight> LocalPool::Slowest(int n) const {
  auto& state = *jobs_->state_;
  const int64_t now = Env::Default()->MonotonicNanos();
  std::vector<InFlight> slow;
  const std::lock_guard lock(state.mutex);
  for (const LocalTask* task : state.running) {
    const double seconds = static_cast<double>(now - task->started_ns_) / kNanosPerSecond;
    slow.push_back({task->job_.partition, task->job_.first_row, WhereText(task->stack_), seconds});
  }
  std::sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  if (slow.size() > static_cast<size_t>(n)) slow.resize(static_cast<size_t>(n));
  return slow;
}

}  // namespace partita
