#include "components/python/batch_codec.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/api.h>
#include <arrow/ipc/dictionary.h>

#include <cstring>
#include <string_view>

namespace partita {
namespace {

constexpr int32_t kAlignment = 64;
constexpr int64_t kMostPadding = 4 * kAlignment;
// Of an IPC stream: a message of no bytes.
constexpr std::string_view kEndMarker("\xff\xff\xff\xff\0\0\0\0", 8);

arrow::ipc::IpcWriteOptions WriteOptions(arrow::MemoryPool* pool) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  if (pool != nullptr) options.memory_pool = pool;
  options.alignment = kAlignment;
  options.use_threads = false;
  return options;
}

Status WriteStream(const arrow::RecordBatch& batch, arrow::io::OutputStream* out, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto writer, arrow::ipc::MakeStreamWriter(out, batch.schema(), WriteOptions(pool)));
  ARROW_RETURN_NOT_OK(writer->WriteRecordBatch(batch));
  return writer->Close();
}

// A batch whose stream's size nobody knows before it is written.
Result<EncodedBatch> EncodeStream(const arrow::RecordBatch& batch, SegmentPool* segments,
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

// A part of a piece: keeps the lease as long as anybody looks at it.
class LeasedBuffer final : public arrow::Buffer {
 public:
  LeasedBuffer(SegmentPool::Lease lease, int64_t bytes)
      : arrow::Buffer(lease->memory->data(), bytes), lease_(std::move(lease)) {}

 private:
  SegmentPool::Lease lease_;
};

}  // namespace

Result<BatchEncoder> BatchEncoder::Make(std::shared_ptr<arrow::Schema> schema) {
  BatchEncoder encoder(std::move(schema));
  arrow::ipc::DictionaryFieldMapper dictionaries(*encoder.schema_);
  if (dictionaries.num_fields() > 0) return encoder;
  ARROW_ASSIGN_OR_RAISE(auto out, arrow::io::BufferOutputStream::Create());
  ARROW_ASSIGN_OR_RAISE(auto writer,
                        arrow::ipc::MakeStreamWriter(out.get(), encoder.schema_, WriteOptions(nullptr)));
  ARROW_RETURN_NOT_OK(writer->Close());
  ARROW_ASSIGN_OR_RAISE(auto whole, out->Finish());
  encoder.head_ = whole->ToString();
  encoder.head_.resize(encoder.head_.size() - kEndMarker.size());
  return encoder;
}

Result<EncodedBatch> BatchEncoder::Encode(const arrow::RecordBatch& batch, SegmentPool* segments,
                                          arrow::MemoryPool* pool) const {
  if (head_.empty() || !batch.schema()->Equals(*schema_)) return EncodeStream(batch, segments, pool);
  const auto options = WriteOptions(pool);
  arrow::ipc::IpcPayload payload;
  ARROW_RETURN_NOT_OK(arrow::ipc::GetRecordBatchPayload(batch, options, &payload));
  const int64_t most = static_cast<int64_t>(head_.size() + kEndMarker.size()) + payload.metadata->size() +
                       payload.body_length + kMostPadding;
  EncodedBatch out;
  ARROW_ASSIGN_OR_RAISE(out.lease, segments->Take(most));
  arrow::io::FixedSizeBufferWriter writer(
      std::make_shared<arrow::MutableBuffer>(out.lease->memory->data(), most));
  ARROW_RETURN_NOT_OK(writer.Write(head_.data(), static_cast<int64_t>(head_.size())));
  int32_t metadata_bytes = 0;
  ARROW_RETURN_NOT_OK(arrow::ipc::WriteIpcPayload(payload, options, &writer, &metadata_bytes));
  ARROW_RETURN_NOT_OK(writer.Write(kEndMarker.data(), static_cast<int64_t>(kEndMarker.size())));
  ARROW_ASSIGN_OR_RAISE(out.bytes, writer.Tell());
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
