#include "partita/storage/text/text_sink.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <algorithm>

namespace partita {

Result<std::unique_ptr<TextSink>> TextSink::Make(int64_t window_bytes, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto window, arrow::AllocateBuffer(window_bytes, pool));
  return std::unique_ptr<TextSink>(new TextSink(std::move(window)));
}

TextSink::TextSink(std::shared_ptr<arrow::Buffer> window)
    : window_(std::move(window)),
      data_(reinterpret_cast<char*>(window_->mutable_data())),
      capacity_(window_->size()) {}

TextSink::~TextSink() = default;

void TextSink::KeepHead(std::string_view text) {
  const size_t fits = std::min(text.size(), sizeof(head_) - static_cast<size_t>(head_bytes_));
  std::memcpy(head_ + head_bytes_, text.data(), fits);
  head_bytes_ += static_cast<int64_t>(fits);
}

void TextSink::Drain() {
  KeepHead(text());
  if (stream_ != nullptr && status_.ok() && used_ > 0) status_ = stream_->Write(data_, used_);
  drained_ += used_;
  used_ = 0;
}

void TextSink::AppendLarge(std::string_view text) {
  Drain();
  const auto size = static_cast<int64_t>(text.size());
  if (size < capacity_) {
    std::memcpy(data_, text.data(), text.size());
    used_ = size;
    return;
  }
  KeepHead(text);
  if (stream_ != nullptr && status_.ok()) status_ = stream_->Write(text.data(), size);
  drained_ += size;
}

Status TextSink::Flush() {
  Drain();
  return status_;
}

}  // namespace partita
