#include "components/python/process_pool.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <deque>
#include <map>
#include <mutex>
#include <thread>

#include "components/python/fork_server.h"
#include "components/python/worker_process.h"
#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {
namespace {

constexpr double kSecond = 1e9;
constexpr int kTickMs = 50;
constexpr double kStuckSeconds = 5;       // a batch that takes longer is told with its stack
constexpr double kUnwantedSeconds = 0.2;  // after which a worker whose batch nobody wants is ended
constexpr double kIdleSeconds = 5;        // after which a worker beyond the least is ended
constexpr double kIdleMemorySeconds = 0.1;
constexpr double kQuickSeconds = 0.1;   // batches so quick are handed out one ahead
constexpr double kPatienceSeconds = 1;  // of a worker with a result for which there is no room
constexpr double kLeaveSeconds = 2;
constexpr int64_t kStackBytes = 256 << 10;

}  // namespace

class ProcessPool::Loop : public std::enable_shared_from_this<ProcessPool::Loop> {
 public:
  explicit Loop(ProcessPoolOptions options)
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

  void Start() {
    thread_ = std::thread([self = shared_from_this()] { self->Run(); });
  }

  void Stop() {
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

  void Submit(WorkerJob job) {
    {
      const std::lock_guard lock(mutex_);
      submitted_.push_back(std::move(job));
    }
    Ring(bell_);
  }

  SegmentPool* segments() const { return segments_.get(); }

  std::vector<InFlight> Slowest(int n) const {
    const std::lock_guard lock(mutex_);
    auto slow = slow_;
    if (slow.size() > static_cast<size_t>(n)) slow.resize(static_cast<size_t>(n));
    return slow;
  }

 private:
  using Worker = WorkerProcess;
  using Kind = WorkerAnswer::Kind;

  int64_t Now() const { return options_.env->MonotonicNanos(); }
  static double Since(int64_t now, int64_t then) { return static_cast<double>(now - then) / kSecond; }

  void Run() {
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

  // ---- what there is to do

  void Work() {
    const int64_t now = Now();
    Watch(now);
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

  bool Busy() const {
    return std::any_of(workers_.begin(), workers_.end(), [](const Worker& w) { return !w.jobs.empty(); });
  }

  void Wait() {
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

  // ---- processes

  void StartWorkers() {
    const auto alive = static_cast<int>(workers_.size());
    int starting = 0, idle = 0;
    for (const Worker& worker : workers_) {
      starting += worker.state == Worker::State::kForking || worker.state == Worker::State::kStarting;
      idle += worker.state == Worker::State::kReady && worker.jobs.empty();
    }
    if (queue_.empty() && !server_.is_started()) return;  // nothing was ever asked for
    const auto waiting = static_cast<int>(queue_.size());
    // The first one may turn out to be what the others are forked from.
    if (std::any_of(workers_.begin(), workers_.end(), [](const Worker& w) { return w.may_share; })) return;
    if (template_claim_.bytes() > 0 && !server_.has_template()) template_claim_.Release();
    int wanted = std::clamp(waiting - idle - starting, 0, most_workers_() - alive);
    wanted = std::max(wanted, std::min(options_.min_workers, most_workers_()) - alive);
    for (; wanted > 0 && broken_.ok(); --wanted) {
      auto started = StartWorker();
      if (!started.ok()) broken_ = started.status();
      if (!started.ok() || !*started || workers_.back().may_share) return;
    }
  }

  int most_workers_() const { return std::min(options_.max_workers, fitting_workers_); }

  // False: what it needs is not free now.
  Result<bool> StartWorker() {
    Worker worker;
    if (options_.gpus > 0) {
      ARROW_ASSIGN_OR_RAISE(worker.gpus, TakeGpus(options_.gpus));
      if (worker.gpus == nullptr) return false;
    }
    if (!server_.is_started()) ARROW_RETURN_NOT_OK(server_.Start());
    worker.id = next_worker_++;
    worker.may_share =
        options_.shares_start && !server_.has_template() && most_workers_() > 1 && workers_.empty();
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

  void HearServer() {
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

  // The worker's end of the socket is closed: it is dead or as good as dead.
  std::deque<Worker>::iterator Lost(std::deque<Worker>::iterator it) {
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
      broken_ =
          WithContext(UserError("the worker process ended while it started: " + how + server_.LogTail()),
                      {.step = options_.step});
    }
    const bool killed = known && code == -SIGKILL && !worker.ended_by_us;
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

  void Kill(Worker* worker, std::string why) {
    if (worker->ended_by_us || worker->pid <= 0) return;
    worker->ended_by_us = true;
    worker->why_ended = std::move(why);
    KillGroup(worker->pid);
    SendSignal(worker->pid, SIGKILL);
  }

  // ---- jobs

  static void Answer(WorkerJob job, WorkerAnswer answer) {
    job.input.reset();
    job.done(std::move(answer));
  }

  void HandOut(int64_t now) {
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
        if (worker.state != Worker::State::kReady || worker.ended_by_us || worker.jobs.size() >= deep)
          continue;
        if (best == nullptr || worker.jobs.size() < best->jobs.size()) best = &worker;
      }
      if (best == nullptr) return;
      WorkerJob job = std::move(queue_.front());
      queue_.pop_front();
      Give(best, std::move(job), now);
    }
  }

  void Give(Worker* worker, WorkerJob job, int64_t now) {
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

  // False: the worker is gone.
  bool Hear(Worker* worker) {
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

  // `shares`: it runs no batches, but forks workers that have its function.
  void Ready(Worker* worker, int64_t private_bytes, bool shares) {
    worker->may_share = false;
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

  // What a worker has turned out to need is claimed, where the step did not say. One for which there is no
  // room is ended while others are there; alone it goes on, and others of the run give back before it is
  // asked again.
  void Follow(Worker* worker, int64_t private_bytes) {
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

  // Its result is larger than the piece it got. It waits a little where there is no room, since what it
  // computed would have to be computed again.
  void Need(Worker* worker, int64_t bytes) {
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

  void Done(Worker* worker, const Json& words) {
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

  // ---- time

  void Watch(int64_t now) {
    for (Worker& worker : workers_) {
      for (RunningJob& running : worker.jobs) {
        if (running.answered || !running.job.cancel.cancelled()) continue;
        running.answered = true;
        running.abandoned_ns = now;
        running.job.done({.kind = Kind::kCancelled});  // its input stays until the worker is done with it
        running.job.done = nullptr;
      }
      if (worker.jobs.empty()) continue;
      if (worker.needs_bytes > 0) Need(&worker, worker.needs_bytes);
      RunningJob& head = worker.jobs.front();
      const double seconds = Since(now, head.started_ns);
      if (head.answered) {
        if (Since(now, head.abandoned_ns) > kUnwantedSeconds) Kill(&worker, "nobody waits for its batch");
      } else if (options_.timeout_s > 0 && seconds > options_.timeout_s) {
        TimeOut(&worker, &head, now);
      } else if (seconds > kStuckSeconds && seconds > 2 * Since(head.told_ns, head.started_ns)) {
        TellStuck(&worker, &head, seconds, now);
      }
    }
  }

  // Two visits: the first asks for the stack, the next, a tick later, has it.
  bool HasStack(Worker* worker, RunningJob* head, std::string* stack) {
    if (!head->asked_stack) {
      worker->stack->Clear();
      head->asked_stack = true;
      SendSignal(worker->pid, SIGUSR2);
      return false;
    }
    head->asked_stack = false;
    const char* text = reinterpret_cast<const char*>(worker->stack->data());
    *stack = StackText(std::string_view(text, ::strnlen(text, static_cast<size_t>(kStackBytes))),
                       "/partita/worker/");
    return true;
  }

  void TimeOut(Worker* worker, RunningJob* head, int64_t) {
    std::string stack;
    if (worker->ended_by_us || !HasStack(worker, head, &stack)) return;
    Kill(worker, "a batch took longer than the timeout of " + FormatSeconds(options_.timeout_s) +
                     (stack.empty() ? "" : "; it was at\n" + stack));
  }

  void TellStuck(Worker* worker, RunningJob* head, double seconds, int64_t now) {
    std::string stack;
    if (!HasStack(worker, head, &stack)) return;
    head->told_ns = now;
    stacks_[head->id] = stack;
    if (options_.observer == nullptr) return;
    Event event{EventKind::kStall, options_.env->NowUnixMicros(), -1, head->job.partition, options_.step, ""};
    event.message = "the function is at rows " + std::to_string(head->job.first_row) + " to " +
                    std::to_string(head->job.last_row) + " for " + FormatSeconds(seconds) +
                    (stack.empty() ? "" : ":\n" + stack);
    options_.observer->Emit(std::move(event));
  }

  void PublishSlow() {
    const int64_t now = Now();
    std::vector<InFlight> slow;
    for (const Worker& worker : workers_) {
      if (worker.jobs.empty() || worker.jobs.front().answered) continue;
      const RunningJob& head = worker.jobs.front();
      const auto stack = stacks_.find(head.id);
      std::string what = "the Python function";
      if (stack != stacks_.end() && !stack->second.empty()) what += " at\n" + stack->second + "\n ";
      slow.push_back({head.job.partition, head.job.first_row, std::move(what), Since(now, head.started_ns)});
    }
    std::sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
    const std::lock_guard lock(mutex_);
    slow_ = std::move(slow);
  }

  void EndIdle(int64_t now) {
    auto alive = static_cast<int>(workers_.size());
    for (Worker& worker : workers_) {
      if (alive <= options_.min_workers) return;
      if (worker.state != Worker::State::kReady || !worker.jobs.empty() || !queue_.empty()) continue;
      if (Since(now, worker.idle_since_ns) < kIdleSeconds) continue;
      worker.state = Worker::State::kLeaving;
      (void)SendMessage(worker.socket, R"({"op":"exit"})", {}, /*wait=*/false);
      --alive;
    }
  }

  // ---- the end

  void Leave() {
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

  const ProcessPoolOptions options_;
  const std::shared_ptr<SegmentPool> segments_;
  Descriptor bell_;

  mutable std::mutex mutex_;
  std::vector<WorkerJob> submitted_;  // guarded
  std::vector<InFlight> slow_;        // guarded
  bool stopping_ = false;             // guarded

  // The thread's own.
  ForkServer server_;
  Reservation template_claim_;
  std::deque<WorkerJob> queue_;
  std::deque<Worker> workers_;
  std::map<int64_t, std::string> stacks_;
  int fitting_workers_ = 1 << 20;
  int64_t next_worker_ = 1, next_job_ = 1;
  double batch_seconds_ = 0;
  int64_t last_busy_ns_ = 0;
  Status broken_, refusal_;
  std::thread thread_;
};

ProcessPool::ProcessPool(ProcessPoolOptions options) : loop_(std::make_shared<Loop>(std::move(options))) {
  loop_->Start();
}
ProcessPool::~ProcessPool() { loop_->Stop(); }
void ProcessPool::Submit(WorkerJob job) { loop_->Submit(std::move(job)); }
SegmentPool* ProcessPool::segments() const { return loop_->segments(); }
std::vector<InFlight> ProcessPool::Slowest(int n) const { return loop_->Slowest(n); }

}  // namespace partita
