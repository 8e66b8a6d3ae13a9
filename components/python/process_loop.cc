#include "components/python/process_loop.h"

#include <csignal>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr int kTickMs = 50;
constexpr double kIdleMemorySeconds = 0.5;
constexpr double kQuickSeconds = 0.1;   // batches so quick are handed out one ahead
constexpr double kPatienceSeconds = 1;  // of a worker with a result for which there is no room
constexpr double kLeaveSeconds = 2;

}  // namespace

ProcessLoop::ProcessLoop(ProcessPoolOptions options)
    : options_(std::move(options)),
      segments_(
          std::make_shared<SegmentPool>(options_.pool, static_cast<size_t>(3 * options_.max_workers + 2))),
      server_(options_.step, options_.command) {
  auto bell = MakeBell();
  if (bell.ok()) {
    bell_ = std::move(*bell);
  } else {
    broken_ = bell.status();
  }
}

void ProcessLoop::Start() {
  thread_ = std::thread([self = shared_from_this()] { self->Run(); });
}

void ProcessLoop::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  Ring(bell_);
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // one of its answers ended the run; it ends the processes and then itself
  } else {
    thread_.join();
  }
}

void ProcessLoop::Submit(WorkerJob job) {
  {
    const std::lock_guard lock(mutex_);
    submitted_.push_back(std::move(job));
  }
  Ring(bell_);
}

std::vector<InFlight> ProcessLoop::Slowest(int n) const {
  const std::lock_guard lock(mutex_);
  auto slow = slow_;
  if (slow.size() > static_cast<size_t>(n)) slow.resize(static_cast<size_t>(n));
  return slow;
}

void ProcessLoop::Run() {
  while (true) {
    {
      const std::lock_guard lock(mutex_);
      for (auto& job : submitted_) queue_.push_back(std::move(job));
      submitted_.clear();
      if (stopping_) break;
    }
    Work();
    Wait();
  }
  Leave();
}

void ProcessLoop::Work() {
  const int64_t now = Now();
  Watch(now);
  segments_->DropIdleIfRefused();
  if (!broken_.ok()) {
    while (!queue_.empty()) {
      WorkerJob job = std::move(queue_.front());
      queue_.pop_front();
      Answer(std::move(job), {.kind = Kind::kFatal, .error = broken_});
    }
    return;
  }
  StartWorkers();
  HandOut(now);
  EndIdle(now);
  if (Busy() || !queue_.empty()) {
    last_busy_ns_ = now;
  } else if (Since(now, last_busy_ns_) > kIdleMemorySeconds) {
    segments_->DropIdle();
  }
}

bool ProcessLoop::Busy() const {
  return std::any_of(workers_.begin(), workers_.end(), [](const Worker& w) { return !w.jobs.empty(); });
}

void ProcessLoop::Wait() {
  std::vector<int> fds = {bell_.get()};
  for (const int fd : server_.descriptors()) fds.push_back(fd);
  const size_t fixed = fds.size();
  for (const Worker& worker : workers_) fds.push_back(worker.socket.get());
  const bool quiet = !Busy() && queue_.empty() && !segments_->has_idle() && workers_.empty();
  const auto ready = WaitReadable(fds, quiet ? -1 : kTickMs);
  if (ready[0]) Hush(bell_);
  server_.ReadLog();
  HearServer();
  size_t index = fixed;
  for (auto it = workers_.begin(); it != workers_.end(); ++index) {
    const bool gone = index < ready.size() && ready[index] && !Hear(&*it);
    it = gone ? Lost(it) : std::next(it);
  }
  PublishSlow();
}

void ProcessLoop::Answer(WorkerJob job, WorkerAnswer answer) {
  job.input.reset();
  job.done(std::move(answer));
}

void ProcessLoop::HandOut(int64_t now) {
  while (!queue_.empty()) {
    if (queue_.front().cancel.cancelled()) {
      WorkerJob job = std::move(queue_.front());
      queue_.pop_front();
      Answer(std::move(job), {.kind = Kind::kCancelled});
      continue;
    }
    Worker* best = nullptr;
    const size_t deep = batch_seconds_ > 0 && batch_seconds_ < kQuickSeconds ? 2 : 1;
    for (Worker& worker : workers_) {
      if (worker.state != Worker::State::kReady || worker.ended_by_us || worker.jobs.size() >= deep) continue;
      if (best == nullptr || worker.jobs.size() < best->jobs.size()) best = &worker;
    }
    if (best == nullptr) return;
    WorkerJob job = std::move(queue_.front());
    queue_.pop_front();
    Give(best, std::move(job), now);
  }
}

