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

constexpr int64_t kMaxClassBytes = 16 << 20;  // larger blocks are rounded to pages and never cached
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

// What malloc is asked for: all of the counted capacity but its own header, so that a block can grow inside
// it.
int64_t SmallUsableBytes(int64_t size, int64_t alignment) {
  return BlockCapacity(size, alignment) - kMallocHeaderBytes;
}

void Unmap(uint8_t* block, int64_t bytes) {
  // The kernel may be unable to split a mapping; then its pages go back and only addresses leak.
  if (munmap(block, bytes) != 0) madvise(block, bytes, MADV_DONTNEED);
}

uint8_t* Map(int64_t bytes, int64_t alignment) {
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

uint8_t* AllocateBlock(int64_t size, int64_t alignment) {
  if (IsLargeBlock(size)) return Map(BlockCapacity(size, alignment), alignment);
  void* block = nullptr;
  if (posix_memalign(&block, std::max(alignment, kMinAlignment), SmallUsableBytes(size, alignment)) != 0) {
    return nullptr;
  }
  return static_cast<uint8_t*>(block);
}

void FreeBlock(uint8_t* block, int64_t size, int64_t alignment) {
  if (IsLargeBlock(size)) {
    Unmap(block, BlockCapacity(size, alignment));
  } else {
    std::free(block);
  }
}

uint8_t* RemapBlock(uint8_t* block, int64_t old_size, int64_t new_size, int64_t alignment) {
  const int64_t old_capacity = BlockCapacity(old_size, alignment);
  const int64_t new_capacity = BlockCapacity(new_size, alignment);
  const int flags = new_capacity > old_capacity ? MREMAP_MAYMOVE : 0;
  void* moved = mremap(block, old_capacity, new_capacity, flags);
  return moved == MAP_FAILED ? nullptr : static_cast<uint8_t*>(moved);
}

BlockCache::BlockCache(int64_t max_bytes, std::function<void(int64_t)> on_drop)
    : max_bytes_(max_bytes), on_drop_(std::move(on_drop)) {}

BlockCache::~BlockCache() { Drop(std::numeric_limits<int64_t>::max()); }

int BlockCache::ClassOf(int64_t capacity) {
  // Capacity is a class already: its doubling, then its step within the doubling.
  const int doubling = std::bit_width(static_cast<uint64_t>(capacity)) - 1;
  const int first = std::bit_width(static_cast<uint64_t>(kLargeBlockBytes)) - 1;
  const int64_t step = (capacity - (int64_t{1} << doubling)) * kClassesPerDoubling >> doubling;
  return (doubling - first) * static_cast<int>(kClassesPerDoubling) + static_cast<int>(step);
}

uint8_t* BlockCache::Take(int64_t size, int64_t alignment) {
  if (size > kMaxClassBytes || alignment > kPageBytes || bytes() == 0) return nullptr;
  const int64_t capacity = BlockCapacity(size, alignment);
  std::lock_guard lock(mutex_);
  auto& blocks = blocks_[ClassOf(capacity)];
  if (blocks.empty()) return nullptr;
  uint8_t* block = blocks.back();  // the newest: its pages are warm
  blocks.pop_back();
  bytes_.fetch_sub(capacity, std::memory_order_relaxed);
  ASAN_UNPOISON_MEMORY_REGION(block, capacity);
  return block;
}

bool BlockCache::Put(uint8_t* block, int64_t size) {
  if (size > kMaxClassBytes) return false;
  const int64_t capacity = BlockCapacity(size, kMinAlignment);
  if (capacity > max_bytes_) return false;
  std::lock_guard lock(mutex_);
  if (const int64_t excess = bytes() + capacity - max_bytes_; excess > 0) DropLocked(excess);
  blocks_[ClassOf(capacity)].push_back(block);
  bytes_.fetch_add(capacity, std::memory_order_relaxed);
  ASAN_POISON_MEMORY_REGION(block, capacity);
  return true;
}

int64_t BlockCache::Drop(int64_t bytes) {
  std::lock_guard lock(mutex_);
  return DropLocked(bytes);
}

int64_t BlockCache::DropLocked(int64_t bytes) {
  int64_t dropped = 0;
  for (int visited = 0; visited < kClasses && dropped < bytes; ++visited) {
    auto& blocks = blocks_[next_victim_];
    const int doubling = next_victim_ / static_cast<int>(kClassesPerDoubling);
    const int64_t base = kLargeBlockBytes << doubling;
    const int64_t capacity = base + base / kClassesPerDoubling * (next_victim_ % kClassesPerDoubling);
    while (!blocks.empty() && dropped < bytes) {
      ASAN_UNPOISON_MEMORY_REGION(blocks.back(), capacity);
      Unmap(blocks.back(), capacity);
      blocks.pop_back();
      dropped += capacity;
    }
    if (blocks.empty()) next_victim_ = (next_victim_ + 1) % kClasses;
  }
  bytes_.fetch_sub(dropped, std::memory_order_relaxed);
  if (dropped > 0) on_drop_(dropped);
  return dropped;
}

}  // namespace partita
