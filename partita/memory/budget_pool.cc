#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#ifdef __GLIBC__
#include <malloc.h>
#endif

#include "partita/base/units.h"
#include "partita/memory/budget.h"
#include "partita/memory/budget_impl.h"

namespace partita {
namespace {

// What an allocation of no bytes points to; never freed.
alignas(kPageBytes) uint8_t zero_size_area[1];

// A large block may hold this share of its size more than was asked for.
constexpr int64_t kWasteShare = 16;
constexpr char kKernelHasNone[] = "but the operating system has none left";

Status CheckRequest(int64_t size, int64_t alignment) {
  if (size < 0) return BugError("an allocation of " + std::to_string(size) + " bytes was asked for");
  if (alignment <= 0 || !std::has_single_bit(static_cast<uint64_t>(alignment))) {
    return BugError("an alignment of " + std::to_string(alignment) + " bytes was asked for");
  }
  return Status::OK();
}

}  // namespace

std::shared_ptr<BudgetPool> BudgetPool::Impl::Handle(BudgetPool* pool) {
  if (pool->parent_ != nullptr) return pool->weak_from_this().lock();
  auto budget = pool->budget_->weak_from_this().lock();
  return budget ? std::shared_ptr<BudgetPool>(std::move(budget), pool) : nullptr;
}

void BudgetPool::Impl::Ref() {
  if (parent == nullptr) {
    budget->Ref();
  } else {
    refs.fetch_add(1, std::memory_order_relaxed);
  }
}

void BudgetPool::Impl::Unref() {
  if (parent == nullptr) {
    Budget::Impl::Unref(pool->budget());
  } else if (refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
    delete pool;
  }
}

Status BudgetPool::Impl::Refuse(int64_t asked_bytes, const char* why) const {
  budget->refusals.fetch_add(1, std::memory_order_relaxed);
  std::string path = pool->name_;
  for (const Impl* level = parent; level != nullptr; level = level->parent)
    path = level->pool->name_ + " > " + path;
  return OutOfMemoryError(path + ": " + FormatBytes(asked_bytes) + " asked for, " + why + " (" +
                              FormatBytes(budget->used.load()) + " of " + FormatBytes(budget->limit) +
                              " used)",
                          "raise the memory budget (--memory), or use fewer threads (--threads)");
}

Status BudgetPool::Impl::Claim(int64_t bytes, int64_t asked_bytes) {
  if (budget->ShouldFail()) return Refuse(asked_bytes, "refused by a test");
  if (!budget->Claim(bytes)) return Refuse(asked_bytes, "more than the budget has left");
  return Status::OK();
}

BudgetPool::BudgetPool(std::shared_ptr<Budget> budget, std::shared_ptr<BudgetPool> parent, std::string name)
    : impl_(std::make_unique<Impl>(this, budget->impl_.get(), parent ? parent->impl_.get() : nullptr)),
      budget_(std::move(budget)),
      parent_(std::move(parent)),
      name_(std::move(name)) {
  if (parent_ == nullptr) return;
  std::lock_guard lock(parent_->impl_->children_mutex);
  parent_->impl_->children.push_back(impl_.get());
}

BudgetPool::~BudgetPool() {
  if (parent_ != nullptr) impl_->LeaveParent();
}

std::shared_ptr<BudgetPool> BudgetPool::NewChild(std::string name) {
  auto self = Impl::Handle(this);
  if (self == nullptr) return nullptr;
  auto budget = parent_ == nullptr ? budget_->shared_from_this() : budget_;
  return std::shared_ptr<BudgetPool>(new BudgetPool(std::move(budget), std::move(self), std::move(name)),
                                     [](BudgetPool* pool) { pool->impl_->Unref(); });
}

Status BudgetPool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  ARROW_RETURN_NOT_OK(CheckRequest(size, alignment));
  if (size == 0) {
    impl_->Ref();  // an empty buffer calls its pool when it dies, too
    *out = zero_size_area;
    return Status::OK();
  }
  Budget::Impl& budget = *impl_->budget;
  int64_t capacity = BlockCapacity(size, alignment);
  uint8_t* block = nullptr;
  if (IsLargeBlock(size) && alignment <= kPageBytes &&
      budget.fail_countdown.load(std::memory_order_relaxed) == 0) {
    block = budget.large.Take(size, size / kWasteShare, &capacity);  // counted already
  }
  if (block == nullptr) {
    const auto allocate = [&] {
      return IsLargeBlock(size) ? budget.large.Map(size, alignment) : AllocateSmall(size, alignment);
    };
    ARROW_RETURN_NOT_OK(impl_->Claim(capacity, size));
    block = allocate();
    if (block == nullptr && budget.large.Drop(std::numeric_limits<int64_t>::max()) > 0) block = allocate();
    if (block == nullptr) {
      budget.Release(capacity);
      budget.NotifyReleased();
      return impl_->Refuse(size, kKernelHasNone);
    }
  }
  impl_->Ref();
  impl_->CountAllocation(capacity);
  *out = block;
  return Status::OK();
}

