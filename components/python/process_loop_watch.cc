#include "components/python/process_loop.h"

#include <csignal>
#include <cstring>

#include "partita/base/units.h"

namespace partita {
namespace {

constexpr double kStuckSeconds = 5;       // a batch that takes longer is told with its stack
constexpr double kUnwantedSeconds = 0.2;  // after which a worker whose batch nobody wants is ended
constexpr int64_t kStackBytes = 256 << 10;

}  // namespace

void ProcessLoop::Watch(int64_t now) {
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

bool ProcessLoop::HasStack(Worker* worker, RunningJob* head, std::string* stack) {
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

void ProcessLoop::TimeOut(Worker* worker, RunningJob* head, int64_t) {
  std::string stack;
  if (worker->ended_by_us || !HasStack(worker, head, &stack)) return;
  Kill(worker, "a batch took longer than the timeout of " + FormatSeconds(options_.timeout_s) +
                   (stack.empty() ? "" : "; it was at\n" + stack));
}

void ProcessLoop::TellStuck(Worker* worker, RunningJob* head, double seconds, int64_t now) {
  std::string stack;
  if (!HasStack(worker, head, &stack)) return;
  head->told_ns = now;
  stacks_[head->id] = stack;
  if (options_.observer == nullptr) return;
  options_.observer->Emit(
      StuckEvent(options_.step, head->job, stack, seconds, options_.env->NowUnixMicros()));
}

void ProcessLoop::PublishSlow() {
  const int64_t now = Now();
  std::vector<InFlight> slow;
  for (const Worker& worker : workers_) {
    if (worker.jobs.empty() || worker.jobs.front().answered) continue;
    const RunningJob& head = worker.jobs.front();
    const auto stack = stacks_.find(head.id);
    std::string what = WhereText(stack == stacks_.end() ? "" : stack->second);
    slow.push_back({head.job.partition, head.job.first_row, std::move(what), Since(now, head.started_ns)});
  }
  std::sort(slow.begin(), slow.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  const std::lock_guard lock(mutex_);
  slow_ = std::move(slow);
}

}  // namespace partita