void ProcessLoop::Give(Worker* worker, WorkerJob job, int64_t now) {
  RunningJob running;
  running.id = next_job_++;
  if (job.output_bytes_guess > 0) {
    auto lease = segments_->Take(job.output_bytes_guess);
    if (lease.ok()) running.output = std::move(*lease);  // else the worker asks when it knows how much
  }
  running.job = std::move(job);
  if (worker->jobs.empty()) running.started_ns = now;
  std::vector<int> fds;
  const Json message = RunMessage(running, worker, *segments_, &fds);
  auto sent = SendMessage(worker->socket, CanonicalJson(message), fds);
  worker->jobs.push_back(std::move(running));
  if (!sent.ok()) Kill(worker, "its socket is broken");  // the socket's end tells the rest
}

bool ProcessLoop::Hear(Worker* worker) {
  while (true) {
    auto message = ReceiveMessage(worker->socket);
    if (!message.ok() || message->end) return false;
    if (message->none) return true;
    auto words = ParseJson(message->text);
    if (!words.ok() || !words->is_object()) return false;
    const std::string op = words->value("op", "");
    if (op == "ready") {
      Ready(worker, words->value("private_bytes", int64_t{0}), words->value("shares", false));
      if (worker->state == Worker::State::kTemplate) return false;
    } else if (op == "failed") {
      worker->state = Worker::State::kLeaving;
      if (broken_.ok()) {
        broken_ = WithContext(UserError(words->value("text", "the function cannot be made ready")),
                              {.step = options_.step});
      }
    } else if (op == "need") {
      worker->needs_bytes = words->value("bytes", int64_t{0});
      worker->needs_since_ns = Now();
      Need(worker, worker->needs_bytes);
    } else if (!worker->jobs.empty() && worker->jobs.front().id == words->value("id", int64_t{-1})) {
      Done(worker, *words);
    }
  }
}

void ProcessLoop::Done(Worker* worker, const Json& words) {
  const int64_t now = Now();
  RunningJob running = std::move(worker->jobs.front());
  worker->jobs.pop_front();
  if (worker->jobs.empty()) {
    worker->idle_since_ns = now;
    if (worker->state == Worker::State::kLeaving)
      (void)SendMessage(worker->socket, R"({"op":"exit"})", {}, /*wait=*/false);
  } else {
    worker->jobs.front().started_ns = now;
  }
  const double seconds = Since(now, running.started_ns);
  batch_seconds_ = batch_seconds_ == 0 ? seconds : 0.8 * batch_seconds_ + 0.2 * seconds;
  Follow(worker, words.value("private_bytes", int64_t{0}));
  if (words.value("kept", false)) {
    // The function holds on to its input: the piece is its own from now on, and counts until the worker
    // ends.
    worker->kept.push_back(segments_->Abandon(running.job.input));
  }
  if (running.answered) return;
  WorkerAnswer answer = AnswerOf(words, std::move(running.output), refusal_);
  Answer(std::move(running.job), std::move(answer));
}

void ProcessLoop::Need(Worker* worker, int64_t bytes) {
  if (worker->jobs.empty()) return;
  RunningJob& running = worker->jobs.front();
  running.output.reset();
  auto lease = bytes > 0 ? segments_->Take(bytes) : Status::Invalid("a worker asks for no bytes");
  std::vector<int> fds;
  Json words = {{"op", "refused"}};
  if (lease.ok()) {
    running.output = std::move(*lease);
    words = SegmentWords(*running.output, worker, &fds);
    words["op"] = "out";
  } else if (lease.status().IsOutOfMemory() && Since(Now(), worker->needs_since_ns) < kPatienceSeconds) {
    return;  // Watch asks again
  } else {
    refusal_ = lease.status();
  }
  worker->needs_bytes = 0;
  if (!SendMessage(worker->socket, CanonicalJson(words), fds).ok()) Kill(worker, "its socket is broken");
}

void ProcessLoop::Leave() {
  {
    const std::lock_guard lock(mutex_);
    for (auto& job : submitted_) queue_.push_back(std::move(job));
    submitted_.clear();
  }
  for (WorkerJob& job : queue_) Answer(std::move(job), {.kind = Kind::kCancelled});
  queue_.clear();
  std::vector<int> pids;
  for (Worker& worker : workers_) {
    const bool busy = !worker.jobs.empty();
    for (RunningJob& running : worker.jobs) {
      if (!running.answered) Answer(std::move(running.job), {.kind = Kind::kCancelled});
    }
    worker.jobs.clear();
    if (busy || worker.state == Worker::State::kStarting) {
      KillGroup(worker.pid);
      SendSignal(worker.pid, SIGKILL);
    }
    (void)SendMessage(worker.socket, R"({"op":"exit"})", {}, /*wait=*/false);
    pids.push_back(worker.pid);
  }
  server_.End(pids, kLeaveSeconds);
  workers_.clear();
  template_claim_.Release();
  segments_->DropIdle();
}

}  // namespace partita
