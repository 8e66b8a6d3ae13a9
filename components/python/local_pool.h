// Runs a user's Python function in this process: in one thread, for debuggers (`inline`), or in several, for
// functions that let go of the interpreter's lock (`threads`). The threads are Python's, started and run by
// the bindings; here is what they are handed. Batches lie in the pieces of a segment pool, as they do for
// processes.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "components/python/function_pool.h"
#include "partita/observe/observe.h"

namespace partita {

struct LocalPoolOptions {
  std::string step;
  std::string setup;                           // JSON of what a thread is told first
  std::shared_ptr<const std::string> payload;  // bytes that go with it; may be null
  int threads = 1;
  std::shared_ptr<BudgetPool> pool;
  Observer* observer = nullptr;  // may be null
};

class LocalJobs;

// One batch, for the thread that runs it.
class LocalTask {
 public:
  LocalTask(std::shared_ptr<LocalJobs> of, WorkerJob job);
  ~LocalTask();  // without an answer, that is the answer
  LocalTask(const LocalTask&) = delete;
  LocalTask& operator=(const LocalTask&) = delete;

  const SegmentPool::Lease input;
  const int64_t input_bytes;
  const std::vector<int64_t> groups;

  // A piece for `bytes` bytes of results; waits a little where there is no room.
  Result<SegmentPool::Lease> Output(int64_t bytes);
  void Finish(const Json& words);
  // It takes long: tells people where the function is.
  void TellStuck(const std::string& stack);

 private:
  friend class LocalJobs;
  friend class LocalPool;
  const std::shared_ptr<LocalJobs> jobs_;
  const int64_t started_ns_;
  WorkerJob job_;      // guarded by the jobs' mutex: gone once somebody has answered
  std::string stack_;  // guarded, too
  SegmentPool::Lease output_;
  Status refusal_;
};

// Thread-safe.
class LocalJobs : public std::enable_shared_from_this<LocalJobs> {
 public:
  explicit LocalJobs(LocalPoolOptions options);
  ~LocalJobs();

  const LocalPoolOptions& options() const;
  // For the threads: the next batch; waits for it. Null: there will be none.
  std::shared_ptr<LocalTask> Next();
  bool closed() const;  // there will be none
  // The function cannot be made ready: every batch fails so.
  void Fail(const Status& why);

 private:
  friend class LocalTask;
  friend class LocalPool;
  struct State;
  const std::unique_ptr<State> state_;
};

// Starts `options().threads` threads that take what `Next` gives until that is null. Set by the bindings;
// where nobody did, functions run in processes.
using LocalHost = std::function<Status(std::shared_ptr<LocalJobs>)>;
void SetLocalHost(LocalHost host);
bool HasLocalHost();

class LocalPool final : public FunctionPool {
 public:
  explicit LocalPool(LocalPoolOptions options);
  // A function that runs is waited for by nobody: its thread ends when it returns.
  ~LocalPool() override;
  LocalPool(const LocalPool&) = delete;
  LocalPool& operator=(const LocalPool&) = delete;

  void Submit(WorkerJob job) override;
  SegmentPool* segments() const override;
  std::vector<InFlight> Slowest(int n) const override;

 private:
  const std::shared_ptr<LocalJobs> jobs_;
};

}  // namespace partita
