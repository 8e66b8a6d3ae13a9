// The counters behind Budget and BudgetPool. Private to this room.
//
// What holds at every moment, to any observer:
//   used = bytes of all pools that count against the limit (attached allocations and reservations) + cached
//   free blocks
//        <= limit, because used only grows by a compare-and-swap that looks at the limit first;
//   sum of pools <= used, because used grows before the pools' counters and shrinks after them.
// Lifetime: a reference count beside the shared_ptr (one for all handles, one for each live block) decides
// when a pool dies, because Arrow buffers hold raw pool pointers. The root shares the Budget's count.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "partita/memory/block_allocator.h"
#include "partita/memory/budget.h"

namespace partita {

struct Budget::Impl {
  explicit Impl(int64_t limit_bytes);

  // Adds to `used` where the limit allows, dropping cached blocks first. False: refused, nothing changed.
  bool Claim(int64_t bytes);
  bool TryClaim(int64_t bytes);  // the same, and drops nothing
  void Release(int64_t bytes) { used.fetch_sub(bytes); }
  // After bytes became available: wakes whoever waits. Sequentially consistent with AddWaiter, so no wake-up
  // is lost.
  void NotifyReleased() {
    if (waiters.load() > 0) CallListener();
  }
  // FailNthAllocation: true for the claim that has to fail. A negative countdown stays at -1: all later ones
  // fail too.
  bool ShouldFail();

  void Ref() { refs.fetch_add(1, std::memory_order_relaxed); }
  static void Unref(Budget* budget);

  const int64_t limit;
  alignas(64) std::atomic<int64_t> used{0};
  std::atomic<int64_t> peak{0};
  std::atomic<int64_t> held_by_caller{0};
  alignas(64) std::atomic<int64_t> refs{1};
  std::atomic<int64_t> refusals{0};
  std::atomic<int64_t> fail_countdown{0};
  std::atomic<int> waiters{0};
  LargeBlocks large;
  std::unique_ptr<BudgetPool> root;

  std::mutex listener_mutex;
  std::function<void()> listener;
  std::atomic<bool> has_listener{false};  // a run is under way, which will allocate again

 private:
  void CallListener();
};

struct BudgetPool::Impl {
  Impl(BudgetPool* pool, Budget::Impl* budget, Impl* parent) : pool(pool), budget(budget), parent(parent) {}

  // A handle from a raw pool; null when only its blocks keep it alive.
  static std::shared_ptr<BudgetPool> Handle(BudgetPool* pool);
  void Ref();
  void Unref();  // `this` may be gone afterwards

  // What a live block counts.
  int64_t CapacityOf(const uint8_t* block, int64_t size, int64_t alignment) const {
    return IsLargeBlock(size) ? budget->large.CapacityOf(block) : BlockCapacity(size, alignment);
  }
  // Reallocate for large blocks within the limit. The block is of this pool.
  Status ResizeLarge(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr);
  Status ShrinkLarge(int64_t new_size, int64_t capacity, uint8_t* block);

  // Claims for a block or a reservation, or the status that says why not. `asked_bytes` is what people know.
  Status Claim(int64_t bytes, int64_t asked_bytes);
  Status Refuse(int64_t asked_bytes, const char* why) const;

  // Counters of this pool and all above.
  void AddTree(int64_t bytes);
  void SubtractTree(int64_t bytes);
  void CountAllocation(int64_t bytes);
  // Moves a live block of this pool out of the limit. Each block once.
  void Detach(const uint8_t* block, int64_t bytes);
  bool IsDetached(const uint8_t* block);
  // Of a block that is freed: the bytes that the caller held until now; 0 where it was not detached.
  int64_t TakeDetached(const uint8_t* block);
  // Sums over this pool and below of a counter that only grows. They are kept where they arise, because an
  // allocation must not pay for each level; a pool that dies leaves its own to its parent.
  int64_t Sum(std::atomic<int64_t> Impl::*counter);
  void LeaveParent();

  BudgetPool* const pool;
  Budget::Impl* const budget;
  Impl* const parent;
  alignas(64) std::atomic<int64_t> refs{1};
  std::atomic<int64_t> tree{0};  // allocated and reserved inside the limit, this pool and below
  std::atomic<int64_t> peak{0};
  std::atomic<int64_t> total{0};        // ever allocated by this pool itself and by dead children
  std::atomic<int64_t> allocations{0};  // the same, blocks
  // Blocks of this pool itself that the caller holds, and their bytes. A free looks only where there are any.
  std::atomic<int64_t> detached_blocks{0};
  std::mutex detached_mutex;
  std::unordered_map<const uint8_t*, int64_t> detached;
  std::mutex children_mutex;
  std::vector<Impl*> children;  // each leaves before it dies
};

}  // namespace partita
