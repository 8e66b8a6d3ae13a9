// Cuts the rows of a partition, given block by block, in batches of exactly `batch_rows`, or where a cutter
// says: what a step sees follows from its input alone, never from blocks (law 1).
#pragma once

#include <cstdint>
#include <deque>
#include <memory>

#include "partita/base/error.h"
#include "partita/block/block.h"
#include "partita/operator/operator.h"

namespace partita {

class Batcher {
 public:
  explicit Batcher(int64_t batch_rows, std::unique_ptr<BatchCutter> cutter = nullptr)
      : batch_rows_(batch_rows), cutter_(std::move(cutter)) {}

  // After an error, which only a cutter has, nothing has changed.
  Status Add(const Block& block);
  // Whether there is a batch. `last`: no more rows will come, so that a short one is right.
  bool Has(bool last) const {
    return (cutter_ ? !ends_.empty() : rows_ >= batch_rows_) || (last && rows_ > 0);
  }
  // The next batch: a slice where one block has it all, else put together in `pool`. After a refusal nothing
  // has changed.
  Result<Block> Take(arrow::MemoryPool* pool);

 private:
  const int64_t batch_rows_;
  const std::unique_ptr<BatchCutter> cutter_;
  std::deque<int64_t> ends_;  // of batches, in rows of the partition
  int64_t taken_ = 0;         // rows of the partition that were taken
  std::deque<Block> blocks_;
  int64_t rows_ = 0;
};

}  // namespace partita
