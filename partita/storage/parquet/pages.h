// Encoded pages of the open row group: in memory, in pieces that are never copied to grow, or staged in a
// spill file. Internal to the room. Single-threaded.
#pragma once

#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "partita/base/env.h"
#include "partita/memory/budget.h"

namespace partita {

// One spill file for the pages of a row group. Removed when reset or destroyed.
class PageStage {
 public:
  PageStage(Env* env, std::string dir) : env_(env), dir_(std::move(dir)) {}
  ~PageStage() { Reset(); }
  PageStage(const PageStage&) = delete;
  PageStage& operator=(const PageStage&) = delete;

  bool usable() const { return env_ != nullptr && !dir_.empty(); }
  // Appends and returns the offset. Nothing may be appended after the first CopyTo.
  Result<int64_t> Append(const uint8_t* data, int64_t size);
  Status CopyTo(int64_t offset, int64_t size, arrow::io::OutputStream* out, arrow::MemoryPool* pool);
  void Reset();

 private:
  Env* env_;
  std::string dir_;
  std::string path_;
  int64_t size_ = 0;
  std::shared_ptr<arrow::io::OutputStream> out_;
  std::shared_ptr<arrow::io::RandomAccessFile> in_;
};

// The bytes of one column chunk in order. Positions begin at 0.
class PageBytes final : public arrow::io::OutputStream {
 public:
  explicit PageBytes(arrow::MemoryPool* pool) : pool_(pool) {}

  Status Close() override { return Status::OK(); }
  bool closed() const override { return false; }
  Result<int64_t> Tell() const override { return size_; }
  Status Write(const void* data, int64_t nbytes) override;
  using arrow::io::OutputStream::Write;

  // Takes the buffer as it is.
  void Append(std::shared_ptr<arrow::Buffer> buffer);
  // Takes all bytes of `other`, which is empty afterwards.
  void Append(PageBytes* other);
  // The next Write of `token` (of `head` and `body` together in size) writes `head` and takes `body` instead:
  // libparquet's page writer wants a page in one buffer, which a fat value never is.
  void Substitute(const void* token, std::string head, PageBytes* body);

  int64_t size() const { return size_; }
  int64_t memory_bytes() const { return memory_bytes_; }
  // Moves what is in memory to the stage. After a failure everything is still there, here or in the stage.
  Status Stage(PageStage* stage);
  // Writes all bytes out and lets go of them piece by piece.
  Status MoveTo(arrow::io::OutputStream* out, PageStage* stage, arrow::MemoryPool* pool);
  void Clear();

 private:
  struct Piece {
    std::shared_ptr<arrow::Buffer> buffer;  // null: staged
    int64_t begin = 0;                      // in the buffer or in the stage
    int64_t size = 0;
  };

  Status NewTail();

  arrow::MemoryPool* pool_;
  std::vector<Piece> pieces_;
  std::shared_ptr<arrow::Buffer> tail_;  // the last piece's buffer where it has room
  int64_t tail_used_ = 0;
  int64_t size_ = 0;
  int64_t memory_bytes_ = 0;
  const void* token_ = nullptr;
  std::string substitute_head_;
  PageBytes* substitute_body_ = nullptr;
};

// A pool that, where the budget refuses, lets its owner give something back and asks again. For encoders,
// whose state a refused allocation would leave in pieces.
class ReliefPool final : public arrow::MemoryPool {
 public:
  // `relieve(attempt)` frees what it can; false: there is nothing more to free.
  ReliefPool(std::shared_ptr<BudgetPool> base, std::function<bool(int attempt)> relieve)
      : base_(std::move(base)), relieve_(std::move(relieve)) {}

  using arrow::MemoryPool::Allocate;
  using arrow::MemoryPool::Free;
  using arrow::MemoryPool::Reallocate;
  Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override {
    base_->Free(buffer, size, alignment);
  }
  int64_t bytes_allocated() const override { return base_->bytes_allocated(); }
  int64_t max_memory() const override { return base_->max_memory(); }
  int64_t total_bytes_allocated() const override { return base_->total_bytes_allocated(); }
  int64_t num_allocations() const override { return base_->num_allocations(); }
  std::string backend_name() const override { return base_->backend_name(); }

 private:
  template <typename Attempt>
  Status Try(Attempt&& attempt);

  std::shared_ptr<BudgetPool> base_;
  std::function<bool(int)> relieve_;
  bool relieving_ = false;
};

}  // namespace partita
