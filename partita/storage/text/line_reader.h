// Whole records of a text file, in pieces of about a wanted size. Internal to storage/.
//
// A byte range [begin, end) owns the records whose first byte is in it: it starts behind the first newline at
// or after begin - 1 and ends with the newline at or after end - 1. So any set of ranges that covers a file
// gives each record once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "partita/base/error.h"
#include "partita/storage/byte_source.h"

namespace arrow {
class MemoryPool;
class ResizableBuffer;
}  // namespace arrow

namespace partita {

// Finds where records end, over a text that comes in pieces.
class RecordScanner {
 public:
  virtual ~RecordScanner() = default;
  // Position in `more` behind its last record end, or -1. State is carried from call to call.
  virtual int64_t LastEnd(std::string_view more) = 0;
};

struct LineRange {
  int64_t begin = 0;
  int64_t end = INT64_MAX;  // INT64_MAX: to the end of the file
};

class LineReader {
 public:
  // `source` begins at SourceOffset(range). `size_hint_bytes` (of the file or range, -1 unknown) keeps
  // buffers of small files small. A null scanner: records end with newlines. A scanner needs a range that
  // begins at 0 and is whole.
  LineReader(std::unique_ptr<ByteSource> source, LineRange range, int64_t piece_bytes,
             int64_t size_hint_bytes, std::unique_ptr<RecordScanner> scanner, arrow::MemoryPool* pool);
  ~LineReader();

  // The byte at which reading must start.
  static int64_t SourceOffset(const LineRange& range) { return range.begin > 0 ? range.begin - 1 : 0; }

  // The next whole records (the file's last may lack its newline), or an empty view at the end; valid until
  // the next call. Refused memory: OutOfMemory, may be called again.
  Result<std::string_view> Next();
  // Position in the (decompressed) file of the first byte of the last piece.
  int64_t piece_offset() const { return base_; }
  int64_t bytes_read() const { return source_->bytes_read(); }

 private:
  Status EnsureRoom();
  Status Fill();
  bool SkipToFirstRecord();
  int64_t PieceEnd();

  std::unique_ptr<ByteSource> source_;
  LineRange range_;
  int64_t piece_bytes_, size_hint_bytes_;
  std::unique_ptr<RecordScanner> scanner_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::ResizableBuffer> buffer_;
  int64_t base_;           // file position of the buffer's first byte
  int64_t filled_ = 0;     // bytes in the buffer
  int64_t handed_ = 0;     // of these, handed out by the last Next
  int64_t scanned_ = 0;    // of these, looked at for record ends
  int64_t last_end_ = -1;  // the last record end among the scanned, -1: none
  bool skipping_, bom_checked_ = false, ended_ = false, done_ = false;
};

}  // namespace partita
