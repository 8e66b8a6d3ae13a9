#include "partita/memory/budget.h"

#include <arrow/buffer.h>
#include <arrow/device.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "partita/memory/budget_impl.h"
#include "partita/memory/budget_watch.h"

namespace partita {
namespace {

constexpr int64_t kMaxCacheBytes = 512 << 20;
constexpr int64_t kCacheShareOfLimit = 4;

// Whoever frees inside the listener must not call it again.
thread_local bool in_listener = false;

std::atomic<const BudgetWatch::OnMake*> watch{nullptr};

void RaiseTo(std::atomic<int64_t>* peak, int64_t value) {
  int64_t seen = peak->load(std::memory_order_relaxed);
  while (seen < value && !peak->compare_exchange_weak(seen, value, std::memory_order_relaxed)) {
  }
}

}  // namespace

Budget::Impl::Impl(int64_t limit_bytes)
    : limit(std::max<int64_t>(1, limit_bytes)),
      large(std::min(limit / kCacheShareOfLimit, kMaxCacheBytes), [this](int64_t bytes) { Release(bytes); }) {
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
    const int64_t dropped = large.Drop(std::max<int64_t>(missing, 0));
    if (TryClaim(bytes)) return true;
    if (dropped == 0 && large.cached_bytes() == 0) return false;
  }
}

bool Budget::Impl::ShouldFail() {
  int64_t left = fail_countdown.load(std::memory_order_relaxed);
  while (left > 0) {
    if (fail_countdown.compare_exchange_weak(left, left - 1, std::memory_order_relaxed)) return left == 1;
  }
  while (left < -1) {
    if (fail_countdown.compare_exchange_weak(left, left + 1, std::memory_order_relaxed)) return false;
  }
  return left == -1;
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
  if (const auto* on_make = watch.load(std::memory_order_acquire)) (*on_make)(budget);
  return budget;
}

BudgetWatch::BudgetWatch(OnMake on_make) : on_make_(std::move(on_make)) {
  watch.store(&on_make_, std::memory_order_release);
}
BudgetWatch::~BudgetWatch() { watch.store(nullptr, std::memory_order_release); }

std::shared_ptr<BudgetPool> Budget::root() { return BudgetPool::Impl::Handle(impl_->root.get()); }

int64_t Budget::limit_bytes() const { return impl_->limit; }
int64_t Budget::used_bytes() const { return impl_->used.load(); }
int64_t Budget::peak_bytes() const { return impl_->peak.load(); }
int64_t Budget::held_by_caller_bytes() const { return impl_->held_by_caller.load(); }
int64_t Budget::refusals() const { return impl_->refusals.load(); }

int64_t Budget::available_bytes() const {
  // The two counters move one after the other; their sum is clamped to what can be true.
  return std::min(impl_->limit, impl_->limit - impl_->used.load() + impl_->large.cached_bytes());
}

void Budget::SetReleaseListener(std::function<void()> listener) {
  {
    std::lock_guard lock(impl_->listener_mutex);
    impl_->listener = std::move(listener);
    impl_->has_listener.store(impl_->listener != nullptr, std::memory_order_relaxed);
  }
  if (!impl_->has_listener.load(std::memory_order_relaxed))
    (void)DropCache();  // the caller may hold rows for long
}

void Budget::AddWaiter() { impl_->waiters.fetch_add(1); }
void Budget::RemoveWaiter() { impl_->waiters.fetch_sub(1); }

void Budget::DetachToCaller(const arrow::Buffer& buffer) {
  const arrow::Buffer* root = &buffer;
  while (root->parent() != nullptr) root = root->parent().get();
  // What a pool allocated for Arrow is always resizable; anything else lends memory that is not its own.
  if (dynamic_cast<const arrow::ResizableBuffer*>(root) == nullptr || root->capacity() == 0) return;
  const auto* manager = dynamic_cast<const arrow::CPUMemoryManager*>(root->memory_manager().get());
  if (manager == nullptr) return;
  auto* pool = dynamic_cast<BudgetPool*>(manager->pool());
  if (pool == nullptr) return;
  const auto* block = reinterpret_cast<const uint8_t*>(root->address());
  pool->impl_->Detach(block,
                      pool->impl_->CapacityOf(block, root->capacity(), arrow::kDefaultBufferAlignment));
}

int64_t Budget::DropCache() { return impl_->large.Drop(std::numeric_limits<int64_t>::max()); }

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
  total.fetch_add(bytes, std::memory_order_relaxed);
  allocations.fetch_add(1, std::memory_order_relaxed);
  AddTree(bytes);
}

void BudgetPool::Impl::Detach(const uint8_t* block, int64_t bytes) {
  {
    std::lock_guard lock(detached_mutex);
    if (!detached.emplace(block, bytes).second) return;
    detached_blocks.fetch_add(1, std::memory_order_relaxed);
  }
  budget->held_by_caller.fetch_add(bytes);
  SubtractTree(bytes);
  budget->Release(bytes);
  budget->NotifyReleased();
}

bool BudgetPool::Impl::IsDetached(const uint8_t* block) {
  if (detached_blocks.load(std::memory_order_relaxed) == 0) return false;
  std::lock_guard lock(detached_mutex);
  return detached.contains(block);
}

int64_t BudgetPool::Impl::TakeDetached(const uint8_t* block) {
  // Relaxed: whoever frees a block has seen what was done to it before its last reference went.
  if (detached_blocks.load(std::memory_order_relaxed) == 0) return 0;
  std::lock_guard lock(detached_mutex);
  const auto found = detached.find(block);
  if (found == detached.end()) return 0;
  const int64_t bytes = found->second;
  detached.erase(found);
  detached_blocks.fetch_sub(1, std::memory_order_relaxed);
  budget->held_by_caller.fetch_sub(bytes);
  return bytes;
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
