// Batches as Arrow IPC streams in shared memory: into a piece with one copy, out of it with none.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

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
Result<EncodedBatch> EncodeBatch(const arrow::RecordBatch& batch, SegmentPool* segments,
                                 arrow::MemoryPool* pool);

// The batch of `schema` in the first `bytes` of a piece: checked, since a user's code wrote it. Its buffers
// keep the lease, unless `copies`: then they are `pool`'s.
Result<std::shared_ptr<arrow::RecordBatch>> DecodeBatch(const SegmentPool::Lease& lease, int64_t bytes,
                                                        const std::shared_ptr<arrow::Schema>& schema,
                                                        bool copies, arrow::MemoryPool* pool);

// The bytes of `schema` as an IPC message, for a worker.
Result<std::string> EncodeSchema(const arrow::Schema& schema);

}  // namespace partita
