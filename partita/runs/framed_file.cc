#include "partita/runs/framed_file.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/api.h>

#include <cstring>

#include "partita/base/digest.h"

namespace partita {
namespace {

constexpr char kMagic[4] = {'P', 'X', 'F', '1'};
constexpr uint32_t kFrameMagic = 0x31465850;
enum FrameKind : uint32_t { kSchemaFrame = 1, kBatchFrame = 2, kEndFrame = 3, kDictionaryFrame = 4 };

struct FrameHeader {
  uint32_t magic = kFrameMagic;
  uint32_t kind = 0;
  int64_t rows = 0;
  int64_t length = 0;
  uint64_t checksum = 0;
};
static_assert(sizeof(FrameHeader) == 32);

Status Damaged(const std::string& path, std::string_view what) {
  return WithContext(
      EnvironmentError("a spilled or exchanged file is damaged: " + std::string(what),
                       "check the disk; the same command redoes the lost work", /*retriable=*/false),
      {.file = path});
}

}  // namespace

// What Arrow's stream writer says, as frames.
class FramedFileWriter::Frames final : public arrow::ipc::internal::IpcPayloadWriter {
 public:
  Frames(FramedFileWriter* file, arrow::ipc::IpcWriteOptions options)
      : file_(file), options_(std::move(options)) {}

  Status WritePayload(const arrow::ipc::IpcPayload& payload) override {
    const bool is_batch = payload.type == arrow::ipc::MessageType::RECORD_BATCH;
    if (!is_batch && payload.type != arrow::ipc::MessageType::DICTIONARY_BATCH) return Status::OK();
    const int64_t size = arrow::ipc::GetPayloadSize(payload, options_);
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(size, options_.memory_pool));
    arrow::io::FixedSizeBufferWriter out(buffer);
    int32_t metadata_length = 0;
    ARROW_RETURN_NOT_OK(arrow::ipc::WriteIpcPayload(payload, options_, &out, &metadata_length));
    return is_batch ? file_->WriteFrame(kBatchFrame, file_->batch_rows_, buffer->data(), size)
                    : file_->WriteFrame(kDictionaryFrame, 0, buffer->data(), size);
  }
  Status Close() override { return Status::OK(); }

 private:
  FramedFileWriter* file_;
  arrow::ipc::IpcWriteOptions options_;
};

Result<std::unique_ptr<FramedFileWriter>> FramedFileWriter::Open(
    Env* env, const std::string& path, const std::shared_ptr<arrow::Schema>& schema) {
  auto writer = std::unique_ptr<FramedFileWriter>(new FramedFileWriter());
  writer->schema_ = schema;
  ARROW_ASSIGN_OR_RAISE(writer->stream_, env->OpenWrite(path));
  ARROW_RETURN_NOT_OK(writer->stream_->Write(kMagic, sizeof kMagic));
  writer->size_bytes_ = sizeof kMagic;
  ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::ipc::SerializeSchema(*schema));
  ARROW_RETURN_NOT_OK(writer->WriteFrame(kSchemaFrame, 0, buffer->data(), buffer->size()));
  return writer;
}

FramedFileWriter::~FramedFileWriter() {
  if (stream_ && !stream_->closed()) (void)stream_->Close();
}

Status FramedFileWriter::WriteFrame(uint32_t kind, int64_t rows, const void* data, int64_t size) {
  FrameHeader header;
  header.kind = kind;
  header.rows = rows;
  header.length = size;
  header.checksum = Checksum64(data, size, static_cast<uint64_t>(rows));
  ARROW_RETURN_NOT_OK(stream_->Write(&header, sizeof header));
  if (size > 0) ARROW_RETURN_NOT_OK(stream_->Write(data, size));
  size_bytes_ += static_cast<int64_t>(sizeof header) + size;
  return Status::OK();
}

Status FramedFileWriter::Write(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) {
  if (messages_ == nullptr) {
    auto options = arrow::ipc::IpcWriteOptions::Defaults();
    options.memory_pool = pool;
    options.use_threads = false;
    ARROW_ASSIGN_OR_RAISE(messages_, arrow::ipc::internal::OpenRecordBatchWriter(
                                         std::make_unique<Frames>(this, options), schema_, options));
  }
  batch_rows_ = batch.num_rows();
  // Under the file's schema: one that differs in what is no type (metadata) is no other.
  ARROW_RETURN_NOT_OK(
      messages_->WriteRecordBatch(*arrow::RecordBatch::Make(schema_, batch_rows_, batch.columns())));
  rows_ += batch_rows_;
  return Status::OK();
}

Status FramedFileWriter::Close() {
  ARROW_RETURN_NOT_OK(WriteFrame(kEndFrame, rows_, nullptr, 0));
  return stream_->Close();
}

struct FramedFileReader::Frame {
  FrameHeader header;
  std::shared_ptr<arrow::Buffer> payload;  // null: skipped, or the end
};

// The frames as what Arrow's stream reader reads.
class FramedFileReader::Frames final : public arrow::ipc::MessageReader {
 public:
  explicit Frames(FramedFileReader* file) : file_(file) {}

