// Framed files: record batches on local disk, for exchanges and spill. Each frame carries its row count,
// length and checksum, so that a reader skips by rows without decoding and damage is found before it is
// believed. Format: docs/formats/framed_file.md.
//
//   "PXF1" | schema frame | (dictionary frame | batch frame) * | end frame
//   frame = u32 magic, u32 kind, i64 rows, i64 length, u64 xxh3, payload
//
// A dictionary is written when it differs from the last one of its column; batches after it use it.
//
// One thread at a time each. Memory from the given pool.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "partita/base/env.h"
#include "partita/base/error.h"

namespace arrow {
class MemoryPool;
class RecordBatch;
class RecordBatchReader;
class Schema;
namespace ipc {
class RecordBatchWriter;
}  // namespace ipc
}  // namespace arrow

namespace partita {

class FramedFileWriter {
 public:
  static Result<std::unique_ptr<FramedFileWriter>> Open(Env* env, const std::string& path,
                                                        const std::shared_ptr<arrow::Schema>& schema);
  ~FramedFileWriter();
  // The same pool in every call. After a refusal (OutOfMemory) nothing of the batch was written; it may come
  // again.
  Status Write(const arrow::RecordBatch& batch, arrow::MemoryPool* pool);
  Status Close();
  int64_t rows() const { return rows_; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  class Frames;
  FramedFileWriter() = default;
  Status WriteFrame(uint32_t kind, int64_t rows, const void* data, int64_t size);
  std::shared_ptr<arrow::io::OutputStream> stream_;
  std::shared_ptr<arrow::Schema> schema_;
  std::shared_ptr<arrow::ipc::RecordBatchWriter> messages_;  // knows which dictionaries were written
  int64_t rows_ = 0, size_bytes_ = 0;
  int64_t batch_rows_ = 0;  // of the batch that is being written
};

class FramedFileReader {
 public:
  // Reads rows [first_row, first_row + num_rows) of the file.
  static Result<std::unique_ptr<FramedFileReader>> Open(Env* env, const std::string& path,
                                                        arrow::MemoryPool* pool, int64_t first_row = 0,
                                                        int64_t num_rows = INT64_MAX);
  ~FramedFileReader();
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  // The next rows; null at the end. A refusal (OutOfMemory) may be followed by another call.
  Result<std::shared_ptr<arrow::RecordBatch>> Next();

 private:
  class Frames;
  struct Frame;
  FramedFileReader() = default;
  Status StartOver();
  Result<Frame> ReadFrame();
  Result<std::shared_ptr<arrow::RecordBatch>> Decode();
  std::string path_;
  std::shared_ptr<arrow::io::RandomAccessFile> file_;
  std::shared_ptr<arrow::Schema> schema_;
  std::shared_ptr<arrow::RecordBatchReader> messages_;  // holds the dictionaries; null after a failure
  arrow::MemoryPool* pool_ = nullptr;
  int64_t position_ = 0, size_bytes_ = 0;
  int64_t frame_rows_ = 0;                        // of the batch frame that was read last
  int64_t skip_rows_ = 0;                         // still to be skipped from position_
  int64_t next_row_ = 0, rows_left_ = INT64_MAX;  // still to be given
};

}  // namespace partita
