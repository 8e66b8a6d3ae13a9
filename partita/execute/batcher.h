// Cuts the rows of a partition, given block by block, in batches of exactly `batch_rows`: what a step sees
// follows from its input alone, never from blocks (law 1).
#pragma once

#include <cstdint>
#include <deque>

#include "partita/base/error.h"
#include "partita/block/block.h"

namespace partita {

class Batcher {
 public:
  explicit Batcher(int64_t batch_rows) : batch_rows_(batch_rows) {}

  void Add(Block block);
  // Whether there is a batch. `last`: no more rows will come, so that a short one is right.
  bool Has(bool last) const { return rows_ >= batch_rows_ || (last && rows_ > 0); }
  // The next batch: a slice where one block has it all, else put together in `pool`. After a refusal nothing
  // has changed.
  Result<Block> Take(arrow::MemoryPool* pool);

 private:
  const int64_t batch_rows_;
  std::deque<Block> blocks_;
  int64_t rows_ = 0;
};

}  // namespace partita