void BudgetPool::Free(uint8_t* buffer, int64_t size, int64_t alignment) {
  if (buffer == nullptr) return;
  if (buffer == zero_size_area) {
    impl_->Unref();
    return;
  }
  Budget::Impl& budget = *impl_->budget;
  const int64_t capacity = impl_->CapacityOf(buffer, size, alignment);
  int64_t inside_limit = capacity - impl_->TakeDetached(buffer);
  if (inside_limit != 0) impl_->SubtractTree(inside_limit);
  if (!IsLargeBlock(size)) {
    FreeSmall(buffer);
    budget.Release(inside_limit);
  } else {
    // A cached block counts whole. One that the caller held counts again where there is room: a loop that
    // takes batch after batch gets the same pages.
    if (inside_limit == 0 && budget.has_listener.load(std::memory_order_relaxed) && budget.TryClaim(capacity))
      inside_limit = capacity;
    if (budget.large.Free(buffer, /*may_cache=*/inside_limit == capacity) > 0) budget.Release(inside_limit);
  }
  budget.NotifyReleased();
  impl_->Unref();
}

// Growing takes a cached block where there is one, up to twice as large because who grows will grow again:
// copying costs less than faulting pages in. Else the kernel moves the pages.
Status BudgetPool::Impl::ResizeLarge(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) {
  const int64_t capacity = budget->large.CapacityOf(*ptr);
  if (new_size <= capacity) return ShrinkLarge(new_size, BlockCapacity(new_size, alignment), *ptr);
  if (budget->fail_countdown.load(std::memory_order_relaxed) == 0) {
    int64_t taken = 0;
    if (uint8_t* block = budget->large.Take(new_size, new_size, &taken)) {  // counted already
      std::memcpy(block, *ptr, static_cast<size_t>(old_size));
      CountAllocation(taken);
      SubtractTree(capacity);
      budget->Release(budget->large.Free(*ptr, /*may_cache=*/true));
      budget->NotifyReleased();
      *ptr = block;
      return Status::OK();
    }
  }
  const int64_t growth = BlockCapacity(new_size, alignment) - capacity;
  ARROW_RETURN_NOT_OK(Claim(growth, new_size));
  uint8_t* block = budget->large.Grow(*ptr, capacity + growth);
  if (block == nullptr) {
    budget->Release(growth);
    return Refuse(new_size, kKernelHasNone);
  }
  *ptr = block;
  CountAllocation(growth);
  return Status::OK();
}

// Cuts what is too much, once it is worth it.
Status BudgetPool::Impl::ShrinkLarge(int64_t new_size, int64_t new_capacity, uint8_t* block) {
  const int64_t capacity = budget->large.CapacityOf(block);
  if (capacity - new_capacity <= new_size / kWasteShare) return Status::OK();
  const int64_t released = budget->large.CutTail(block, new_capacity);
  SubtractTree(released);
  budget->Release(released);
  budget->NotifyReleased();
  return Status::OK();
}

