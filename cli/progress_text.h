// Progress as text: pure functions from samples of an Observer to lines. progress.h puts them on a screen.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "partita/observe/observe.h"

namespace partita::cli {

struct StepSample {
  std::string step, op;
  int64_t rows_in = 0, rows_out = 0, bytes_out = 0, rows_skipped = 0, rows_quarantined = 0, busy_ns = 0;
  std::array<int64_t, kWaitReasons> wait_ns{};
};

// A run at one moment.
struct ProgressSample {
  double seconds = 0;  // since the run began
  std::vector<StepSample> steps;
  int64_t tasks_total = 0, tasks_done = 0, tasks_resumed = 0;
  int64_t memory_used = 0, memory_limit = 0;
  int64_t source_bytes_read = 0;
  WaitReason wait = WaitReason::kNone;  // what most running tasks have now
};
ProgressSample Sample(const Observer& observer, double seconds);

// What does not change while a run goes on.
struct ProgressFacts {
  int threads = 1;
  // Rows that the sources will give in all; -1: unknown. Used for the time left while few tasks are done.
  int64_t source_rows = -1;
  std::vector<std::string> source_steps;
};

// The display: a header, one line a step and a bottom line, each of at most `width` columns; of many steps
// those of the middle are left out so that it takes at most `height` lines. Rates are over the time from
// `before` to `now`; the time left is reckoned from `first`.
std::vector<std::string> ProgressLines(const ProgressSample& now, const ProgressSample& before,
                                       const ProgressSample& first, const ProgressFacts& facts, size_t width,
                                       size_t height);
// The same in one plain line, for logs.
std::string ProgressLine(const ProgressSample& now, const ProgressSample& before, const ProgressSample& first,
                         const ProgressFacts& facts);
// Seconds until the end at the pace since `first`; negative: cannot be told yet.
double SecondsLeft(const ProgressSample& now, const ProgressSample& first, const ProgressFacts& facts);

// The step's waits since `before`: "network 40 %"; "" below one per cent of the threads' time.
std::string WaitText(const StepSample& now, const StepSample& before, double seconds, int threads);

}  // namespace partita::cli
