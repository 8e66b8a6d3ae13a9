#include "partita/storage/read_ahead.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>
#include <future>
#include <system_error>
#include <utility>

#include "partita/memory/budget.h"

namespace partita {
namespace {

constexpr int64_t kSmallWindowBytes = 1 << 20;
constexpr int64_t kLargestWindowBytes = 8 << 20;
constexpr int64_t kOnTheWayBytes = 2 << 20;  // read in one go before anything is read ahead
constexpr int64_t kShareOfFree = 32;         // a window takes at most this part of what the budget has free

struct Window {
  std::shared_ptr<arrow::Buffer> buffer;
  int64_t begin = 0, end = 0;  // unread
  int64_t size() const { return end - begin; }
};

class ReadAheadSource final : public ByteSource {
 public:
  ReadAheadSource(std::unique_ptr<ByteSource> input, int64_t left_bytes, arrow::MemoryPool* pool,
                  BudgetPool* budget)
      : input_(std::move(input)),
        left_bytes_(left_bytes < 0 ? INT64_MAX : std::max<int64_t>(left_bytes, 1)),
        pool_(pool),
        budget_(budget) {}
  ~ReadAheadSource() override {
    if (next_.valid()) next_.wait();
  }

  Result<int64_t> Read(int64_t size, uint8_t* out) override {
    int64_t got = 0;
    while (got < size) {
      const int64_t some = std::min(size - got, window_.size());
      if (some > 0) {
        std::memcpy(out + got, window_.buffer->data() + window_.begin, static_cast<size_t>(some));
        window_.begin += some;
        got += some;
        continue;
      }
      auto more = Next(size - got, out + got);
      if (!more.ok() && got == 0) return more.status();
      if (!more.ok() || (*more == 0 && window_.size() == 0))
        break;  // an error comes again, with the next call
      got += *more;
    }
    run_bytes_ += got;
    return got;
  }

  Result<int64_t> Skip(int64_t size) override {
    if (window_.size() == 0 && next_.valid()) ARROW_RETURN_NOT_OK(TakeNext());
    const int64_t inside = std::min(size, window_.size());
    window_.begin += inside;
    if (inside > 0) return inside;
    run_bytes_ = 0;
    return input_->Skip(size);
  }

  int64_t bytes_read() const override { return bytes_read_; }

 private:
  // Bytes read to `out`, or none and a window.
  Result<int64_t> Next(int64_t size, uint8_t* out) {
    if (next_.valid() || Begin()) {
      ARROW_RETURN_NOT_OK(TakeNext());
      if (window_.size() > 0) Begin();
      return 0;
    }
    const int64_t window_bytes = std::min(left_bytes_, kSmallWindowBytes);
    if (size > window_bytes / 2 || !Hold(&window_, window_bytes)) return Now(size, out);
    window_.begin = window_.end = 0;
    ARROW_ASSIGN_OR_RAISE(window_.end, Now(window_.buffer->size(), window_.buffer->mutable_data()));
    return 0;
  }

  Result<int64_t> Now(int64_t size, uint8_t* out) {
    auto got = input_->Read(size, out);
    bytes_read_ = input_->bytes_read();
    return got;
  }

  // Sends for the window after this one. False: not worth it, or no memory, or no thread.
  bool Begin() {
    if (budget_ == nullptr || run_bytes_ < kOnTheWayBytes) return false;
    const int64_t share = budget_->budget()->available_bytes() / kShareOfFree;
    const int64_t bytes = ahead_.buffer != nullptr ? ahead_.buffer->size()
                                                   : std::min({share, kLargestWindowBytes, left_bytes_});
    if (ahead_.buffer == nullptr && (bytes < kSmallWindowBytes || !Hold(&ahead_, bytes))) return false;
    try {
      next_ = std::async(std::launch::async, [input = input_.get(), &ahead = ahead_] {
        return input->Read(ahead.buffer->size(), ahead.buffer->mutable_data());
      });
    } catch (const std::system_error&) {
      return false;
    }
    return true;
  }

  Status TakeNext() {
    auto got = next_.get();
    bytes_read_ = input_->bytes_read();
    ARROW_RETURN_NOT_OK(got.status());
    ahead_.begin = 0;
    ahead_.end = *got;
    std::swap(window_, ahead_);
    return Status::OK();
  }

  bool Hold(Window* window, int64_t bytes) {
    if (window->buffer != nullptr) return true;
    auto buffer = arrow::AllocateBuffer(bytes, pool_);
    if (!buffer.ok()) return false;
    window->buffer = std::move(*buffer);
    return true;
  }

  std::unique_ptr<ByteSource> input_;  // the other thread's while `next_` is valid
  const int64_t left_bytes_;
  arrow::MemoryPool* pool_;
  BudgetPool* budget_;
  Window window_, ahead_;
  std::future<Result<int64_t>> next_;
  int64_t run_bytes_ = 0;  // read since something was left out
  int64_t bytes_read_ = 0;
};

}  // namespace

std::unique_ptr<ByteSource> ReadAhead(std::unique_ptr<ByteSource> input, int64_t left_bytes,
                                      arrow::MemoryPool* pool, BudgetPool* budget) {
  return std::make_unique<ReadAheadSource>(std::move(input), left_bytes, pool, budget);
}

}  // namespace partita
