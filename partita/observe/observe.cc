#include "partita/observe/observe.h"

#include <algorithm>
#include <utility>

#include "partita/base/json.h"

namespace partita {
namespace {

int64_t Load(const std::atomic<int64_t>& counter) { return counter.load(std::memory_order_relaxed); }

Json StepToJson(const StepCounters& step) {
  Json wait_ms = Json::object();
  for (int i = 1; i < kWaitReasons; ++i) {
    const int64_t ns = Load(step.wait_ns[static_cast<size_t>(i)]);
    if (ns > 0)
      wait_ms[std::string(WaitReasonName(static_cast<WaitReason>(i)))] = static_cast<double>(ns) / 1e6;
  }
  Json details = Json::object();
  for (const auto& [key, count] : step.Details()) details[key] = count;
  return Json{{"name", step.step},
              {"op", step.op},
              {"rows_in", Load(step.rows_in)},
              {"rows_out", Load(step.rows_out)},
              {"bytes_out", Load(step.bytes_out)},
              {"rows_skipped", Load(step.rows_skipped)},
              {"rows_quarantined", Load(step.rows_quarantined)},
              {"busy_ms", static_cast<double>(Load(step.busy_ns)) / 1e6},
              {"wait_ms", std::move(wait_ms)},
              {"details", std::move(details)}};
}

}  // namespace

std::string_view WaitReasonName(WaitReason reason) {
  switch (reason) {
    case WaitReason::kNone:
      return "none";
    case WaitReason::kNeedsInput:
      return "needs input";
    case WaitReason::kOutputFull:
      return "output full";
    case WaitReason::kMemory:
      return "memory";
    case WaitReason::kNetwork:
      return "network";
    case WaitReason::kWorker:
      return "worker";
  }
  return "none";
}

std::string_view EventKindName(EventKind kind) {
  switch (kind) {
    case EventKind::kRunStarted:
      return "run started";
    case EventKind::kTaskStarted:
      return "task started";
    case EventKind::kTaskFinished:
      return "task finished";
    case EventKind::kTaskRetried:
      return "task retried";
    case EventKind::kTaskFailed:
      return "task failed";
    case EventKind::kStall:
      return "stall";
    case EventKind::kNotice:
      return "notice";
    case EventKind::kRunFinished:
      return "run finished";
    case EventKind::kRunFailed:
      return "run failed";
  }
  return "notice";
}

void StepCounters::AddDetail(std::string_view key, int64_t n) {
  std::lock_guard lock(mutex_);
  for (auto& [known, count] : details_) {
    if (known == key) {
      count += n;
      return;
    }
  }
  details_.emplace_back(key, n);
}

std::vector<std::pair<std::string, int64_t>> StepCounters::Details() const {
  std::vector<std::pair<std::string, int64_t>> details;
  {
    std::lock_guard lock(mutex_);
    details = details_;
  }
  // By key: the order in which threads met them is no fact worth showing.
  std::sort(details.begin(), details.end());
  return details;
}

StepCounters* Observer::AddStep(std::string step, std::string op) {
  std::lock_guard lock(mutex_);
  return &steps_.emplace_back(std::move(step), std::move(op));
}

void Observer::Emit(Event event) {
  std::function<void(const Event&)> listener;
  {
    std::lock_guard lock(mutex_);
    listener = listener_;
    events_.push_back(event);
    if (events_.size() > kMaxEvents) {
      events_.pop_front();
      ++dropped_events_;
    }
  }
  // Outside the lock: a listener may read the observer.
  if (listener) listener(event);
}

std::vector<Event> Observer::EventsSince(size_t* cursor) const {
  std::lock_guard lock(mutex_);
  // The cursor counts all events ever emitted; those that were dropped are skipped.
  const size_t end = dropped_events_ + events_.size();
  const size_t begin = std::clamp(*cursor, dropped_events_, end);
  *cursor = end;
  return {events_.begin() + static_cast<std::ptrdiff_t>(begin - dropped_events_), events_.end()};
}

void Observer::SetListener(std::function<void(const Event&)> listener) {
  std::lock_guard lock(mutex_);
  listener_ = std::move(listener);
}

Json Observer::ToJson() const {
  Json steps = Json::array();
  size_t dropped_events = 0;
  {
    std::lock_guard lock(mutex_);
    for (const auto& step : steps_) steps.push_back(StepToJson(step));
    dropped_events = dropped_events_;
  }
  return Json{{"steps", std::move(steps)},
              {"tasks",
               {{"total", Load(tasks_total)},
                {"done", Load(tasks_done)},
                {"running", Load(tasks_running)},
                {"resumed", Load(tasks_resumed)}}},
              {"memory",
               {{"used", Load(memory_used)},
                {"peak", Load(memory_peak)},
                {"limit", Load(memory_limit)},
                {"held_by_caller_peak", Load(held_by_caller_peak)},
                {"unaccounted_peak", Load(unaccounted_peak)}}},
              {"source_bytes_read", Load(source_bytes_read)},
              {"started_us", Load(started_us)},
              {"finished_us", Load(finished_us)},
              {"dropped_events", dropped_events}};
}

}  // namespace partita
