// What runs a user's Python function on batches that lie in shared memory: worker processes (process_pool.h)
// or threads of this one (local_pool.h).
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "components/python/segment_pool.h"
#include "partita/base/cancel.h"
#include "partita/base/json_fwd.h"
#include "partita/observe/observe.h"
#include "partita/operator/operator.h"

namespace partita {

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
  // In the function; in all, with taking and giving rows; and before, while the worker had nothing to do.
  int64_t function_ns = 0, worker_ns = 0, waiting_ns = 0;
  Status error;
};

struct WorkerJob {
  SegmentPool::Lease input;
  int64_t input_bytes = 0, rows = 0;
  std::vector<int64_t> groups;  // rows of each group that the function gets alone; empty: all at once
  int64_t output_bytes_guess = 0;
  int64_t partition = -1, first_row = -1, last_row = -1;  // for people
  CancelToken cancel;
  std::function<void(WorkerAnswer)> done;  // once, from a thread of the pool; brief
};

class FunctionPool {
 public:
  // What is under way ends as cancelled.
  virtual ~FunctionPool() = default;
  virtual void Submit(WorkerJob job) = 0;
  virtual SegmentPool* segments() const = 0;
  virtual std::vector<InFlight> Slowest(int n) const = 0;
};

// "the Python function at …": where its stack is known, that too.
std::string WhereText(const std::string& stack);
// That a batch takes long.
Event StuckEvent(const std::string& step, const WorkerJob& job, const std::string& stack, double seconds,
                 int64_t now_us);

// What a worker said of a job: {"op": "done" | "bad_rows" | "error" | "memory" | "refused", …}. `output`: the
// piece it was given, if any; `refusal`: why it got none.
WorkerAnswer AnswerOf(const Json& words, SegmentPool::Lease output, const Status& refusal);

}  // namespace partita
