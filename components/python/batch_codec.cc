#include "components/python/batch_codec.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/api.h>

#include <cstring>

namespace partita {
namespace {

arrow::ipc::IpcWriteOptions WriteOptions(arrow::MemoryPool* pool) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.memory_pool = pool;
  options.alignment = 64;
  options.use_threads = false;
  return options;
}

Status WriteStream(const arrow::RecordBatch& batch, arrow::io::OutputStream* out, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto writer, arrow::ipc::MakeStreamWriter(out, batch.schema(), WriteOptions(pool)));
  ARROW_RETURN_NOT_OK(writer->WriteRecordBatch(batch));
  return writer->Close();
}

// A part of a piece: keeps the lease as long as anybody looks at it.
class LeasedBuffer final : public arrow::Buffer {
 public:
  LeasedBuffer(SegmentPool::Lease lease, int64_t bytes)
      : arrow::Buffer(lease->memory->data(), bytes), lease_(std::move(lease)) {}

 private:
  SegmentPool::Lease lease_;
};

}  // namespace

Result<EncodedBatch> EncodeBatch(const arrow::RecordBatch& batch, SegmentPool* segments,
                                 arrow::MemoryPool* pool) {
  arrow::io::MockOutputStream measure;
  ARROW_RETURN_NOT_OK(WriteStream(batch, &measure, pool));
  EncodedBatch out;
  ARROW_ASSIGN_OR_RAISE(out.bytes, measure.Tell());
  ARROW_ASSIGN_OR_RAISE(out.lease, segments->Take(out.bytes));
  arrow::io::FixedSizeBufferWriter writer(
      std::make_shared<arrow::MutableBuffer>(out.lease->memory->data(), out.bytes));
  ARROW_RETURN_NOT_OK(WriteStream(batch, &writer, pool));
  return out;
}

Result<std::shared_ptr<arrow::RecordBatch>> DecodeBatch(const SegmentPool::Lease& lease, int64_t bytes,
                                                        const std::shared_ptr<arrow::Schema>& schema,
                                                        bool copies, arrow::MemoryPool* pool) {
  std::shared_ptr<arrow::Buffer> buffer;
  if (copies) {
    ARROW_ASSIGN_OR_RAISE(buffer, arrow::AllocateBuffer(bytes, pool));
    std::memcpy(buffer->mutable_data(), lease->memory->data(), static_cast<size_t>(bytes));
  } else {
    buffer = std::make_shared<LeasedBuffer>(lease, bytes);
  }
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  ARROW_ASSIGN_OR_RAISE(auto reader, arrow::ipc::RecordBatchStreamReader::Open(
                                         std::make_shared<arrow::io::BufferReader>(buffer), options));
  std::shared_ptr<arrow::RecordBatch> batch;
  ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
  if (batch == nullptr) return BugError("a worker's answer holds no batch");
  if (!batch->schema()->Equals(*schema, /*check_metadata=*/false)) {
    return BugError("a worker's answer has other columns: " + batch->schema()->ToString());
  }
  ARROW_RETURN_NOT_OK(batch->ValidateFull());
  return arrow::RecordBatch::Make(schema, batch->num_rows(), batch->columns());
}

Result<std::string> EncodeSchema(const arrow::Schema& schema) {
  ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::ipc::SerializeSchema(schema));
  return buffer->ToString();
}

}  // namespace partita
