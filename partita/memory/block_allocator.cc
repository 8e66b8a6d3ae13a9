#include "partita/memory/block_allocator.h"

#include <sanitizer/asan_interface.h>  // its macros are empty where the sanitizer is off
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <limits>
#include <utility>

#include "partita/memory/budget.h"

namespace partita {
namespace {

constexpr int64_t kMaxClassBytes = 256 << 20;  // larger blocks are rounded to pages and never cached
constexpr int64_t kMallocHeaderBytes = 16;
constexpr int64_t kMinAlignment = 64;
constexpr int64_t kClassesPerDoubling = 16;

// Saturates, so that absurd requests are refused instead of wrapping.
int64_t RoundUp(int64_t value, int64_t multiple) {
  if (value > std::numeric_limits<int64_t>::max() - multiple) return std::numeric_limits<int64_t>::max();
  return (value + multiple - 1) & ~(multiple - 1);
}

// The distance between two classes around `size`.
int64_t ClassStep(int64_t size) {
  const auto floor = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(size)));
  return std::max(kPageBytes, floor / kClassesPerDoubling);
}

void Unmap(uint8_t* block, int64_t bytes) {
  // The kernel may be unable to split a mapping; then its pages go back and only addresses leak.
  if (munmap(block, bytes) != 0) madvise(block, bytes, MADV_DONTNEED);
}

uint8_t* MapPages(int64_t bytes, int64_t alignment) {
  const int64_t slack = alignment > kPageBytes ? alignment : 0;
  if (bytes > std::numeric_limits<int64_t>::max() - slack) return nullptr;
  void* mapped = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  auto* start = static_cast<uint8_t*>(mapped);
  if (slack == 0) return start;
  const auto address = reinterpret_cast<uintptr_t>(start);
  const auto before = static_cast<int64_t>(-address & (static_cast<uintptr_t>(alignment) - 1));
  if (before > 0) Unmap(start, before);
  if (slack > before) Unmap(start + before + bytes, slack - before);
  return start + before;
}

}  // namespace

bool IsLargeBlock(int64_t size) { return size >= kLargeBlockBytes; }

int64_t BlockCapacity(int64_t size, int64_t alignment) {
  if (!IsLargeBlock(size)) return RoundUp(size + kMallocHeaderBytes, std::max(alignment, kMinAlignment));
  return RoundUp(size, size <= kMaxClassBytes ? ClassStep(size) : kPageBytes);
}

uint8_t* AllocateSmall(int64_t size, int64_t alignment) {
  // All of the counted capacity but malloc's own header, so that a block can grow inside it.
  const int64_t usable = BlockCapacity(size, alignment) - kMallocHeaderBytes;
  void* block = nullptr;
  if (posix_memalign(&block, std::max(alignment, kMinAlignment), usable) != 0) return nullptr;
  return static_cast<uint8_t*>(block);
}

void FreeSmall(uint8_t* block) { std::free(block); }

LargeBlocks::LargeBlocks(int64_t max_cached_bytes, std::function<void(int64_t)> on_drop)
    : max_cached_bytes_(max_cached_bytes), on_drop_(std::move(on_drop)) {}

LargeBlocks::~LargeBlocks() { Drop(std::numeric_limits<int64_t>::max()); }

int LargeBlocks::ClassOf(int64_t capacity) {
  const int doubling = std::bit_width(static_cast<uint64_t>(capacity)) - 1;
  const int first = std::bit_width(static_cast<uint64_t>(kLargeBlockBytes)) - 1;
  const int64_t step = (capacity - (int64_t{1} << doubling)) * kClassesPerDoubling >> doubling;
  return std::min((doubling - first) * static_cast<int>(kClassesPerDoubling) + static_cast<int>(step),
                  kClasses - 1);
}

