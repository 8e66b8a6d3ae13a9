// An open Parquet file: bounded footer, schema, checked reads, and the one place where what libparquet throws
// or returns becomes an error that names who must act. Internal to the room.
#pragma once

#include <arrow/io/interfaces.h>
#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <atomic>
#include <memory>
#include <new>
#include <string>
#include <utility>

#include "partita/base/cancel.h"
#include "partita/base/error.h"
#include "partita/memory/budget.h"
#include "partita/storage/file_system.h"

namespace partita {

// Positioned reads that count bytes, obey cancellation and allocate from one pool only.
class ParquetInput final : public arrow::io::RandomAccessFile {
 public:
  ParquetInput(std::shared_ptr<arrow::io::RandomAccessFile> file, int64_t size_bytes, arrow::MemoryPool* pool,
               CancelToken cancel);

  Status Close() override { return file_->Close(); }
  bool closed() const override { return file_->closed(); }
  Result<int64_t> Tell() const override { return position_; }
  Status Seek(int64_t position) override;
  Result<int64_t> GetSize() override { return size_bytes_; }
  Result<int64_t> Read(int64_t nbytes, void* out) override;
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override;
  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override;
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override;

  // Reads [begin, end) in one go and serves what lies inside from there, until the next Hold or Drop. Not
  // beside reads of other threads.
  Status Hold(int64_t begin, int64_t end);
  void Drop() { held_.reset(); }

  int64_t bytes_read() const { return bytes_read_.load(std::memory_order_relaxed); }

 private:
  bool Holds(int64_t position, int64_t nbytes) const;

  std::shared_ptr<arrow::io::RandomAccessFile> file_;
  const int64_t size_bytes_;
  arrow::MemoryPool* pool_;
  CancelToken cancel_;
  int64_t position_ = 0;
  std::shared_ptr<arrow::Buffer> held_;
  int64_t held_begin_ = 0;
  std::atomic<int64_t> bytes_read_{0};
};

struct ParquetFile {
  FileEntry entry;
  std::shared_ptr<ParquetInput> input;
  parquet::ReaderProperties properties;
  std::shared_ptr<parquet::FileMetaData> metadata;
  parquet::arrow::SchemaManifest manifest;
  std::shared_ptr<arrow::Schema> schema;  // what rows of this file look like
  Reservation footer_claim;               // the decoded footer lives on the heap
};

// Reads the footer and checks it: sizes against the file and kMaxFooterBytes, row groups against the schema,
// offsets against the file. Nothing else of the file is read.
Result<std::shared_ptr<ParquetFile>> OpenParquetFile(Env* env, const FileEntry& entry,
                                                     arrow::MemoryPool* pool, const CancelToken& cancel);

// The bytes [first, second) of a column chunk, checked against the file.
Result<std::pair<int64_t, int64_t>> ChunkRange(const ParquetFile& file,
                                               const parquet::ColumnChunkMetaData& chunk);

inline constexpr int64_t kMaxFooterBytes = 512LL << 20;

// Gives a status of libparquet the kind and the place that it lacks: memory, cancellation and errors of ours
// stay what they are, everything else means that the file is bad.
Status BlameFile(Status status, const FileEntry& entry, int row_group = -1);

// Runs `body` (returning Status) where libparquet may throw.
template <typename Body>
Status CatchParquet(const FileEntry& entry, int row_group, Body&& body) {
  try {
    return BlameFile(body(), entry, row_group);
  } catch (const parquet::ParquetStatusException& e) {
    return BlameFile(e.status(), entry, row_group);
  } catch (const std::bad_alloc&) {
    return OutOfMemoryError("the machine has no memory to read " + entry.location);
  } catch (const std::exception& e) {
    return BlameFile(Status::Invalid(e.what()), entry, row_group);
  }
}

}  // namespace partita
