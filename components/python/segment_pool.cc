#include "components/python/segment_pool.h"

#include <algorithm>
#include <utility>

namespace partita {
namespace {

constexpr int64_t kLeastBytes = 64 << 10;
constexpr int64_t kIdleShare = 32;  // of the budget

// Sizes in steps of a quarter of a power of two, so that batches of about the same size share pieces.
int64_t RoundUp(int64_t bytes) {
  int64_t power = kLeastBytes;
  while (power < bytes) power *= 2;
  for (int64_t size = power / 2 + power / 8; size < power; size += power / 8) {
    if (size >= bytes) return size;
  }
  return power;
}

}  // namespace

SegmentPool::SegmentPool(std::shared_ptr<BudgetPool> pool, size_t most_idle)
    : pool_(std::move(pool)),
      most_idle_(most_idle),
      most_idle_bytes_(pool_->budget()->limit_bytes() / kIdleShare) {}

Result<SegmentPool::Lease> SegmentPool::Take(int64_t bytes) {
  const int64_t size = RoundUp(bytes);
  std::unique_ptr<Segment> segment;
  {
    const std::lock_guard lock(mutex_);
    auto best = idle_.end();
    for (auto it = idle_.begin(); it != idle_.end(); ++it) {
      const int64_t has = (*it)->memory->size();
      // Of one size the last: its pages are warm.
      if (has >= bytes && has <= 4 * size && (best == idle_.end() || has <= (*best)->memory->size()))
        best = it;
    }
    if (best != idle_.end()) {
      segment = std::move(*best);
      idle_.erase(best);
      idle_bytes_ -= segment->memory->size();
    }
  }
  if (segment == nullptr) {
    segment = std::make_unique<Segment>();
    auto claim = pool_->Reserve(size);
    if (!claim.ok()) {
      DropIdle();
      claim = pool_->Reserve(size);
    }
    ARROW_ASSIGN_OR_RAISE(segment->claim, std::move(claim));
    ARROW_ASSIGN_OR_RAISE(segment->memory, SharedMemory::Make("partita-batch", size));
  }
  const std::lock_guard lock(mutex_);
  if (segment->id == 0) segment->id = next_id_++;
  leased_bytes_ += segment->memory->size();
  ++leased_count_;
  return Lease(segment.release(),
               [self = shared_from_this()](Segment* done) { self->Return(std::unique_ptr<Segment>(done)); });
}

void SegmentPool::Return(std::unique_ptr<Segment> segment) {
  const std::lock_guard lock(mutex_);
  leased_bytes_ -= segment->memory->size();
  --leased_count_;
  if (segment->claim.bytes() == 0) {  // abandoned: whoever reads it has it mapped
    dropped_.push_back(segment->id);
  } else if (idle_.size() >= most_idle_ && idle_bytes_ + segment->memory->size() > most_idle_bytes_) {
    Drop(std::move(segment));
  } else {
    idle_bytes_ += segment->memory->size();
    idle_.push_back(std::move(segment));
  }
}

void SegmentPool::Drop(std::unique_ptr<Segment> segment) {
  dropped_.push_back(segment->id);
  segment->memory->Discard();
}

Reservation SegmentPool::Abandon(const Lease& lease) { return std::move(lease->claim); }

void SegmentPool::DropIdle() {
  const std::lock_guard lock(mutex_);
  for (auto& segment : idle_) Drop(std::move(segment));
  idle_.clear();
  idle_bytes_ = 0;
}

void SegmentPool::DropIdleIfRefused() {
  const int64_t refusals = pool_->budget()->refusals();
  {
    const std::lock_guard lock(mutex_);
    if (std::exchange(refusals_, refusals) == refusals) return;
  }
  DropIdle();
}

std::vector<int64_t> SegmentPool::DroppedSince(size_t* cursor) const {
  const std::lock_guard lock(mutex_);
  std::vector<int64_t> ids(dropped_.begin() + static_cast<std::ptrdiff_t>(std::min(*cursor, dropped_.size())),
                           dropped_.end());
  *cursor = dropped_.size();
  return ids;
}

int64_t SegmentPool::leased_bytes() const {
  const std::lock_guard lock(mutex_);
  return leased_bytes_;
}

int64_t SegmentPool::leased_count() const {
  const std::lock_guard lock(mutex_);
  return leased_count_;
}

bool SegmentPool::has_idle() const {
  const std::lock_guard lock(mutex_);
  return !idle_.empty();
}

}  // namespace partita
