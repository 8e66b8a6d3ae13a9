// Shared memory that goes to worker processes and back: pieces that are used again and again, every byte of
// them inside the budget. A piece has no name in the file system: it is gone with the last process that has
// it mapped.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "partita/base/process.h"
#include "partita/memory/budget.h"

namespace partita {

struct Segment {
  int64_t id = 0;
  std::unique_ptr<SharedMemory> memory;
  Reservation claim;
};

// Thread-safe. Shared: results that are still in use keep it alive.
//
// Pages that are touched for the first time cost more than the batch that is copied to them, here and in the
// workers. So as many pieces stay as were in use at once, up to a share of the budget, until DropIdle.
class SegmentPool : public std::enable_shared_from_this<SegmentPool> {
 public:
  // `most_idle` pieces stay whatever their size.
  SegmentPool(std::shared_ptr<BudgetPool> pool, size_t most_idle);

  // A lease on at least `bytes` bytes; the piece returns when the last copy of the lease dies.
  using Lease = std::shared_ptr<Segment>;
  Result<Lease> Take(int64_t bytes);
  // Somebody else still reads this piece: it is not used again. Its claim is handed over.
  Reservation Abandon(const Lease& lease);
  // Gives the memory of pieces that nobody uses back.
  void DropIdle();
  // The same, if the budget has refused anybody since the last look.
  void DropIdleIfRefused();
  // Ids of pieces that were dropped since `*cursor`, which moves on.
  std::vector<int64_t> DroppedSince(size_t* cursor) const;
  // Bytes in pieces that are leased now, and how many pieces.
  int64_t leased_bytes() const;
  int64_t leased_count() const;
  bool has_idle() const;

 private:
  void Return(std::unique_ptr<Segment> segment);
  void Drop(std::unique_ptr<Segment> segment);  // [locked]

  const std::shared_ptr<BudgetPool> pool_;
  const size_t most_idle_;
  const int64_t most_idle_bytes_;  // of those beyond
  mutable std::mutex mutex_;
  std::vector<std::unique_ptr<Segment>> idle_;
  std::vector<int64_t> dropped_;
  int64_t next_id_ = 1, leased_bytes_ = 0, leased_count_ = 0, idle_bytes_ = 0, refusals_ = 0;
};

}  // namespace partita
