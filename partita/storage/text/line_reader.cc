#include "partita/storage/text/line_reader.h"

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>

#include <algorithm>
#include <cstring>

#include "partita/base/units.h"

namespace partita {
namespace {

constexpr int64_t kLeastBufferBytes = 4 << 10;

std::string_view View(const arrow::ResizableBuffer& buffer, int64_t begin, int64_t end) {
  return {reinterpret_cast<const char*>(buffer.data() + begin), static_cast<size_t>(end - begin)};
}

}  // namespace

LineReader::LineReader(std::unique_ptr<ByteSource> source, LineRange range, int64_t piece_bytes,
                       int64_t size_hint_bytes, std::unique_ptr<RecordScanner> scanner,
                       arrow::MemoryPool* pool)
    : source_(std::move(source)),
      range_(range),
      piece_bytes_(std::max<int64_t>(piece_bytes, 1)),
      size_hint_bytes_(size_hint_bytes),
      scanner_(std::move(scanner)),
      pool_(pool),
      base_(SourceOffset(range)),
      skipping_(range.begin > 0) {}

LineReader::~LineReader() = default;

// Room for at least one byte more. The first buffer shrinks to what the pool gives; a record longer than the
// buffer makes it grow to twice its size, or to what is left.
Status LineReader::EnsureRoom() {
  if (buffer_ == nullptr) {
    // One byte more than the file, so that its end is seen without growing.
    const int64_t whole = size_hint_bytes_ >= 0 ? size_hint_bytes_ + 1 : INT64_MAX;
    int64_t want = std::max(std::min(piece_bytes_, whole), std::min(piece_bytes_, kLeastBufferBytes));
    auto buffer = arrow::AllocateResizableBuffer(want, pool_);
    while (!buffer.ok() && want > kLeastBufferBytes) {
      want /= 2;
      buffer = arrow::AllocateResizableBuffer(want, pool_);
    }
    if (!buffer.ok()) return buffer.status();
    buffer_ = std::move(*buffer);
    return Status::OK();
  }
  const int64_t size = buffer_->size();
  if (filled_ < size) return Status::OK();
  for (const int64_t want : {size * 2, size + size / 4 + kLeastBufferBytes}) {
    if (buffer_->Resize(want, /*shrink_to_fit=*/false).ok()) return Status::OK();
  }
  return OutOfMemoryError("a record of more than " + FormatBytes(filled_) + " does not fit in memory",
                          "give the run more memory, or check that the file is made of lines");
}

Status LineReader::Fill() {
  ARROW_RETURN_NOT_OK(EnsureRoom());
  ARROW_ASSIGN_OR_RAISE(const int64_t got,
                        source_->Read(buffer_->size() - filled_, buffer_->mutable_data() + filled_));
  filled_ += got;
  ended_ = got == 0;
  if (!bom_checked_ && (filled_ >= 3 || ended_)) {
    bom_checked_ = true;
    if (base_ == 0 && filled_ >= 3 && std::memcmp(buffer_->data(), "\xEF\xBB\xBF", 3) == 0) {
      base_ = 3;
      range_.end = std::max<int64_t>(range_.end, 4);  // the first record counts as beginning with the mark
      filled_ -= 3;
      std::memmove(buffer_->mutable_data(), buffer_->data() + 3, static_cast<size_t>(filled_));
    }
  }
  return Status::OK();
}

// Drops bytes up to the first newline; true when it was found.
bool LineReader::SkipToFirstRecord() {
  const void* newline =
      filled_ > 0 ? std::memchr(buffer_->data(), '\n', static_cast<size_t>(filled_)) : nullptr;
  const int64_t drop = newline ? static_cast<const uint8_t*>(newline) - buffer_->data() + 1 : filled_;
  base_ += drop;
  filled_ -= drop;
  if (filled_ > 0)
    std::memmove(buffer_->mutable_data(), buffer_->data() + drop, static_cast<size_t>(filled_));
  return newline != nullptr;
}

// Where the piece in the buffer ends, or -1 when more bytes are needed. Sets done_ with the range's last
// piece.
int64_t LineReader::PieceEnd() {
  if (scanned_ < filled_) {
    if (scanner_ != nullptr) {
      const int64_t end = scanner_->LastEnd(View(*buffer_, scanned_, filled_));
      if (end >= 0) last_end_ = scanned_ + end;
    } else {
      // The range's last record ends with the first newline at or after end - 1.
      const int64_t last_start = std::min(range_.end, INT64_MAX - 1) - 1 - base_;
      if (last_start < filled_) {
        const int64_t from = std::max(last_start, scanned_);
        const void* newline = std::memchr(buffer_->data() + from, '\n', static_cast<size_t>(filled_ - from));
        if (newline != nullptr) {
          done_ = true;
          return static_cast<const uint8_t*>(newline) - buffer_->data() + 1;
        }
      }
      const void* newline =
          memrchr(buffer_->data() + scanned_, '\n',
                  static_cast<size_t>(std::min(filled_, std::max(last_start, scanned_)) - scanned_));
      if (newline != nullptr) last_end_ = static_cast<const uint8_t*>(newline) - buffer_->data() + 1;
    }
    scanned_ = filled_;
  }
  if (ended_) {
    done_ = true;
    return filled_;
  }
  // A full buffer is handed out; one that has room is filled first.
  return filled_ == buffer_->size() ? last_end_ : -1;
}

Result<std::string_view> LineReader::Next() {
  if (handed_ > 0) {  // drop the last piece, keep what began behind it
    std::memmove(buffer_->mutable_data(), buffer_->data() + handed_, static_cast<size_t>(filled_ - handed_));
    base_ += handed_;
    filled_ -= handed_;
    scanned_ = std::max<int64_t>(scanned_ - handed_, 0);
    last_end_ = -1;
    handed_ = 0;
    if (buffer_->size() > piece_bytes_ && filled_ < piece_bytes_) {  // a long record made it grow
      (void)buffer_->Resize(piece_bytes_, /*shrink_to_fit=*/true);
    }
  }
  while (skipping_) {
    ARROW_RETURN_NOT_OK(Fill());
    if (SkipToFirstRecord()) {
      skipping_ = false;
    } else if (ended_) {
      done_ = true;
      skipping_ = false;
    }
  }
  if (base_ >= range_.end) done_ = true;
  while (!done_) {
    if (filled_ > 0 && (bom_checked_ || base_ > 0)) {
      const int64_t end = PieceEnd();
      if (end >= 0) {
        handed_ = end;
        return View(*buffer_, 0, end);
      }
    }
    if (ended_) {
      done_ = true;
      break;
    }
    ARROW_RETURN_NOT_OK(Fill());
  }
  return std::string_view();
}

}  // namespace partita
