// The budget: the bytes a run may hold, as a tree of arrow::MemoryPools (run > step > operator) with one hard limit at the
// root. Every Arrow allocation of a run comes from a pool of its tree; what Arrow does not allocate (decoders, compressors,
// network and parser scratch, hash tables) is claimed by a Reservation before it is used.
//
// A pool never waits and never over-commits: past the limit it refuses with an out-of-memory status (kind resource). Waiting
// happens at an operator's safe point, in execute/, with a name.
//
// What is counted: capacity as rounded by the allocator, and free blocks it caches. Blocks of kLargeBlockBytes and more come
// from mmap and go back to the kernel when freed (or into a small counted cache, dropped before anything is refused).
//
// Ownership: Budget and BudgetPool are shared. A pool lives until its handle is gone AND its last byte is freed, so buffers
// may outlive the run; DetachToCaller moves a buffer's bytes out of the budget ("held by caller").
// Thread-safety: everything here is thread-safe.
#pragma once

#include <arrow/memory_pool.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class Buffer;
}

namespace partita {

class Budget;
class BudgetPool;

// A claim on the budget; move-only; released when it dies.
class Reservation {
 public:
  Reservation() = default;
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  Reservation(const Reservation&) = delete;
  Reservation& operator=(const Reservation&) = delete;
  ~Reservation();

  int64_t bytes() const { return bytes_; }
  // Grows (may be refused; then nothing changes) or shrinks the claim.
  Status Resize(int64_t bytes);
  void Release();

 private:
  friend class BudgetPool;
  std::shared_ptr<BudgetPool> pool_;
  int64_t bytes_ = 0;
};

class BudgetPool final : public arrow::MemoryPool, public std::enable_shared_from_this<BudgetPool> {
 public:
  ~BudgetPool() override;

  // A child whose bytes count in this pool too. `name` is shown in stats and in refusals ("resize_images"). Called through a
  // handle; null where only blocks keep this pool alive.
  std::shared_ptr<BudgetPool> NewChild(std::string name);
  // Claims bytes that Arrow does not allocate. Refused past the limit.
  Result<Reservation> Reserve(int64_t bytes);

  using arrow::MemoryPool::Allocate;
  using arrow::MemoryPool::Free;
  using arrow::MemoryPool::Reallocate;
  Status Allocate(int64_t size, int64_t alignment, uint8_t** out) override;
  Status Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) override;
  void Free(uint8_t* buffer, int64_t size, int64_t alignment) override;
  void ReleaseUnused() override;
  int64_t bytes_allocated() const override;        // rounded bytes and reservations, this pool and below
  int64_t max_memory() const override;             // peak of the above
  int64_t total_bytes_allocated() const override;  // ever
  int64_t num_allocations() const override;
  std::string backend_name() const override { return "partita"; }

  const std::string& name() const { return name_; }
  Budget* budget() const { return budget_.get(); }

 private:
  friend class Budget;
  friend class Reservation;
  BudgetPool(std::shared_ptr<Budget> budget, std::shared_ptr<BudgetPool> parent, std::string name);
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::shared_ptr<Budget> budget_;
  std::shared_ptr<BudgetPool> parent_;
  std::string name_;
};

class Budget : public std::enable_shared_from_this<Budget> {
 public:
  // limit_bytes must be positive.
  static std::shared_ptr<Budget> Make(int64_t limit_bytes);
  ~Budget();

  std::shared_ptr<BudgetPool> root();  // name "run"

  int64_t limit_bytes() const;
  int64_t used_bytes() const;       // allocated + reserved + cached free blocks
  int64_t available_bytes() const;  // limit - used + what dropping the cache would give
  int64_t peak_bytes() const;
  int64_t held_by_caller_bytes() const;
  int64_t refusals() const;

  // Called (from the freeing thread, briefly, must not allocate or lock for long) after bytes were freed while a waiter is
  // registered. See execute/: a task that waits for memory registers; the first free wakes the workers.
  void SetReleaseListener(std::function<void()> listener);
  void AddWaiter();
  void RemoveWaiter();

  // Moves the memory behind `buffer` (all of what it is a slice of) out of the limit into "held by caller", until it is
  // freed. Used when blocks are handed to the caller. Nothing happens to memory that was detached before, or that came from
  // no budget. Resizing a detached buffer claims its new size inside the limit.
  static void DetachToCaller(const arrow::Buffer& buffer);

  // Gives cached free blocks back to the kernel; returns the bytes.
  int64_t DropCache();

  // Tests: the n-th allocation or growing reservation from now (1 = next) is refused. 0 turns it off.
  void FailNthAllocation(int64_t n);

 private:
  friend class BudgetPool;
  Budget();
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

inline constexpr int64_t kLargeBlockBytes = 64 << 10;

}  // namespace partita
