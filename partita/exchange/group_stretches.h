// Tables of groups that outlive their tasks: where a partition of a stage is done, and the one behind it
// comes next in the same process, its rows come to the table that there is, instead of to a new one with
// nearly the same groups. One of these for each input of an exchange (decision 0023).
//
// The share of such a stretch of partitions is its first partition's; those behind it have none. It is in
// memory, or in a file that no later run believes. Nothing that goes wrong spoils a table: what an attempt of
// a task has brought to it stays, and the next attempt brings the rows behind (law 1: the same rows in the
// same order).
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "partita/operator/operator.h"

namespace partita {

class ExchangeMemory;
class GroupWriter;

struct GroupStretch {
  GroupStretch();
  GroupStretch(GroupStretch&&) noexcept;
  GroupStretch& operator=(GroupStretch&&) noexcept;
  ~GroupStretch();

  std::unique_ptr<GroupWriter> writer;
  int64_t first = 0;      // partition
  int64_t committed = 0;  // partitions whose rows are in it
  int64_t rows = 0;       // … and rows of the one behind these
  int64_t task_ns = 0;    // of its longest task
};

class GroupStretches {
 public:
  explicit GroupStretches(std::shared_ptr<ExchangeMemory> memory);
  ~GroupStretches();

  // For a task's sink. None: nobody left a table for this partition, or more may not be lost.
  std::optional<GroupStretch> Begin(int64_t partition);
  // The task has ended, well or not.
  void Leave(int64_t partition, GroupStretch stretch);
  // `may_follow`: the partition behind it is still to be done.
  void OnCommit(int64_t partition, bool may_follow, const OperatorContext& ctx);

  // For readers, once all tasks are committed. No table is open then; may be called again after OutOfMemory.
  Status Close(const OperatorContext& ctx);
  // Are the rows of a committed partition in the share of another one, before it?
  bool IsElsewhere(int64_t partition) const;

  // Tables that no task is at go to files, until so many bytes are free; returns the bytes.
  Result<int64_t> GiveBack(int64_t bytes, const OperatorContext& ctx);

 private:
  void End(GroupStretch stretch, const OperatorContext& ctx);

  const std::shared_ptr<ExchangeMemory> memory_;
  mutable std::mutex mutex_;
  std::vector<bool> begun_;                   // by partition
  std::map<int64_t, GroupStretch> open_;      // by the partition that goes on in it
  std::map<int64_t, GroupStretch> left_;      // by the partition that is not committed
  std::vector<GroupStretch> ended_;           // that could not be closed yet
  std::map<int64_t, int64_t> last_of_first_;  // partitions, of stretches of more than one
};

}  // namespace partita
