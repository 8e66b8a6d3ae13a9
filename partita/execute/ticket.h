// A ticket: some rows of one task on their way through a segment of the stage, from its root to its lanes.
// Tickets are worked on in any order by any thread; what they leave is taken by the sinks in ticket order. A
// ticket's results are lists, so that a refused or failed call is undone by cutting the lists back.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "partita/execute/stage_program.h"

namespace partita {

struct RowError {
  int node = 0;  // -1: the source
  int64_t ordinal = 0;
  Status status;
  bool quarantined = false;  // still to be written to the quarantine
  std::shared_ptr<arrow::RecordBatch>
      row;  // the step's input row; null for rows that the source (node -1) cannot parse
};

struct NodeDelta {
  int64_t rows_in = 0, rows_out = 0, bytes_out = 0, skipped = 0, quarantined = 0, busy_ns = 0;
};

struct Ticket {
  int64_t seq = 0;  // in its segment
  int segment = 0;
  struct Item {
    int point = -1;  // rows that leave this node (-1: the source)
    Block block;
    bool at_node = false;  // true: rows that enter node `point` (a part that was refused or is asynchronous)
  };
  std::vector<Item> items;                  // still to be worked on, in order
  std::vector<Item> waiting;                // for asynchronous steps; results replace them in order
  std::vector<std::vector<Block>> outputs;  // by lane
  std::vector<RowError> errors;
  std::vector<NodeDelta> deltas;  // [0] source, [n + 1] node n
  int async_pending = 0;
  int lanes_left = 0;
  int draining = 0;  // lanes that take what it has so far, while it is refused
  int64_t rows = 0;
  int64_t blocked_epoch = -1;  // memory epoch in which it was refused; -1: it was not
  int64_t bytes = 0;           // of its items when it was made
  int64_t first_ordinal = -1;
  std::vector<std::shared_ptr<void>> calls;  // asynchronous calls that have ended
};

// Runs a ticket's items through the synchronous steps, depth first. Stops at asynchronous steps
// (ticket.waiting). On refusal the items that are left stay in the ticket and the status is OutOfMemory.
class TicketRunner {
 public:
  TicketRunner(const StageProgram* program, const std::vector<OperatorContext>* contexts, Env* env,
               Ticket* ticket);

  Status Run();
  // Applies the step's on_error to one bad row. Non-OK: the run fails with it. Also for rows that an
  // asynchronous step reports.
  Status AddRowError(int node, const Block& input, int64_t row, const Status& error);
  // The step that runs now, for stall reports.
  int current_node() const { return current_; }

 private:
  struct Mark;
  class Output;
  class Errors;
  Status Deliver(int point, Block block);
  Status RunNode(int node, const Block& block);
  Status RunSlice(int node, const Block& block);
  Mark Save() const;
  void Rollback(const Mark& mark);
  void SwitchTo(int node);

  const StageProgram* program_;
  const std::vector<OperatorContext>* contexts_;
  Env* env_;
  Ticket* ticket_;
  int current_ = -1;
  int64_t since_ns_ = 0;
};

}  // namespace partita