  Result<std::unique_ptr<arrow::ipc::Message>> ReadNextMessage() override {
    while (true) {
      ARROW_ASSIGN_OR_RAISE(auto frame, file_->ReadFrame());
      if (frame.header.kind == kEndFrame) return nullptr;
      if (frame.payload == nullptr) continue;
      arrow::io::BufferReader input(frame.payload);
      ARROW_ASSIGN_OR_RAISE(auto message, arrow::ipc::ReadMessage(&input, file_->pool_));
      if (message == nullptr || message->type() != TypeOf(frame.header.kind))
        return Damaged(file_->path_, "a frame is not what it says");
      return message;
    }
  }

 private:
  static arrow::ipc::MessageType TypeOf(uint32_t kind) {
    return kind == kSchemaFrame       ? arrow::ipc::MessageType::SCHEMA
           : kind == kDictionaryFrame ? arrow::ipc::MessageType::DICTIONARY_BATCH
                                      : arrow::ipc::MessageType::RECORD_BATCH;
  }

  FramedFileReader* file_;
};

Result<std::unique_ptr<FramedFileReader>> FramedFileReader::Open(Env* env, const std::string& path,
                                                                 arrow::MemoryPool* pool, int64_t first_row,
                                                                 int64_t num_rows) {
  auto reader = std::unique_ptr<FramedFileReader>(new FramedFileReader());
  reader->path_ = path;
  reader->pool_ = pool;
  reader->next_row_ = first_row;
  reader->rows_left_ = num_rows;
  ARROW_ASSIGN_OR_RAISE(reader->file_, env->OpenRead(path));
  ARROW_ASSIGN_OR_RAISE(reader->size_bytes_, reader->file_->GetSize());
  char magic[sizeof kMagic];
  ARROW_ASSIGN_OR_RAISE(int64_t got, reader->file_->ReadAt(0, sizeof magic, magic));
  if (got != sizeof magic || std::memcmp(magic, kMagic, sizeof kMagic) != 0)
    return Damaged(path, "no header");
  ARROW_RETURN_NOT_OK(reader->StartOver());
  reader->schema_ = reader->messages_->schema();
  return reader;
}

FramedFileReader::~FramedFileReader() = default;

// Frames before the next row are passed over; their dictionaries are read, because later batches may use
// them.
Status FramedFileReader::StartOver() {
  position_ = sizeof kMagic;
  skip_rows_ = next_row_;
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool_;
  options.use_threads = false;
  ARROW_ASSIGN_OR_RAISE(messages_,
                        arrow::ipc::RecordBatchStreamReader::Open(std::make_unique<Frames>(this), options));
  return Status::OK();
}

Result<FramedFileReader::Frame> FramedFileReader::ReadFrame() {
  Frame frame;
  FrameHeader& header = frame.header;
  ARROW_ASSIGN_OR_RAISE(int64_t got, file_->ReadAt(position_, sizeof header, &header));
  if (got != sizeof header || header.magic != kFrameMagic) return Damaged(path_, "torn frame");
  const bool is_first = position_ == sizeof kMagic;
  if (is_first != (header.kind == kSchemaFrame)) return Damaged(path_, is_first ? "no schema" : "bad frame");
  if (header.kind == kEndFrame) return frame;
  const int64_t body = position_ + static_cast<int64_t>(sizeof header);
  if (header.kind > kDictionaryFrame || header.length <= 0 || header.length > size_bytes_ - body ||
      header.rows < 0) {
    return Damaged(path_, "bad frame");
  }
  if (header.kind == kBatchFrame && header.rows <= skip_rows_) {
    skip_rows_ -= header.rows;
    position_ = body + header.length;
    return frame;
  }
  ARROW_ASSIGN_OR_RAISE(frame.payload, arrow::AllocateBuffer(header.length, pool_));
  ARROW_ASSIGN_OR_RAISE(got, file_->ReadAt(body, header.length, frame.payload->mutable_data()));
  if (got != header.length ||
      Checksum64(frame.payload->data(), got, static_cast<uint64_t>(header.rows)) != header.checksum) {
    return Damaged(path_, "checksum");
  }
  position_ = body + header.length;
  if (header.kind == kBatchFrame) frame_rows_ = header.rows;
  return frame;
}

Result<std::shared_ptr<arrow::RecordBatch>> FramedFileReader::Decode() {
  if (messages_ == nullptr) ARROW_RETURN_NOT_OK(StartOver());
  std::shared_ptr<arrow::RecordBatch> batch;
  ARROW_RETURN_NOT_OK(messages_->ReadNext(&batch));
  if (batch == nullptr) return nullptr;
  if (batch->num_rows() != frame_rows_) return Damaged(path_, "rows");
  if (auto status = batch->Validate(); !status.ok()) return Damaged(path_, status.message());
  return batch;
}

Result<std::shared_ptr<arrow::RecordBatch>> FramedFileReader::Next() {
  while (rows_left_ > 0) {
    auto decoded = Decode();
    // What the decoder holds after a refusal is not known.
    if (!decoded.ok()) messages_.reset();
    ARROW_ASSIGN_OR_RAISE(auto batch, std::move(decoded));
    if (batch == nullptr) return nullptr;
    if (skip_rows_ > 0) {
      batch = batch->Slice(skip_rows_);
      skip_rows_ = 0;
    }
    if (batch->num_rows() > rows_left_) batch = batch->Slice(0, rows_left_);
    next_row_ += batch->num_rows();
    rows_left_ -= batch->num_rows();
    if (batch->num_rows() > 0) return batch;
  }
  return nullptr;
}

}  // namespace partita
