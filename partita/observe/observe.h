// What a run tells: counters per step, and events. Plain structs. Progress, stats and the UI read only this.
// Counters are updated with relaxed atomics from any thread; readers take a snapshot.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace partita {

// Why something waits. Every wait has one.
enum class WaitReason { kNone, kNeedsInput, kOutputFull, kMemory, kNetwork, kWorker };
inline constexpr int kWaitReasons = 6;
std::string_view WaitReasonName(WaitReason reason);  // "needs input", "output full", "memory", "network", "worker"

// Counters of one step (a thing the user asked for), summed over its tasks.
struct StepCounters {
  explicit StepCounters(std::string step_name, std::string op_name) : step(std::move(step_name)), op(std::move(op_name)) {}
  const std::string step;  // the user's name
  const std::string op;    // "resize_images"
  std::atomic<int64_t> rows_in{0}, rows_out{0}, bytes_out{0};
  std::atomic<int64_t> rows_skipped{0}, rows_quarantined{0};
  std::atomic<int64_t> busy_ns{0};
  std::array<std::atomic<int64_t>, kWaitReasons> wait_ns{};
  // What the step itself wants to tell ("http_404": 12). Few distinct keys; thread-safe.
  void AddDetail(std::string_view key, int64_t n);
  std::vector<std::pair<std::string, int64_t>> Details() const;

 private:
  mutable std::mutex mutex_;
  std::vector<std::pair<std::string, int64_t>> details_;
};

enum class EventKind { kRunStarted, kTaskStarted, kTaskFinished, kTaskRetried, kTaskFailed, kStall, kNotice, kRunFinished, kRunFailed };
std::string_view EventKindName(EventKind kind);

struct Event {
  EventKind kind;
  int64_t time_us = 0;  // unix
  int stage = -1;
  int64_t partition = -1;
  std::string step;
  std::string message;
};

// One run's observations. Thread-safe.
class Observer {
 public:
  // Steps in pipeline order; pointers stay valid as long as the Observer.
  StepCounters* AddStep(std::string step, std::string op);
  const std::deque<StepCounters>& steps() const { return steps_; }

  void Emit(Event event);                                   // bounded: the newest kMaxEvents are kept
  std::vector<Event> EventsSince(size_t* cursor) const;     // cursor starts at 0
  void SetListener(std::function<void(const Event&)> listener);

  std::atomic<int64_t> tasks_total{0}, tasks_done{0}, tasks_running{0}, tasks_resumed{0};
  std::atomic<int64_t> source_bytes_read{0};
  std::atomic<int> current_wait{0};  // WaitReason that most running tasks have now
  std::atomic<int64_t> memory_used{0}, memory_peak{0}, memory_limit{0}, unaccounted_peak{0};
  std::atomic<int64_t> held_by_caller_peak{0};  // bytes of rows that the caller has, beside the budget
  std::atomic<int64_t> started_us{0}, finished_us{0};

  static constexpr size_t kMaxEvents = 10000;

  Json ToJson() const;  // the run record's `stats`

 private:
  mutable std::mutex mutex_;
  std::deque<StepCounters> steps_;
  std::deque<Event> events_;
  size_t dropped_events_ = 0;
  std::function<void(const Event&)> listener_;
};

}  // namespace partita