Status BudgetPool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) {
  ARROW_RETURN_NOT_OK(CheckRequest(new_size, alignment));
  if (old_size == 0) {
    const bool had_area = *ptr == zero_size_area;
    ARROW_RETURN_NOT_OK(Allocate(new_size, alignment, ptr));
    if (had_area) impl_->Unref();
    return Status::OK();
  }
  if (new_size == 0) {
    impl_->Ref();
    Free(*ptr, old_size, alignment);
    *ptr = zero_size_area;
    return Status::OK();
  }
  const bool large = IsLargeBlock(old_size);
  const bool detached = impl_->IsDetached(*ptr);
  if (large == IsLargeBlock(new_size) && !detached) {
    if (large && alignment <= kPageBytes) return impl_->ResizeLarge(old_size, new_size, alignment, ptr);
    if (!large && BlockCapacity(new_size, alignment) == BlockCapacity(old_size, alignment))
      return Status::OK();
  }
  if (new_size >= old_size || detached || (large && IsLargeBlock(new_size))) {
    uint8_t* block = nullptr;
    ARROW_RETURN_NOT_OK(Allocate(new_size, alignment, &block));
    std::memcpy(block, *ptr, static_cast<size_t>(std::min(old_size, new_size)));
    Free(*ptr, old_size, alignment);
    *ptr = block;
    return Status::OK();
  }
  // Shrinking is never refused by the budget: the small block replaces a part of what is counted.
  Budget::Impl& budget = *impl_->budget;
  uint8_t* block = AllocateSmall(new_size, alignment);
  if (block == nullptr) return impl_->Refuse(new_size, kKernelHasNone);
  std::memcpy(block, *ptr, static_cast<size_t>(new_size));
  const int64_t capacity = impl_->CapacityOf(*ptr, old_size, alignment);
  const int64_t shrunk = capacity - BlockCapacity(new_size, alignment);
  if (large) {
    (void)budget.large.Free(*ptr, /*may_cache=*/false);
  } else {
    FreeSmall(*ptr);
  }
  *ptr = block;
  impl_->SubtractTree(shrunk);
  budget.Release(shrunk);
  budget.NotifyReleased();
  return Status::OK();
}

void BudgetPool::ReleaseUnused() {
  budget_->DropCache();
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

int64_t BudgetPool::bytes_allocated() const { return impl_->tree.load(std::memory_order_relaxed); }
int64_t BudgetPool::max_memory() const { return impl_->peak.load(std::memory_order_relaxed); }
int64_t BudgetPool::total_bytes_allocated() const { return impl_->Sum(&Impl::total); }
int64_t BudgetPool::num_allocations() const { return impl_->Sum(&Impl::allocations); }

Result<Reservation> BudgetPool::Reserve(int64_t bytes) {
  Reservation reservation;
  reservation.pool_ = Impl::Handle(this);
  if (reservation.pool_ == nullptr) return BugError("a reservation was asked for in a pool that is gone");
  ARROW_RETURN_NOT_OK(reservation.Resize(bytes));
  return reservation;
}

Reservation::Reservation(Reservation&& other) noexcept
    : pool_(std::move(other.pool_)), bytes_(std::exchange(other.bytes_, 0)) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    Release();
    pool_ = std::move(other.pool_);
    bytes_ = std::exchange(other.bytes_, 0);
  }
  return *this;
}

Reservation::~Reservation() { Release(); }

Status Reservation::Resize(int64_t bytes) {
  if (bytes < 0) return BugError("a reservation of " + std::to_string(bytes) + " bytes was asked for");
  const int64_t growth = bytes - bytes_;
  if (growth == 0) return Status::OK();
  if (pool_ == nullptr) return BugError("a reservation without a pool cannot grow");
  BudgetPool::Impl& impl = *pool_->impl_;
  if (growth > 0) {
    ARROW_RETURN_NOT_OK(impl.Claim(growth, bytes));
    impl.AddTree(growth);
  } else {
    impl.SubtractTree(-growth);
    impl.budget->Release(-growth);
    impl.budget->NotifyReleased();
  }
  bytes_ = bytes;
  return Status::OK();
}

void Reservation::Release() {
  if (pool_ == nullptr) return;
  if (bytes_ > 0) (void)Resize(0);
  pool_.reset();
}

}  // namespace partita
