// Rows become states of groups in a table, and the table a run of a share: what a sink of groups does with
// the rows of its task, and may go on doing with the rows of the next one (exchange/group_stretches.h). One
// caller at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "partita/exchange/group_sink.h"

namespace partita {

class RunShare;

class GroupWriter {
 public:
  GroupWriter(GroupSinkInit init, std::shared_ptr<arrow::Schema> key_schema);
  ~GroupWriter();  // what was not finished or kept is removed

  // As Sink::Write.
  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken);
  // Brings what was taken into the states. May be called again after OutOfMemory.
  Status GoOn(const OperatorContext& ctx);
  // As Sink::Finish.
  Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx);

  // Of a writer that goes on with the rows of more than one task:
  // Is all that it took in one table, whose keys repeat? Then more rows may come to it with profit.
  bool is_open() const;
  // Its task has ended: what only the next rows need goes.
  void Rest();
  // As many rows more may stay in memory as of another task.
  void Widen();
  // No more rows come: what it took is for readers of this process (RunShare::Keep). May be called again
  // after OutOfMemory.
  Status Keep(const OperatorContext& ctx);
  // Writes its table to its file; the bytes that this frees.
  Result<int64_t> GiveBack(const OperatorContext& ctx);

 private:
  struct Run;
  struct Scratch;
  // Rows that are taken, but not by all functions: those from `updated` on wait.
  struct Taken {
    std::shared_ptr<arrow::RecordBatch> rows;
    size_t updated = 0;
  };

  Status Begin(const OperatorContext& ctx);
  Status Assign(const std::shared_ptr<arrow::RecordBatch>& chunk, const OperatorContext& ctx);
  Status AssignSomewhere(const std::shared_ptr<arrow::RecordBatch>& chunk, const OperatorContext& ctx);
  Status AssignRows(const arrow::RecordBatch& chunk, const OperatorContext& ctx);
  Status AssignByTable(std::shared_ptr<arrow::RecordBatch> keys, std::span<uint32_t> groups,
                       const OperatorContext& ctx);
  void AddKeys(std::shared_ptr<arrow::RecordBatch> keys);
  Status Grow();
  void Decide();
  void SplitTaken();
  Status Update();
  Status Flush(const OperatorContext& ctx);
  void GatherKeys(const OperatorContext& ctx);
  Status WriteFrame(size_t count, const OperatorContext& ctx);

  const GroupSinkInit init_;
  const std::shared_ptr<arrow::Schema> key_schema_, run_schema_;
  const std::shared_ptr<RunShare> share_;

  std::unique_ptr<Run> run_;
  Reservation cushion_;  // for what writing a frame needs
  std::unique_ptr<Scratch> scratch_;
  std::vector<Taken> taken_;  // the last are the next
  bool is_assigned_ = false;  // scratch_->groups is of those
};

}  // namespace partita
