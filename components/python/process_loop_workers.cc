#include "components/python/process_loop.h"

#include <atomic>
#include <csignal>
#include <cstring>

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {
namespace {

// After which a worker is ended that holds what another step waits for, idle and beyond the least or not.
constexpr double kIdleWantedSeconds = 0.2;
constexpr int64_t kStackBytes = 256 << 10;

// When a worker of any step could not start for want of a GPU or another resource.
std::atomic<int64_t> last_wanted_ns{0};

}  // namespace

void ProcessLoop::StartWorkers() {
  const auto alive = static_cast<int>(workers_.size());
  int starting = 0, ready = 0;
  auto unserved = static_cast<int>(queue_.size());  // batches beyond those that somebody begins at once
  for (const Worker& worker : workers_) {
    starting += worker.state == Worker::State::kForking || worker.state == Worker::State::kStarting;
    if (worker.state != Worker::State::kReady) continue;
    ++ready;
    unserved += static_cast<int>(worker.jobs.size()) - 1;
  }
  unserved -= starting;
  if (queue_.empty() && !server_.is_started()) return;  // nothing was ever asked for
  const int more = demand_.Wanted(Now(), unserved, ready > 0);
  // The first one may turn out to be what the others are forked from.
  if (std::any_of(workers_.begin(), workers_.end(), [](const Worker& w) { return w.may_share; })) return;
  if (template_claim_.bytes() > 0 && !server_.has_template()) template_claim_.Release();
  const int room = most_workers() - alive;
  int wanted = std::min(room, std::max(more, options_.min_workers - alive));
  for (; wanted > 0 && broken_.ok(); --wanted) {
    auto started = StartWorker();
    if (!started.ok()) broken_ = started.status();
    if (!started.ok() || !*started || workers_.back().may_share) return;
  }
}

bool ProcessLoop::NotFree() const {
  last_wanted_ns.store(Now(), std::memory_order_relaxed);
  return false;
}

Result<bool> ProcessLoop::StartWorker() {
  Worker worker;
  if (options_.gpus > 0) {
    ARROW_ASSIGN_OR_RAISE(worker.gpus, TakeGpus(options_.gpus));
    if (worker.gpus == nullptr) return NotFree();
  }
  if (!options_.resources.empty()) {
    ARROW_ASSIGN_OR_RAISE(worker.resources, TakeResources(options_.resources));
    if (worker.resources == nullptr) return NotFree();
  }
  if (!server_.is_started()) ARROW_RETURN_NOT_OK(server_.Start());
  worker.id = next_worker_++;
  worker.asked_ns = Now();
  worker.may_share =
      options_.shares_start && !server_.has_template() && most_workers() > 1 && workers_.empty();
  ARROW_ASSIGN_OR_RAISE(auto pair, MessagePair());
  worker.socket = std::move(pair.first);
  ARROW_ASSIGN_OR_RAISE(worker.stack, SharedMemory::Make("partita-stack", kStackBytes));
  const auto bytes =
      options_.payload == nullptr ? int64_t{0} : static_cast<int64_t>(options_.payload->size());
  ARROW_ASSIGN_OR_RAISE(auto payload, SharedMemory::Make("partita-payload", std::max<int64_t>(1, bytes)));
  if (bytes > 0) std::memcpy(payload->data(), options_.payload->data(), static_cast<size_t>(bytes));
  Json setup = {{"op", "setup"}, {"setup", options_.setup}, {"payload_bytes", bytes}};
  if (worker.may_share) setup["may_share"] = true;
  if (worker.gpus != nullptr) setup["gpus"] = worker.gpus->devices();
  ARROW_RETURN_NOT_OK(
      SendMessage(worker.socket, CanonicalJson(setup), {payload->fd(), worker.stack->fd()}).status());
  ARROW_RETURN_NOT_OK(server_.Fork(worker.id, pair.second));
  workers_.push_back(std::move(worker));
  return true;
}

void ProcessLoop::HearServer() {
  if (!server_.Hear() && broken_.ok()) {
    const std::string what = "the process that starts Python workers ended" + server_.LogTail();
    broken_ = WithContext(EnvironmentError(what, "", /*retriable=*/false), {.step = options_.step});
  }
  for (Worker& worker : workers_) {
    const auto forked = server_.forked()->find(worker.id);
    if (forked == server_.forked()->end()) continue;
    worker.pid = forked->second;
    server_.forked()->erase(forked);
    if (worker.state == Worker::State::kForking) worker.state = Worker::State::kStarting;
  }
}

void ProcessLoop::Ready(Worker* worker, int64_t private_bytes, bool shares) {
  worker->may_share = false;
  demand_.Started(Since(Now(), worker->asked_ns));
  const int64_t bytes = private_bytes + (shares ? 0 : options_.memory_bytes);
  auto claim = options_.pool->Reserve(bytes);
  if (!claim.ok()) {
    segments_->DropIdle();
    claim = options_.pool->Reserve(bytes);
  }
  if (claim.ok() && shares) {
    worker->state = Worker::State::kTemplate;
    template_claim_ = std::move(*claim);
    server_.ForkFrom(std::move(worker->socket), worker->pid);
    return;
  }
  if (claim.ok()) {
    worker->claim = std::move(*claim);
    worker->state = Worker::State::kReady;
    worker->idle_since_ns = Now();
    return;
  }
  // No room for this one. With others at work, these are as many as fit; else the jobs hear of it.
  worker->state = Worker::State::kLeaving;
  worker->socket.Close();
  Kill(worker, "no memory");
  int ready = 0;
  for (const Worker& other : workers_) ready += other.state == Worker::State::kReady;
  if (ready > 0) {
    fitting_workers_ = ready;
    return;
  }
  const Status refused = OutOfMemoryError(
      "a worker process of " + FormatBytes(bytes) + " does not fit: " + MessageOf(claim.status()),
      "give the run more with --memory, or the step less with memory");
  while (!queue_.empty()) {
    WorkerJob job = std::move(queue_.front());
    queue_.pop_front();
    Answer(std::move(job), {.kind = Kind::kRefused, .error = refused});
  }
}

void ProcessLoop::Follow(Worker* worker, int64_t private_bytes) {
  if (private_bytes <= 0 || options_.memory_bytes > 0) return;
  if (worker->claim.Resize(private_bytes).ok()) return;
  segments_->DropIdle();
  if (worker->claim.Resize(private_bytes).ok()) return;
  int ready = 0;
  for (const Worker& other : workers_) ready += other.state == Worker::State::kReady;
  const int64_t limit = options_.pool->budget()->limit_bytes();
  if (ready <= 1 && private_bytes > limit && broken_.ok()) {
    broken_ = WithContext(
        ResourceError("the function's process has " + FormatBytes(private_bytes) +
                          ", more than the budget of " + FormatBytes(limit),
                      "give the run more with --memory, or the function fewer rows with batch_size"),
        {.step = options_.step});
  }
  if (ready <= 1) return;
  fitting_workers_ = ready - 1;
  worker->state = Worker::State::kLeaving;  // when it has answered for what it has
  if (worker->jobs.empty()) (void)SendMessage(worker->socket, R"({"op":"exit"})", {}, /*wait=*/false);
}

void ProcessLoop::EndIdle(int64_t now) {
  auto alive = static_cast<int>(workers_.size());
  for (Worker& worker : workers_) {
    const bool is_wanted = (worker.gpus != nullptr || worker.resources != nullptr) &&
                           Since(now, last_wanted_ns.load(std::memory_order_relaxed)) < kIdleWantedSeconds;
    if (!is_wanted && alive <= options_.min_workers) continue;
    if (worker.state != Worker::State::kReady || !worker.jobs.empty() || !queue_.empty()) continue;
    if (Since(now, worker.idle_since_ns) < (is_wanted ? kIdleWantedSeconds : demand_.idle_seconds()))
      continue;
    worker.state = Worker::State::kLeaving;
    (void)SendMessage(worker.socket, R"({"op":"exit"})", {}, /*wait=*/false);
    --alive;
  }
}

void ProcessLoop::Kill(Worker* worker, std::string why) {
  if (worker->ended_by_us || worker->pid <= 0) return;
  worker->ended_by_us = true;
  worker->why_ended = std::move(why);
  KillGroup(worker->pid);
  SendSignal(worker->pid, SIGKILL);
}

std::deque<WorkerProcess>::iterator ProcessLoop::Lost(std::deque<Worker>::iterator it) {
  Worker worker = std::move(*it);
  it = workers_.erase(it);
  if (worker.state == Worker::State::kTemplate) return it;  // it is the server's now
  KillGroup(worker.pid);
  SendSignal(worker.pid, SIGKILL);
  int code = 0;
  const bool known = server_.WaitForEnd(worker.pid, &code);
  server_.ReadLog();
  if (worker.state == Worker::State::kLeaving && worker.jobs.empty()) return it;
  const std::string how = known ? EndText(code) : "its end is not known";
  const bool starting = worker.state == Worker::State::kForking || worker.state == Worker::State::kStarting;
  if (starting && broken_.ok()) {
    broken_ = WithContext(UserError("the worker process ended while it started: " + how + server_.LogTail()),
                          {.step = options_.step});
  }
  // Whose end nobody tells went with the process that forked it: nothing that a row has done.
  const bool killed = (!known || code == -SIGKILL) && !worker.ended_by_us;
  Status why;
  if (worker.ended_by_us) {
    why = UserError(worker.why_ended);
  } else if (killed) {
    why = ResourceError(
        "the function's process was killed (SIGKILL), most likely by the kernel, for its memory",
        "give the step fewer rows with batch_size, fewer workers with concurrency, or fence it "
        "with memory");
  } else {
    why = UserError("the function ended its process: " + how + server_.LogTail());
  }
  for (size_t i = 0; i < worker.jobs.size(); ++i) {
    RunningJob& running = worker.jobs[i];
    if (running.answered) continue;
    if (i == 0) {
      Answer(std::move(running.job), {.kind = Kind::kDied, .error = why});
    } else {
      queue_.push_front(std::move(running.job));  // it was not begun
    }
  }
  return it;
}

}  // namespace partita
