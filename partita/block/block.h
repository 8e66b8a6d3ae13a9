// The unit of flow: an Arrow record batch, where its rows come from, and its size. Values; cheap to copy
// (shared buffers).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class Array;
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

// Ordinals of a block's rows in the partition of the stage's source: a range, or an explicit ascending list
// after a filter. (partition, ordinal) is the row position; with the partition's fragment it is also the
// source coordinate of an error.
class RowOrdinals {
 public:
  RowOrdinals() = default;
  static RowOrdinals Range(int64_t first, int64_t count);
  static RowOrdinals List(std::vector<int64_t> ordinals);

  int64_t size() const { return count_; }
  int64_t At(int64_t i) const { return list_ ? (*list_)[static_cast<size_t>(offset_ + i)] : first_ + i; }
  RowOrdinals Slice(int64_t offset, int64_t count) const;
  // Rows `indices` of this, in that order.
  RowOrdinals Take(const std::vector<int64_t>& indices) const;

 private:
  int64_t first_ = 0;
  int64_t count_ = 0;
  int64_t offset_ = 0;
  std::shared_ptr<const std::vector<int64_t>> list_;
};

struct Block {
  std::shared_ptr<arrow::RecordBatch> batch;
  RowOrdinals ordinals;  // size() == batch->num_rows()

  int64_t num_rows() const;
  Block Slice(int64_t offset, int64_t count) const;  // no copy
};

// Bytes of memory the block keeps alive, shared buffers counted once: what scheduling uses. Not a semantic
// size.
int64_t BufferBytes(const arrow::RecordBatch& batch);

// Takes the memory of a batch that the caller gets out of its budget (memory/budget.h).
void DetachToCaller(const arrow::RecordBatch& batch);

// Copies a batch whose buffers are much larger than its slice (factor 2 and 64 KiB), so that a small slice
// does not keep a large buffer alive; else returns it as it is.
Result<std::shared_ptr<arrow::RecordBatch>> Compact(std::shared_ptr<arrow::RecordBatch> batch,
                                                    arrow::MemoryPool* pool);

}  // namespace partita
