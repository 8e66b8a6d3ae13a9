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
enum FrameKind : uint32_t { kSchemaFrame = 1, kBatchFrame = 2, kEndFrame = 3 };

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

Result<std::unique_ptr<FramedFileWriter>> FramedFileWriter::Open(
    Env* env, const std::string& path, const std::shared_ptr<arrow::Schema>& schema) {
  auto writer = std::unique_ptr<FramedFileWriter>(new FramedFileWriter());
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
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::ipc::SerializeRecordBatch(batch, options));
  ARROW_RETURN_NOT_OK(WriteFrame(kBatchFrame, batch.num_rows(), buffer->data(), buffer->size()));
  rows_ += batch.num_rows();
  return Status::OK();
}

Status FramedFileWriter::Close() {
  ARROW_RETURN_NOT_OK(WriteFrame(kEndFrame, rows_, nullptr, 0));
  return stream_->Close();
}

Result<std::unique_ptr<FramedFileReader>> FramedFileReader::Open(Env* env, const std::string& path,
                                                                 arrow::MemoryPool* pool, int64_t first_row,
                                                                 int64_t num_rows) {
  auto reader = std::unique_ptr<FramedFileReader>(new FramedFileReader());
  reader->path_ = path;
  reader->pool_ = pool;
  reader->skip_rows_ = first_row;
  reader->rows_left_ = num_rows;
  ARROW_ASSIGN_OR_RAISE(reader->file_, env->OpenRead(path));
  ARROW_ASSIGN_OR_RAISE(reader->size_bytes_, reader->file_->GetSize());
  char magic[sizeof kMagic + sizeof(FrameHeader)];
  ARROW_ASSIGN_OR_RAISE(int64_t got, reader->file_->ReadAt(0, sizeof magic, magic));
  if (got != sizeof magic || std::memcmp(magic, kMagic, sizeof kMagic) != 0)
    return Damaged(path, "no header");
  FrameHeader header;
  std::memcpy(&header, magic + sizeof kMagic, sizeof header);
  if (header.magic != kFrameMagic || header.kind != kSchemaFrame || header.length <= 0 ||
      header.length > reader->size_bytes_ - static_cast<int64_t>(sizeof magic)) {
    return Damaged(path, "no schema");
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(header.length, pool));
  ARROW_ASSIGN_OR_RAISE(got, reader->file_->ReadAt(sizeof magic, header.length, buffer->mutable_data()));
  if (got != header.length || Checksum64(buffer->data(), got, 0) != header.checksum)
    return Damaged(path, "schema checksum");
  arrow::io::BufferReader input(buffer);
  arrow::ipc::DictionaryMemo memo;
  ARROW_ASSIGN_OR_RAISE(reader->schema_, arrow::ipc::ReadSchema(&input, &memo));
  reader->position_ = static_cast<int64_t>(sizeof magic) + header.length;
  return reader;
}

FramedFileReader::~FramedFileReader() = default;

Result<std::shared_ptr<arrow::RecordBatch>> FramedFileReader::Next() {
  while (rows_left_ > 0) {
    FrameHeader header;
    ARROW_ASSIGN_OR_RAISE(int64_t got, file_->ReadAt(position_, sizeof header, &header));
    if (got != sizeof header || header.magic != kFrameMagic) return Damaged(path_, "torn frame");
    if (header.kind == kEndFrame) return nullptr;
    const int64_t body = position_ + static_cast<int64_t>(sizeof header);
    if (header.kind != kBatchFrame || header.length < 0 || header.length > size_bytes_ - body ||
        header.rows < 0) {
      return Damaged(path_, "bad frame");
    }
    if (header.rows <= skip_rows_) {
      skip_rows_ -= header.rows;
      position_ = body + header.length;
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(header.length, pool_));
    ARROW_ASSIGN_OR_RAISE(got, file_->ReadAt(body, header.length, buffer->mutable_data()));
    if (got != header.length ||
        Checksum64(buffer->data(), got, static_cast<uint64_t>(header.rows)) != header.checksum) {
      return Damaged(path_, "checksum");
    }
    arrow::io::BufferReader input(buffer);
    arrow::ipc::DictionaryMemo memo;
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool_;
    options.use_threads = false;
    ARROW_ASSIGN_OR_RAISE(auto batch, arrow::ipc::ReadRecordBatch(schema_, &memo, options, &input));
    position_ = body + header.length;
    if (skip_rows_ > 0) {
      batch = batch->Slice(skip_rows_);
      skip_rows_ = 0;
    }
    if (batch->num_rows() > rows_left_) batch = batch->Slice(0, rows_left_);
    rows_left_ -= batch->num_rows();
    if (batch->num_rows() > 0) return batch;
  }
  return nullptr;
}

}  // namespace partita