uint8_t* LargeBlocks::Take(int64_t size, int64_t slack, int64_t* capacity) {
  if (size > kMaxClassBytes || cached_bytes() < size) return nullptr;
  const int64_t most = size + slack;
  std::lock_guard lock(mutex_);
  const int last = ClassOf(most);
  for (int c = ClassOf(size); c <= last; ++c) {
    auto& blocks = cached_[c];
    // The newest first: its pages are warm. At the ends a class has blocks that do not fit.
    for (size_t i = blocks.size(); i-- > 0;) {
      if (blocks[i].capacity < size || blocks[i].capacity > most) continue;
      const Cached taken = blocks[i];
      blocks.erase(blocks.begin() + static_cast<std::ptrdiff_t>(i));
      cached_bytes_.fetch_sub(taken.capacity, std::memory_order_relaxed);
      capacities_[taken.block] = taken.capacity;
      ASAN_UNPOISON_MEMORY_REGION(taken.block, taken.capacity);
      *capacity = taken.capacity;
      return taken.block;
    }
  }
  return nullptr;
}

uint8_t* LargeBlocks::Map(int64_t size, int64_t alignment) {
  const int64_t capacity = BlockCapacity(size, alignment);
  uint8_t* block = MapPages(capacity, alignment);
  if (block == nullptr) return nullptr;
  std::lock_guard lock(mutex_);
  capacities_[block] = capacity;
  return block;
}

int64_t LargeBlocks::CapacityOf(const uint8_t* block) {
  std::lock_guard lock(mutex_);
  return capacities_.at(block);
}

int64_t LargeBlocks::Free(uint8_t* block, bool may_cache) {
  int64_t capacity;
  {
    std::lock_guard lock(mutex_);
    const auto found = capacities_.find(block);
    capacity = found->second;
    capacities_.erase(found);
    if (may_cache && PutLocked(block, capacity)) return 0;
  }
  Unmap(block, capacity);
  return capacity;
}

int64_t LargeBlocks::CutTail(uint8_t* block, int64_t capacity) {
  int64_t tail_bytes;
  {
    std::lock_guard lock(mutex_);
    tail_bytes = std::exchange(capacities_.at(block), capacity) - capacity;
  }
  Unmap(block + capacity, tail_bytes);
  return tail_bytes;
}

uint8_t* LargeBlocks::Grow(uint8_t* block, int64_t capacity) {
  std::lock_guard lock(mutex_);
  const auto found = capacities_.find(block);
  void* moved = mremap(block, found->second, capacity, MREMAP_MAYMOVE);
  if (moved == MAP_FAILED) return nullptr;
  capacities_.erase(found);
  capacities_[static_cast<uint8_t*>(moved)] = capacity;
  return static_cast<uint8_t*>(moved);
}

bool LargeBlocks::PutLocked(uint8_t* block, int64_t capacity) {
  if (capacity < kLargeBlockBytes || capacity > kMaxClassBytes || capacity > max_cached_bytes_) return false;
  if (const int64_t excess = cached_bytes() + capacity - max_cached_bytes_; excess > 0) DropLocked(excess);
  cached_[ClassOf(capacity)].push_back({block, capacity});
  cached_bytes_.fetch_add(capacity, std::memory_order_relaxed);
  ASAN_POISON_MEMORY_REGION(block, capacity);
  return true;
}

int64_t LargeBlocks::Drop(int64_t bytes) {
  std::lock_guard lock(mutex_);
  return DropLocked(bytes);
}

int64_t LargeBlocks::DropLocked(int64_t bytes) {
  int64_t dropped = 0;
  for (int visited = 0; visited < kClasses && dropped < bytes; ++visited) {
    auto& blocks = cached_[next_victim_];
    while (!blocks.empty() && dropped < bytes) {
      const Cached victim = blocks.back();
      blocks.pop_back();
      ASAN_UNPOISON_MEMORY_REGION(victim.block, victim.capacity);
      Unmap(victim.block, victim.capacity);
      dropped += victim.capacity;
    }
    if (blocks.empty()) next_victim_ = (next_victim_ + 1) % kClasses;
  }
  cached_bytes_.fetch_sub(dropped, std::memory_order_relaxed);
  if (dropped > 0) on_drop_(dropped);
  return dropped;
}

}  // namespace partita
