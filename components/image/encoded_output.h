// Encoded bytes that grow in a pool while a codec written in C produces them. Internal to the codecs.
#pragma once

#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>
#include <memory>

#include "partita/base/error.h"

namespace partita {

class EncodedOutput {
 public:
  static Result<std::unique_ptr<EncodedOutput>> Make(int64_t guess_bytes, arrow::MemoryPool* pool) {
    auto output = std::make_unique<EncodedOutput>();
    ARROW_ASSIGN_OR_RAISE(output->buffer_, arrow::AllocateResizableBuffer(guess_bytes, pool));
    return output;
  }

  uint8_t* data() { return buffer_->mutable_data(); }
  int64_t capacity() const { return buffer_->size(); }

  // Doubles the space. False when the pool refuses: status() then tells.
  bool Grow(int64_t least_bytes) noexcept {
    status_ = buffer_->Resize(std::max(capacity() * 2, least_bytes), /*shrink_to_fit=*/false);
    return status_.ok();
  }
  bool Append(const uint8_t* bytes, int64_t size) noexcept {
    if (size > capacity() - written_ && !Grow(written_ + size)) return false;
    std::memcpy(data() + written_, bytes, static_cast<size_t>(size));
    written_ += size;
    return true;
  }
  int64_t written() const { return written_; }
  const Status& status() const { return status_; }

  Result<std::shared_ptr<arrow::Buffer>> Finish(int64_t size) {
    ARROW_RETURN_NOT_OK(buffer_->Resize(size, /*shrink_to_fit=*/true));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer_));
  }

 private:
  std::shared_ptr<arrow::ResizableBuffer> buffer_;
  int64_t written_ = 0;
  Status status_;
};

}  // namespace partita
