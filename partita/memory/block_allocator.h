// Where a budget's bytes come from. Knows sizes and the kernel, not limits: budget.cc asks what a block will
// count, charges that, and only then allocates.
//
// Small blocks are aligned malloc; blocks of kLargeBlockBytes and more are mmap, so that freeing gives the
// pages back. Page faults cost more than anything else here, so freed large blocks stay in a small cache by
// size class; the budget counts them, and drops them before it refuses.
//
// A block has no header: its counted size is a function of the size and alignment asked for, which Arrow
// gives back on free. Thread-safety: all of it is thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace partita {

// What a block of `size` counts: for small blocks malloc's header and padding too; for large ones a size
// class (at most 1/16 more), so that freed blocks fit later requests. size > 0, alignment a power of two;
// INT64_MAX where the sum overflows.
int64_t BlockCapacity(int64_t size, int64_t alignment);
bool IsLargeBlock(int64_t size);

// From malloc or mmap; null when the kernel has none.
uint8_t* AllocateBlock(int64_t size, int64_t alignment);
void FreeBlock(uint8_t* block, int64_t size, int64_t alignment);
// Moves pages instead of bytes. Both sizes large; growing wants alignment <= kPageBytes. Null when refused:
// the old stays.
uint8_t* RemapBlock(uint8_t* block, int64_t old_size, int64_t new_size, int64_t alignment);

inline constexpr int64_t kPageBytes = 4096;

// Free large blocks by size class, oldest dropped first when full.
class BlockCache {
 public:
  // `on_drop` hears the bytes of each dropped batch before the next operation of this cache can start, so
  // that whoever finds the cache empty also finds the bytes released.
  BlockCache(int64_t max_bytes, std::function<void(int64_t)> on_drop);
  ~BlockCache();

  // A block that AllocateBlock(size, alignment) could have given, or null.
  uint8_t* Take(int64_t size, int64_t alignment);
  // False where the cache does not want it: the caller frees it.
  bool Put(uint8_t* block, int64_t size);
  // Frees blocks until `bytes` are freed or the cache is empty; returns the bytes.
  int64_t Drop(int64_t bytes);

  int64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }

 private:
  static constexpr int kClasses = 8 * 16 + 1;  // 64 KiB to 16 MiB, 16 steps a doubling
  static int ClassOf(int64_t capacity);
  int64_t DropLocked(int64_t bytes);

  const int64_t max_bytes_;
  const std::function<void(int64_t)> on_drop_;
  std::atomic<int64_t> bytes_{0};
  std::mutex mutex_;
  std::array<std::vector<uint8_t*>, kClasses> blocks_;
  int next_victim_ = 0;  // where the next drop starts, so that no class stays unused for ever
};

}  // namespace partita
