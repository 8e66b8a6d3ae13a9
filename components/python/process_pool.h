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
#include <memory>
#include <string>
#include <vector>

#include "components/python/function_pool.h"
#include "components/python/resource_leases.h"
#include "partita/observe/observe.h"

namespace partita {

class ProcessLoop;

struct ProcessPoolOptions {
  std::string step;
  std::vector<std::string> command;            // that starts the fork server
  std::string setup;                           // JSON of what a worker is told first (python/partita/worker/)
  std::shared_ptr<const std::string> payload;  // bytes that go with it; may be null
  int min_workers = 0, max_workers = 1;
  int64_t memory_bytes =
      0;  // of a worker, beside what it has after its start; 0: as much as it turns out to need
  bool shares_start = false;  // workers may be forked from one that has the function ready
  double gpus = 0;            // of a worker: a share of one, or so many
  Resources resources;        // that a worker holds
  double timeout_s = 0;       // of a batch; 0: none
  std::shared_ptr<BudgetPool> pool;
  Env* env = nullptr;
  Observer* observer = nullptr;  // may be null
};

class ProcessPool final : public FunctionPool {
 public:
  explicit ProcessPool(ProcessPoolOptions options);
  ~ProcessPool() override;  // no process is left
  ProcessPool(const ProcessPool&) = delete;
  ProcessPool& operator=(const ProcessPool&) = delete;

  void Submit(WorkerJob job) override;
  SegmentPool* segments() const override;
  std::vector<InFlight> Slowest(int n) const override;

 private:
  std::shared_ptr<ProcessLoop>
      loop_;  // its thread has it too: an answer may be what ends the last use of the pool
};

}  // namespace partita
