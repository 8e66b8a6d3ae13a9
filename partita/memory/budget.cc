#include "partita/memory/budget.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "partita/memory/budget_impl.h"

namespace partita {
namespace {

constexpr int64_t kMaxCacheBytes = 64 << 20;
constexpr int64_t kCacheShareOfLimit = 8;

// Whoever frees inside the listener must not call it again.
thread_local bool in_listener = false;

void RaiseTo(std::atomic<int64_t>* peak, int64_t value) {
  int64_t seen = peak->load(std::memory_order_relaxed);
  while (seen < value && !peak->compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

Budget::Impl::Impl(int64_t limit_bytes)
    : limit(std::max<int64_t>(1, limit_bytes)),
      cache(std::min(limit / kCacheShareOfLimit, kMaxCacheBytes), [this](int64_t bytes) { Release(bytes); }) {
}

bool Budget::Impl::TryClaim(int64_t bytes) {
  // A compare-and-swap, not add-and-undo: a large refused claim must never make a small one fail meanwhile.
  int64_t seen = used.load();
  do {
    if (bytes > limit - seen) return false;
  } while (!used.compare_exchange_weak(seen, seen + bytes));
  RaiseTo(&peak, seen + bytes);
  return true;
}

bool Budget::Impl::Claim(int64_t bytes) {
  if (TryClaim(bytes)) return true;
  if (bytes > limit) return false;
  for (;;) {
    const int64_t missing = bytes - (limit - used.load());
    const int64_t dropped = cache.Drop(std::max<int64_t>(missing, 0));
    if (TryClaim(bytes)) return true;
    if (dropped == 0 && cache.bytes() == 0) return false;
  }
}

bool Budget::Impl::ShouldFail() {
  int64_t left = fail_countdown.load(std::memory_order_relaxed);
  while (left > 0) {
    if (fail_countdown.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return left == 1;
  }
  return false;
}

void Budget::Impl::CallListener() {
  if (in_listener) return;
  std::lock_guard lock(listener_mutex);
  if (!listener) return;
  in_listener = true;
  listener();
  in_listener = false;
}

void Budget::Impl::Unref(Budget* budget) {
  if (budget->impl_->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) delete budget;
}

Budget::Budget() = default;
Budget::~Budget() = default;

std::shared_ptr<Budget> Budget::Make(int64_t limit_bytes) {
  std::shared_ptr<Budget> budget(new Budget, Impl::Unref);
  budget->impl_ = std::make_unique<Impl>(limit_bytes);
  // The root lives inside the budget: it refers to it without owning it.
  std::shared_ptr<Budget> not_owning(std::shared_ptr<Budget>(), budget.get());
  budget->impl_->root.reset(new BudgetPool(std::move(not_owning), nullptr, "run"));
  return budget;
}

std::shared_ptr<BudgetPool> Budget::root() { return BudgetPool::Impl::Handle(impl_->root.get()); }

int64_t Budget::limit_bytes() const { return impl_->limit; }
int64_t Budget::used_bytes() const { return impl_->used.load(); }
int64_t Budget::peak_bytes() const { return impl_->peak.load(); }
int64_t Budget::held_by_caller_bytes() const { return impl_->held_by_caller.load(); }
int64_t Budget::refusals() const { return impl_->refusals.load(); }

int64_t Budget::available_bytes() const {
  // The two counters move one after the other; their sum is clamped to what can be true.
  return std::min(impl_->limit, impl_->limit - impl_->used.load() + impl_->cache.bytes());
}

void Budget::SetReleaseListener(std::function<void()> listener) {
  std::lock_guard lock(impl_->listener_mutex);
  impl_->listener = std::move(listener);
}

void Budget::AddWaiter() { impl_->waiters.fetch_add(1); }
void Budget::RemoveWaiter() { impl_->waiters.fetch_sub(1); }

void Budget::DetachToCaller(const std::shared_ptr<BudgetPool>& pool) {
  if (pool == nullptr || pool->budget() != this) return;
  pool->impl_->DetachTree();
  impl_->NotifyReleased();
}

int64_t Budget::DropCache() { return impl_->cache.Drop(std::numeric_limits<int64_t>::max()); }

void Budget::FailNthAllocation(int64_t n) { impl_->fail_countdown.store(n); }

// Counters of the tree; here because they keep the rule that budget_impl.h states.

void BudgetPool::Impl::AddTree(int64_t bytes) {
  for (Impl* level = this; level != nullptr; level = level->parent) {
    RaiseTo(&level->peak, level->tree.fetch_add(bytes, std::memory_order_relaxed) + bytes);
  }
}

void BudgetPool::Impl::SubtractTree(int64_t bytes) {
  for (Impl* level = this; level != nullptr; level = level->parent) {
    level->tree.fetch_sub(bytes, std::memory_order_relaxed);
  }
}

void BudgetPool::Impl::CountAllocation(int64_t bytes) {
  attached.fetch_add(bytes, std::memory_order_relaxed);
  total.fetch_add(bytes, std::memory_order_relaxed);
  allocations.fetch_add(1, std::memory_order_relaxed);
  AddTree(bytes);
}

int64_t BudgetPool::Impl::UncountAllocation(int64_t bytes) {
  int64_t left = bytes;
  int64_t inside_limit = 0;
  // Both counters together hold at least `left`, but a detach may be carrying bytes from one to the other:
  // then try again.
  while (left > 0) {
    int64_t seen = detached.load();
    if (seen > 0) {
      const int64_t taken = std::min(seen, left);
      if (!detached.compare_exchange_weak(seen, seen - taken)) continue;
      budget->held_by_caller.fetch_sub(taken);
      left -= taken;
      continue;
    }
    seen = attached.load();
    if (seen > 0) {
      const int64_t taken = std::min(seen, left);
      if (!attached.compare_exchange_weak(seen, seen - taken)) continue;
      inside_limit += taken;
      left -= taken;
    }
  }
  if (inside_limit > 0) SubtractTree(inside_limit);
  return inside_limit;
}

void BudgetPool::Impl::DetachTree() {
  if (const int64_t moved = attached.exchange(0); moved > 0) {
    SubtractTree(moved);
    budget->Release(moved);
    budget->held_by_caller.fetch_add(moved);
    detached.fetch_add(moved);
  }
  std::lock_guard lock(children_mutex);
  for (Impl* child : children) child->DetachTree();
}

int64_t BudgetPool::Impl::Sum(std::atomic<int64_t> Impl::*counter) {
  std::lock_guard lock(children_mutex);
  int64_t sum = (this->*counter).load(std::memory_order_relaxed);
  for (Impl* child : children) sum += child->Sum(counter);
  return sum;
}

void BudgetPool::Impl::LeaveParent() {
  std::lock_guard lock(parent->children_mutex);
  std::erase(parent->children, this);
  parent->total.fetch_add(total.load(std::memory_order_relaxed), std::memory_order_relaxed);
  parent->allocations.fetch_add(allocations.load(std::memory_order_relaxed), std::memory_order_relaxed);
}

}  // namespace partita
