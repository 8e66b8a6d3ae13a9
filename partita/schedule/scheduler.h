// The scheduler: (state, event, now) -> instructions. A value with one pure step function: no thread, clock,
// file or random number, so every failure replays from a seed (tests/sim). It decides which tasks start, are
// retried, cancelled or no longer needed, and when the run ends; an engine carries that out and tells what
// happened.
//
// State is O(partitions). Each Step costs O(instructions) amortised.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <vector>

#include "partita/base/error.h"
#include "partita/schedule/stretches.h"

namespace partita {

struct TaskId {
  int stage = 0;
  int64_t partition = 0;
  auto operator<=>(const TaskId&) const = default;
};

// The shape of a plan that scheduling needs; made from it by MakeStageGraph (schedule/stage_graph.h).
struct StageGraph {
  struct Stage {
    int64_t partitions = -1;  // -1: known when its exchanges are complete
    int reads_exchange = -1;
    struct Output {
      bool exchange = false;
      int target = -1;
      int input_index = 0;
    };
    std::vector<Output> outputs;
    int also_reads = -1;  // a join: the exchange of its right side, `reads_exchange` being the left one
    std::vector<int> tables =
        {};  // exchanges that must be complete before it starts; no cut follows from them
    // Neighbours had better follow each other: what a task made, the one behind it goes on with.
    bool in_stretches = false;

    bool Reads(int exchange) const {
      return reads_exchange == exchange || also_reads == exchange ||
             std::find(tables.begin(), tables.end(), exchange) != tables.end();
    }
  };
  struct Target {        // a sink or an exchange
    int64_t limit = -1;  // rows of its first inputs, in all: with so many, the others need not run
    int64_t rows_per_partition = -1;  // exchanges: rebalance
    bool exchange = false;
    // Exchanges: a fixed number of partitions, or one for so many logical bytes; -1: neither.
    int64_t partitions = -1;
    int64_t partition_bytes = -1;
  };
  std::vector<Stage> stages;
  std::vector<Target> sinks, exchanges;
};

struct SchedulerOptions {
  int max_running_tasks = 4;
  int max_stretches = std::numeric_limits<int>::max();  // at once, of each stage that is done in stretches
  int max_attempts = 3;                                 // of a task that fails retriably
  int64_t backoff_ms = 200;                             // doubles with each attempt
};

struct SchedulerEvent {
  enum class Kind {
    kTaskCommitted,  // rows, bytes: by output of its stage
    kTaskFailed,     // status
    kTaskPreempted,  // gave its memory back, or lost what it reads; runs again, not an attempt
    kOutputsLost,    // tasks: what these committed tasks left for exchanges is gone
    kTick,           // time passed
    kCapacity,       // max_running = how many tasks may run now
    kCancel,
  } kind = Kind::kTick;
  TaskId task;
  std::vector<int64_t> rows;
  Status status;
  int max_running = 0;
  std::vector<int64_t> bytes = {};  // logical bytes, as `rows`; empty: none of them is known, nor needed
  std::vector<TaskId> tasks = {};
};

struct Instruction {
  enum class Kind {
    kStartTask,
    kCancelTask,  // no longer needed (a limit is satisfied, or the run fails)
    kRetryLater,  // told for the record: the task failed and will start again
    kRedoTask,    // told for the record: a committed task counts no longer, and will start again
    kRecallTask,  // what it reads is gone for now: where it was not begun, tell that it was preempted
    kFinishRun,   // every task is done or not needed
    kFailRun,     // status
  } kind = Kind::kStartTask;
  TaskId task;
  int attempt = 0;
  Status status;
};

class Scheduler {
 public:
  Scheduler(StageGraph graph, SchedulerOptions options);

  // A task that an earlier run committed. Only before Start.
  void Restore(TaskId task, const std::vector<int64_t>& rows, const std::vector<int64_t>& bytes = {});
  std::vector<Instruction> Start(int64_t now_ms);
  std::vector<Instruction> Step(const SchedulerEvent& event, int64_t now_ms);
  // When the next kTick is due; INT64_MAX: never.
  int64_t next_tick_ms() const;

  int64_t partitions_of(int stage) const { return stages_[static_cast<size_t>(stage)].partitions; }
  int64_t tasks_total() const;  // known so far
  int64_t tasks_done() const { return done_; }
  bool finished() const { return finished_; }
  // Is all there that its tasks read? Not for ever: see kOutputsLost.
  bool IsReady(int stage) const { return stages_[static_cast<size_t>(stage)].ready; }
  bool IsComplete(int exchange) const { return ExchangeComplete(exchange); }
  // Was this task's output made and is it needed? (False for tasks skipped by a limit.)
  bool IsDone(TaskId task) const;

 private:
  enum class TaskState : uint8_t { kPending, kRunning, kWaiting, kDone, kSkipped };
  struct Stage {
    int64_t partitions = -1;
    int64_t next = 0;                    // first partition not yet looked at
    std::optional<Stretches> stretches;  // instead of `next`, once it is ready
    int running = 0;                     // tasks
    int64_t done = 0;
    bool ready = false;
    std::vector<TaskState> state;
    std::map<int64_t, int> attempts;  // of partitions that failed
    // Preempted or due again, the lowest partition first.
    std::priority_queue<int64_t, std::vector<int64_t>, std::greater<>> again;
  };
  // Rows of a limited target, counted along the done prefix of its input partitions.
  struct Prefix {
    struct Input {
      int stage = -1;
      int output = -1;
    };
    std::vector<Input> inputs;
    size_t input = 0;
    int64_t partition = 0;
    int64_t rows = 0;
    bool satisfied = false;
    std::vector<std::map<int64_t, int64_t>> done_rows;  // by input: rows of done partitions beyond the prefix
  };

  void Count(TaskId task, const std::vector<int64_t>& rows, const std::vector<int64_t>& bytes);
  void Advance(Prefix* prefix, const StageGraph::Target& target);
  void SkipUnneeded(std::vector<Instruction>* out);
  void OpenStages();
  void Fill(std::vector<Instruction>* out, int64_t now_ms);
  int64_t NextOf(size_t stage);
  bool StageComplete(int stage) const;
  bool ExchangeComplete(int exchange) const;
  bool ReadersDone(int exchange) const;
  void TakeBack(const std::vector<TaskId>& lost, std::vector<Instruction>* out);
  void Close(int exchange, std::vector<Instruction>* out);
  void CountLate(TaskId task);
  void Fail(const Status& status, std::vector<Instruction>* out);
  Prefix* PrefixOf(const StageGraph::Stage::Output& output);

  StageGraph graph_;
  SchedulerOptions options_;
  std::vector<Stage> stages_;
  std::vector<Prefix> sink_prefix_, exchange_prefix_;
  std::vector<int64_t> exchange_rows_, exchange_bytes_;
  std::set<TaskId> counted_;  // taken back, and done again soon: their rows are in the counts above
  struct Due {
    int64_t at_ms;
    TaskId task;
    bool operator>(const Due& other) const { return at_ms > other.at_ms; }
  };
  std::priority_queue<Due, std::vector<Due>, std::greater<>> due_;
  int running_ = 0;
  int64_t done_ = 0;
  bool started_ = false, finished_ = false, failed_ = false;
};

}  // namespace partita
