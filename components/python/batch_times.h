// Where the time of a step's workers goes, as details of its counters: in the function, in moving rows to it
// and back, and in waiting for rows. Private to this room; thread-safe.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string_view>

#include "partita/observe/observe.h"

namespace partita {

class BatchTimes {
 public:
  void Add(int64_t function_ns, int64_t transfer_ns, int64_t waiting_ns, StepCounters* counters) {
    if (counters == nullptr) return;
    Add(&function_ns_, function_ns, "function_ms", counters);
    Add(&transfer_ns_, transfer_ns, "transfer_ms", counters);
    Add(&waiting_ns_, waiting_ns, "waiting_ms", counters);
  }

 private:
  // Whole milliseconds are told as they fill: no batch's rest is lost.
  static void Add(std::atomic<int64_t>* sum, int64_t ns, std::string_view key, StepCounters* counters) {
    constexpr int64_t kMilli = 1'000'000;
    ns = std::max<int64_t>(0, ns);
    const int64_t before = sum->fetch_add(ns, std::memory_order_relaxed);
    const int64_t ms = (before + ns) / kMilli - before / kMilli;
    if (ms > 0) counters->AddDetail(key, ms);
  }

  std::atomic<int64_t> function_ns_{0}, transfer_ns_{0}, waiting_ns_{0};
};

}  // namespace partita
