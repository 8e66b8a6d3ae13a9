// Batches as Arrow IPC streams in shared memory: into a piece with one copy, out of it with none.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "components/python/segment_pool.h"
#include "partita/block/block.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

struct EncodedBatch {
  SegmentPool::Lease lease;
  int64_t bytes = 0;
};

// Thread-safe.
class BatchEncoder {
 public:
  // For batches of `schema`. Those of another are encoded, too, but its head is made anew for each.
  static Result<BatchEncoder> Make(std::shared_ptr<arrow::Schema> schema);
  Result<EncodedBatch> Encode(const arrow::RecordBatch& batch, SegmentPool* segments,
                              arrow::MemoryPool* pool) const;

 private:
  explicit BatchEncoder(std::shared_ptr<arrow::Schema> schema) : schema_(std::move(schema)) {}

  std::shared_ptr<arrow::Schema> schema_;
  std::string head_;  // the stream up to its first batch; "": dictionaries come before that
};

// The batch of `schema` in the first `bytes` of a piece: checked, since a user's code wrote it. Its buffers
// keep the lease, unless `copies`: then they are `pool`'s.
Result<std::shared_ptr<arrow::RecordBatch>> DecodeBatch(const SegmentPool::Lease& lease, int64_t bytes,
                                                        const std::shared_ptr<arrow::Schema>& schema,
                                                        bool copies, arrow::MemoryPool* pool);

// The bytes of `schema` as an IPC message, for a worker.
Result<std::string> EncodeSchema(const arrow::Schema& schema);

}  // namespace partita
