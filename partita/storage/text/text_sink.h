// Text on its way to a stream, through one window of fixed size: writers of text formats need no other
// memory, whatever the size of a value. Internal to storage/.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>

#include "partita/base/error.h"

namespace arrow {
class Buffer;
class MemoryPool;
namespace io {
class OutputStream;
}
}  // namespace arrow

namespace partita {

// Errors of the stream stick: later appends do nothing, Flush and status() tell.
class TextSink {
 public:
  static Result<std::unique_ptr<TextSink>> Make(int64_t window_bytes, arrow::MemoryPool* pool);
  ~TextSink();

  // Where a full window goes; null: nowhere, the text is only counted.
  void SetStream(arrow::io::OutputStream* stream) { stream_ = stream; }

  void Append(char c) {
    if (used_ == capacity_) Drain();
    data_[used_++] = c;
  }
  void Append(std::string_view text) {
    if (static_cast<int64_t>(text.size()) > capacity_ - used_) {
      AppendLarge(text);
      return;
    }
    std::memcpy(data_ + used_, text.data(), text.size());
    used_ += static_cast<int64_t>(text.size());
  }
  // Hands the window to the stream.
  Status Flush();
  const Status& status() const { return status_; }

  // Bytes appended since Restart. While none has left the window, text() is all of them.
  int64_t total_bytes() const { return drained_ + used_; }
  bool whole() const { return drained_ == 0; }
  std::string_view text() const { return {data_, static_cast<size_t>(used_)}; }
  // The first bytes since Restart, at most 32.
  std::string_view head() const {
    return whole() ? text().substr(0, sizeof(head_))
                   : std::string_view(head_, static_cast<size_t>(head_bytes_));
  }
  // Forgets the window's content and the count.
  void Restart() { used_ = drained_ = head_bytes_ = 0; }

 private:
  explicit TextSink(std::shared_ptr<arrow::Buffer> window);
  void KeepHead(std::string_view text);
  void Drain();
  void AppendLarge(std::string_view text);

  std::shared_ptr<arrow::Buffer> window_;
  char* data_;
  int64_t capacity_, used_ = 0, drained_ = 0, head_bytes_ = 0;
  char head_[32];
  arrow::io::OutputStream* stream_ = nullptr;
  Status status_;
};

}  // namespace partita
