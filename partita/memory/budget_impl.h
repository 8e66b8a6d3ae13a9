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
#include <vector>

#include "partita/memory/block_allocator.h"
#include "partita/memory/budget.h"

namespace partita {

struct Budget::Impl {
  explicit Impl(int64_t limit_bytes);

  // Adds to `used` where the limit allows, dropping cached blocks first. False: refused, nothing changed.
  bool Claim(int64_t bytes);
  void Release(int64_t bytes) { used.fetch_sub(bytes); }
  // After bytes became available: wakes whoever waits. Sequentially consistent with AddWaiter, so no wake-up
  // is lost.
  void NotifyReleased() {
    if (waiters.load() > 0) CallListener();
  }
  // FailNthAllocation: true for the claim that has to fail.
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
  BlockCache cache;
  std::unique_ptr<BudgetPool> root;

  std::mutex listener_mutex;
  std::function<void()> listener;

 private:
  bool TryClaim(int64_t bytes);
  void CallListener();
};

struct BudgetPool::Impl {
  Impl(BudgetPool* pool, Budget::Impl* budget, Impl* parent) : pool(pool), budget(budget), parent(parent) {}

  // A handle from a raw pool; null when only its blocks keep it alive.
  static std::shared_ptr<BudgetPool> Handle(BudgetPool* pool);
  void Ref();
  void Unref();  // `this` may be gone afterwards

  // Claims for a block or a reservation, or the status that says why not. `asked_bytes` is what people know.
  Status Claim(int64_t bytes, int64_t asked_bytes);
  Status Refuse(int64_t asked_bytes, const char* why) const;

  // Counters of this pool and all above.
  void AddTree(int64_t bytes);
  void SubtractTree(int64_t bytes);
  void CountAllocation(int64_t bytes);
  // Takes the bytes of a freed block out of the counters, detached bytes first. Returns those that were still
  // in the limit: the caller releases them from `used`, or keeps them there as cached.
  int64_t UncountAllocation(int64_t bytes);
  void DetachTree();
  // Sums over this pool and below of a counter that only grows. They are kept where they arise, because an
  // allocation must not pay for each level; a pool that dies leaves its own to its parent.
  int64_t Sum(std::atomic<int64_t> Impl::*counter);
  void LeaveParent();

  BudgetPool* const pool;
  Budget::Impl* const budget;
  Impl* const parent;
  alignas(64) std::atomic<int64_t> refs{1};
  std::atomic<int64_t> attached{0};  // allocated by this pool itself, inside the limit
  std::atomic<int64_t> detached{0};  // allocated by this pool itself, held by the caller
  std::atomic<int64_t> tree{0};      // attached and reserved, this pool and below
  std::atomic<int64_t> peak{0};
  std::atomic<int64_t> total{0};        // ever allocated by this pool itself and by dead children
  std::atomic<int64_t> allocations{0};  // the same, blocks
  std::mutex children_mutex;
  std::vector<Impl*> children;  // each leaves before it dies
};

}  // namespace partita
