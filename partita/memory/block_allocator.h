// Where a budget's bytes come from. Knows sizes and the kernel, not limits: budget.cc asks what a block will
// count, charges that, and only then allocates.
//
// Small blocks are aligned malloc, and their counted size is a function of the size and alignment asked for,
// which Arrow gives back on free. Blocks of kLargeBlockBytes and more are mmap, so that freeing gives the
// pages back. But page faults cost more than anything else here: freed large blocks stay in a bounded cache,
// fit for later blocks of about their size, and the budget counts them and drops them before it refuses.
// What a large block holds is therefore written down, by address. Thread-safety: all of it is thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace partita {

inline constexpr int64_t kPageBytes = 4096;

bool IsLargeBlock(int64_t size);
// What a new block of `size` counts: for small blocks malloc's header and padding too; for large ones up to
// 1/16 more, so that it fits later requests. size > 0, alignment a power of two; INT64_MAX where the sum
// overflows.
int64_t BlockCapacity(int64_t size, int64_t alignment);

// malloc and free; null when there is none.
uint8_t* AllocateSmall(int64_t size, int64_t alignment);
void FreeSmall(uint8_t* block);

class LargeBlocks {
 public:
  // Of freed blocks it keeps up to `max_cached_bytes`. `on_drop` hears the bytes of each dropped batch before
  // the next operation can start, so that whoever finds the cache empty also finds the bytes released.
  LargeBlocks(int64_t max_cached_bytes, std::function<void(int64_t)> on_drop);
  ~LargeBlocks();

  // A cached block of `size` to `most` bytes, its pages as warm as can be, or null. `capacity`: what it
  // holds.
  uint8_t* Take(int64_t size, int64_t slack, int64_t* capacity);
  // A new one of BlockCapacity(size) bytes, all zero; null when the kernel has none.
  uint8_t* Map(int64_t size, int64_t alignment);
  int64_t CapacityOf(const uint8_t* block);
  // To the cache if `may_cache`, else to the kernel. Returns the bytes the kernel has got: all or 0.
  int64_t Free(uint8_t* block, bool may_cache);
  // Gives what is behind the first `capacity` bytes (whole pages) to the cache or the kernel. Returns as
  // Free.
  int64_t CutTail(uint8_t* block, int64_t capacity);
  // Grows by moving pages instead of bytes; the block may move. Null when refused: the old stays.
  uint8_t* Grow(uint8_t* block, int64_t capacity);
  // Frees cached blocks until `bytes` are freed or none is left; returns the bytes.
  int64_t Drop(int64_t bytes);
  int64_t cached_bytes() const { return cached_bytes_.load(std::memory_order_relaxed); }

 private:
  struct Cached {
    uint8_t* block;
    int64_t capacity;
  };
  static constexpr int kClasses = 12 * 16 + 1;  // 64 KiB to 256 MiB, 16 steps a doubling
  static int ClassOf(int64_t capacity);         // the last that begins at or before it
  bool PutLocked(uint8_t* block, int64_t capacity);
  int64_t DropLocked(int64_t bytes);

  const int64_t max_cached_bytes_;
  const std::function<void(int64_t)> on_drop_;
  std::atomic<int64_t> cached_bytes_{0};
  std::mutex mutex_;
  std::unordered_map<const uint8_t*, int64_t> capacities_;  // of blocks in use
  std::array<std::vector<Cached>, kClasses> cached_;
  int next_victim_ = 0;  // where the next drop starts, so that no class stays unused for ever
};

}  // namespace partita
