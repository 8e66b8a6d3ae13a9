// The state of one running task: reading, tickets, lanes to the sinks, and what it waits for. All methods
// marked [locked] are called with the pool's mutex held; Execute runs without it. See ARCHITECTURE.md, "The
// life of a block".
//
//   task_claim.cc  what to do next            task_run.cc   opening, reading, steps, the end
//   task_book.cc   what became of it          task_lanes.cc where rows leave a segment: sinks, batches,
//   quarantine
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "partita/execute/batcher.h"
#include "partita/execute/task.h"
#include "partita/execute/ticket.h"

namespace partita {

class WorkerPool;

struct Action {
  enum class Kind { kNone, kOpen, kRead, kProcess, kConsume, kFinish, kEnd } kind = Kind::kNone;
  std::shared_ptr<Ticket> ticket;
  int lane = -1;
  // Set by Execute, read by Complete.
  Status result;
  bool started_async = false;
  int64_t most_batches = 0;  // of a lane that cuts batches
  bool partial = false;      // kConsume: the ticket goes on afterwards
};

class TaskRun : public std::enable_shared_from_this<TaskRun> {
 public:
  TaskRun(TaskInit init, WorkerPool* pool, int64_t age);
  ~TaskRun();

  // [locked] The most useful thing to do now, claimed for the caller; kNone: it waits. `oldest`: this is the
  // oldest task, which memory admission never holds back.
  Action Claim(bool oldest, int64_t epoch);
  // Without the lock: does it.
  void Execute(Action* action);
  // [locked] Books the result of Execute.
  void Complete(Action* action);

  // [locked] Asks it to stop: cancelled (status) or preempted.
  void Stop(Status status, bool preempted, bool frugal_next);

  // [locked]
  bool ended() const { return ended_; }
  bool blocked_on_memory() const;
  bool idle() const { return running_ == 0 && async_calls_ == 0; }
  bool frugal() const { return init_.frugal; }
  bool stopping() const { return stopping_; }
  std::pair<WaitReason, StepCounters*> WhyWaiting() const;
  std::string Describe() const;  // for stall reports: step, row

  int64_t age() const { return age_; }
  int stage() const { return init_.program->index(); }
  int64_t partition() const { return init_.partition; }
  const StageProgram& program() const { return *init_.program; }
  const Status& refusal() const { return refusal_; }  // the last refused claim
  TaskEnd TakeEnd() { return std::move(end_); }

 private:
  struct Lane {
    const LaneProgram* program = nullptr;
    std::unique_ptr<Sink> sink;                             // kOutput
    std::optional<Batcher> batcher;                         // kBatches
    std::vector<std::shared_ptr<Ticket>> made;              // kBatches: by Execute, booked by Complete
    std::map<int, std::unique_ptr<Sink>> quarantine_sinks;  // kQuarantine, by node
    std::map<int, int64_t> quarantine_rows;
    std::vector<TaskOutput> quarantined;
    int64_t next_seq = 0;
    bool busy = false, finished = false;
    int64_t limit = -1, rows = 0;
    bool measured = false;  // an exchange: logical bytes are counted
    int64_t bytes = 0;
    size_t block = 0;  // position in the head ticket
    int64_t offset = 0;
    int64_t blocked_epoch = -1;  // memory epoch after it was refused; -1: it was not
    std::vector<OutputFile> files;
    bool saturated() const { return limit >= 0 && rows >= limit; }
  };
  // Tickets of one segment of the stage, by their number in it.
  struct Segment {
    std::deque<std::shared_ptr<Ticket>> ready;        // by seq, oldest first
    std::map<int64_t, std::shared_ptr<Ticket>> done;  // worked on, not yet taken by all lanes
    int64_t next_seq = 0;
    int64_t unretired = 0;
    bool closed = false;  // no more tickets will come
  };
  struct AsyncCall;

  // Execute, by kind.
  Status Open();
  Status Read();
  bool ReadBadRow(const Status& status);
  Status Located(Status status) const;
  Status Process(Action* action);
  void StartAsync(const std::shared_ptr<Ticket>& ticket);
  std::shared_ptr<Ticket> NewTicket(int segment) const;
  Status Consume(const Action& action);
  Status ConsumeBatches(Ticket* ticket, int lane, int64_t most);
  Status TakeBatches(Lane* lane, bool last, int64_t most);
  Status ConsumeQuarantine(Ticket* ticket, Lane* lane);
  Status WriteBlock(Lane* lane, const OperatorContext& ctx, const Block& block);
  Status Finish(int lane);
  Status FinishQuarantine(Lane* lane);
  void End();

  // [locked]
  void AsyncDone(const std::shared_ptr<AsyncCall>& call, Result<std::vector<Block>> result);
  void AsyncComplete(const std::shared_ptr<Ticket>& ticket);
  void Drain();
  void Requeue(const std::shared_ptr<Ticket>& ticket);
  std::string LaneStep(int lane) const;
  void Done(const std::shared_ptr<Ticket>& ticket);
  bool MayRead(bool oldest, int64_t epoch) const;
  bool MayRetry(int64_t blocked_epoch, int64_t bytes, bool oldest, int64_t epoch) const;
  bool AllSaturated() const;
  bool ClaimLane(int lane, bool oldest, int64_t epoch, Action* action);
  bool ClaimTicket(bool oldest, int64_t epoch, Action* action);
  bool HasOutput(const Ticket& ticket, int lane) const;
  bool LaneReady(const Lane& lane) const;
  int64_t BatchesWanted(const Lane& lane) const;
  int64_t Unretired() const;
  void AddTicket(std::shared_ptr<Ticket> ticket);
  void CompleteConsume(Action* action);
  void Refused(const Status& status);
  Lane& lane(int index) { return lanes_[static_cast<size_t>(index)]; }
  Segment& segment(int index) { return segments_[static_cast<size_t>(index)]; }
  size_t outputs() const { return init_.program->stage().outputs.size(); }  // the first lanes
  OperatorContext LaneContext(int lane) const;
  void BookDeltas(const Ticket& ticket, int sign);

  TaskInit init_;
  WorkerPool* pool_;
  const int64_t age_;
  CancelToken cancel_;                     // of the sinks
  CancelToken work_cancel_;                // of the source and the steps
  std::vector<OperatorContext> contexts_;  // by node
  OperatorContext source_context_;

  std::unique_ptr<Source> source_;
  bool opened_ = false, source_busy_ = false;
  int64_t source_blocked_epoch_ = -1;
  int64_t source_bytes_ = 0;
  std::vector<std::shared_ptr<Ticket>> read_;  // made by Read, booked by Complete
  bool read_end_ = false;

  std::deque<Segment> segments_;  // as in the program
  std::deque<Lane> lanes_;        // as in the program

  int running_ = 0;        // actions being executed
  int async_calls_ = 0;    // not yet answered
  bool draining_ = false;  // every lane has what it wants: what is on its way is dropped
  bool stopping_ = false, ending_ = false, ended_ = false;
  bool preempted_ = false, frugal_next_ = false;
  Status status_;
  Status refusal_;
  std::vector<NodeDelta> totals_;
  TaskEnd end_;
};

}  // namespace partita
