// Run files: what one task leaves for a sorted exchange. Some runs, each sorted by key and cut in frames, and
// an index at the end with each frame's place, checksum and first key, so that a reader of a key range
// touches only its frames. Format: docs/formats/run_file.md.
//
// A frame is one Arrow IPC message (a whole IPC stream where columns have dictionaries). What is read is
// checked before it is believed: sizes against the file, frames and index against their xxh3.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/base/pending_read.h"
#include "partita/runs/row_key.h"

namespace arrow {
class Buffer;
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

// A key by itself. `whole` is the encoding where it is longer than 16 bytes, cut at kMaxPointBytes: cut keys
// compare as equal.
struct KeyPoint {
  KeyPrefix prefix;
  std::string whole;
};
inline constexpr size_t kMaxPointBytes = 1024;
// `whole` as RowKeys gives it.
KeyPoint PointOf(const KeyPrefix& prefix, std::string_view whole);
// -1, 0, 1.
int CompareToPoint(const RowKeys& keys, int64_t row, const KeyPoint& point);
int ComparePoints(const KeyPoint& a, const KeyPoint& b);

struct RunFrame {
  int64_t offset = 0, length = 0, rows = 0;
  uint64_t checksum = 0;
  KeyPoint first;
  int64_t rank = 0;  // of its first row in the run; not stored
};

// A row of the sample that range bounds come from: the rows with the smallest hash of their position. Where
// it stands is exact: the rank-th row of a run.
// With s rows and n partitions, partitions differ in size by about sqrt(n / s). Part of what a sort gives:
// writers and readers agree.
inline constexpr size_t kSampledRows = 8192;
struct SampledRow {
  uint64_t hash = 0;
  KeyPoint point;
  int64_t run = 0, rank = 0;
};

struct RunIndex {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::vector<RunFrame>> runs;
  std::vector<SampledRow> sample;
  int64_t rows = 0;
  int64_t longest_frame = 0;   // bytes; not stored
  int64_t size_bytes() const;  // in memory, about
};

// One thread at a time.
class RunFileWriter {
 public:
  // `cached_bytes`: as in WriteOptions; readers are given the same.
  static Result<std::unique_ptr<RunFileWriter>> Open(Env* env, const std::string& path,
                                                     std::shared_ptr<arrow::Schema> schema,
                                                     int64_t cached_bytes = INT64_MAX);
  ~RunFileWriter();
  // The next frame of the current run.
  Status Append(const arrow::RecordBatch& batch, KeyPoint first, arrow::MemoryPool* pool);
  void EndRun();
  Status Close(std::vector<SampledRow> sample);
  // Of the current run, so far.
  int64_t run() const { return static_cast<int64_t>(index_.runs.size()) - (in_run_ ? 1 : 0); }
  int64_t rank() const {
    return in_run_ ? index_.runs.back().back().rank + index_.runs.back().back().rows : 0;
  }
  int64_t size_bytes() const { return position_; }
  const RunIndex& index() const { return index_; }

 private:
  class Frames;
  RunFileWriter() = default;
  std::shared_ptr<arrow::io::OutputStream> stream_;
  std::unique_ptr<Frames> frames_;  // to stream_
  RunIndex index_;
  int64_t position_ = 0;
  bool in_run_ = false, dictionaries_ = false;
};

class KeptRuns;

// A frame on its way from the disk; waits for it when it dies.
class FrameRead {
 public:
  FrameRead(FrameRead&&) = default;
  FrameRead& operator=(FrameRead&&) = delete;
  int64_t size_bytes() const { return size_bytes_; }

 private:
  friend class RunFileReader;
  FrameRead() = default;
  std::shared_ptr<arrow::Buffer> pages_;  // null: it stands in memory
  int64_t size_bytes_ = 0;
  PendingRead got_;  // to pages_, which go after it
};

class RunFileReader {
 public:
  static Result<RunIndex> ReadIndex(Env* env, const std::string& path, arrow::MemoryPool* pool);
  // `schema` as in the index.
  static Result<std::unique_ptr<RunFileReader>> Open(Env* env, const std::string& path,
                                                     std::shared_ptr<arrow::Schema> schema,
                                                     int64_t cached_bytes);
  // Of runs that may be in memory; frames are those of their index.
  static std::unique_ptr<RunFileReader> Of(std::shared_ptr<const KeptRuns> kept);
  Result<std::shared_ptr<arrow::RecordBatch>> ReadFrame(const RunFrame& frame, arrow::MemoryPool* pool) const;
  // The same in two steps: the disk works between them.
  Result<FrameRead> Begin(const RunFrame& frame, arrow::MemoryPool* pool) const;
  Result<std::shared_ptr<arrow::RecordBatch>> Finish(FrameRead read, const RunFrame& frame,
                                                     arrow::MemoryPool* pool) const;

 private:
  RunFileReader() = default;
  Result<std::shared_ptr<arrow::RecordBatch>> Decode(std::shared_ptr<arrow::Buffer> pages, int64_t got,
                                                     const RunFrame& frame, arrow::MemoryPool* pool) const;
  std::string path_;
  std::shared_ptr<arrow::io::RandomAccessFile> file_;
  std::shared_ptr<arrow::Schema> schema_;
  bool dictionaries_ = false;
  std::shared_ptr<const KeptRuns> kept_;  // instead of all that
};

}  // namespace partita
