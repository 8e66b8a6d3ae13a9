// Worker processes that run a user's Python function on batches.
//
// A fork server, a fresh interpreter that has imported what every worker needs and has one thread, forks the
// workers; the user's threads are never forked. Batches travel through shared memory (segment_pool.h);
// messages and descriptors through one socket a worker. When the driver ends, however it ends, the kernel
// ends the fork server, and with it the workers.
//
// One thread owns all of it: it starts workers as jobs wait for them, hands out jobs, hears answers, tells
// what is stuck with its Python stack, ends what takes too long or is no longer wanted.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "components/python/segment_pool.h"
#include "partita/base/cancel.h"
#include "partita/base/json_fwd.h"
#include "partita/observe/observe.h"
#include "partita/operator/operator.h"

namespace partita {

struct ProcessPoolOptions {
  std::string step;
  std::vector<std::string> command;            // that starts the fork server
  std::string setup;                           // JSON of what a worker is told first (python/partita/worker/)
  std::shared_ptr<const std::string> payload;  // bytes that go with it; may be null
  int min_workers = 0, max_workers = 1;
  int64_t memory_bytes = 0;  // of a worker, beside what it has after its start; 0: not fenced
  double timeout_s = 0;      // of a batch; 0: none
  std::shared_ptr<BudgetPool> pool;
  Env* env = nullptr;
  Observer* observer = nullptr;  // may be null
};

struct WorkerAnswer {
  enum class Kind {
    kDone,     // output (null: no rows) and, of steps that tell them, origins
    kBadRows,  // per-row functions: which rows failed, and why
    kError,    // the function raised
    kMemory,   // it ran out of the memory that the step gave it
    kRefused,  // the budget has no room for the result
    kDied,     // the process ended or was ended: `error` says how
    kFatal,    // no worker can be had: every job fails so
    kCancelled,
  } kind = Kind::kDone;
  SegmentPool::Lease output;
  int64_t output_bytes = 0;                    // of the Arrow stream at its start
  int64_t origins_at = -1, origins_count = 0;  // int32 each: the input row of every output row
  std::vector<std::pair<int64_t, std::string>> bad_rows;
  Status error;
};

struct WorkerJob {
  SegmentPool::Lease input;
  int64_t input_bytes = 0, rows = 0;
  std::vector<int64_t> groups;  // rows of each group that the function gets alone; empty: all at once
  int64_t output_bytes_guess = 0;
  int64_t partition = -1, first_row = -1, last_row = -1;  // for people
  CancelToken cancel;
  std::function<void(WorkerAnswer)> done;  // once, from the pool's thread; brief
};

class ProcessPool {
 public:
  explicit ProcessPool(ProcessPoolOptions options);
  ~ProcessPool();  // what is under way ends as cancelled; no process is left
  ProcessPool(const ProcessPool&) = delete;
  ProcessPool& operator=(const ProcessPool&) = delete;

  void Submit(WorkerJob job);
  SegmentPool* segments() const;
  std::vector<InFlight> Slowest(int n) const;

 private:
  class Loop;
  std::shared_ptr<Loop> loop_;  // its thread has it too: an answer may be what ends the last use of the pool
};

}  // namespace partita
