#include "partita/memory/budget.h"

#include <arrow/buffer.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

#include "partita/base/units.h"

namespace partita {
namespace {

using testing::HasSubstr;

std::shared_ptr<arrow::ResizableBuffer> NewBuffer(int64_t size, arrow::MemoryPool* pool) {
  return arrow::AllocateResizableBuffer(size, pool).ValueOrDie();
}

TEST(Budget, CountsWhatTheAllocatorTakesAndEndsAtZero) {
  auto budget = Budget::Make(kGiB);
  auto pool = budget->root()->NewChild("step");
  for (const int64_t size : {1, 63, 64, 1000, 65535, 65536, 65537, 1 << 20, (16 << 20) + 1, 40 << 20}) {
    auto buffer = NewBuffer(size, pool.get());
    std::memset(buffer->mutable_data(), 0x5a, size);
    EXPECT_GE(pool->bytes_allocated(), size);
    EXPECT_LE(pool->bytes_allocated(), size + size / 16 + 4096);
    EXPECT_GE(budget->used_bytes(), pool->bytes_allocated());
    EXPECT_EQ(budget->root()->bytes_allocated(), pool->bytes_allocated());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0u);
    buffer.reset();
    EXPECT_EQ(pool->bytes_allocated(), 0);
  }
  EXPECT_EQ(pool->num_allocations(), 10);
  pool.reset();
  EXPECT_EQ(budget->root()->num_allocations(), 10) << "those of steps that are gone too";
  EXPECT_GE(budget->root()->total_bytes_allocated(), 57 << 20);
  EXPECT_GE(budget->root()->max_memory(), 40 << 20);
  EXPECT_GE(budget->peak_bytes(), budget->root()->max_memory());
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
  EXPECT_EQ(budget->available_bytes(), kGiB);
}

TEST(Budget, NothingIsAllocatedForNoBytes) {
  auto budget = Budget::Make(kMiB);
  auto pool = budget->root();
  uint8_t* empty = nullptr;
  ASSERT_TRUE(pool->Allocate(0, &empty).ok());
  ASSERT_NE(empty, nullptr);
  EXPECT_EQ(budget->used_bytes(), 0);
  ASSERT_TRUE(pool->Reallocate(0, 100, &empty).ok());
  EXPECT_GT(budget->used_bytes(), 0);
  ASSERT_TRUE(pool->Reallocate(100, 0, &empty).ok());
  ASSERT_NE(empty, nullptr);
  EXPECT_EQ(budget->used_bytes(), 0);
  pool->Free(empty, 0);
}

TEST(Budget, HonoursAlignment) {
  auto budget = Budget::Make(256 * kMiB);
  auto pool = budget->root();
  for (int64_t alignment = 1; alignment <= 1 << 21; alignment *= 2) {
    for (const int64_t size : {int64_t{10}, int64_t{5000}, int64_t{100'000}, int64_t{3} << 20}) {
      uint8_t* block = nullptr;
      ASSERT_TRUE(pool->Allocate(size, alignment, &block).ok());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u) << size << " " << alignment;
      std::memset(block, 1, size);
      ASSERT_TRUE(pool->Reallocate(size, 2 * size, alignment, &block).ok());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u) << size << " " << alignment;
      EXPECT_EQ(block[size - 1], 1);
      std::memset(block, 2, 2 * size);
      ASSERT_TRUE(pool->Reallocate(2 * size, size / 2, alignment, &block).ok());
      EXPECT_EQ(reinterpret_cast<uintptr_t>(block) % alignment, 0u) << size << " " << alignment;
      pool->Free(block, size / 2, alignment);
    }
  }
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, RefusesPastTheLimitAndSaysWhoAskedForWhat) {
  auto budget = Budget::Make(2 * kMiB);
  auto step = budget->root()->NewChild("resize_images");
  auto op = step->NewChild("decode");
  auto kept = NewBuffer(kMiB, op.get());
  const int64_t used = budget->used_bytes();
  uint8_t* block = nullptr;
  const Status status = op->Allocate(3 * kMiB / 2, &block);
  EXPECT_TRUE(status.IsOutOfMemory());
  EXPECT_EQ(KindOf(status), ErrorKind::kResource);
  EXPECT_THAT(MessageOf(status), HasSubstr("run > resize_images > decode: 1.50 MiB asked for"));
  EXPECT_THAT(MessageOf(status), HasSubstr("1 MiB of 2 MiB used"));
  EXPECT_THAT(RenderError(status), HasSubstr("try: "));
  EXPECT_EQ(budget->used_bytes(), used) << "a refusal changes nothing";
  EXPECT_EQ(budget->refusals(), 1);
  EXPECT_TRUE(op->Allocate(std::numeric_limits<int64_t>::max(), &block).IsOutOfMemory());
  EXPECT_TRUE(op->Allocate(std::numeric_limits<int64_t>::max() - 100, 1 << 20, &block).IsOutOfMemory());
  EXPECT_EQ(KindOf(op->Allocate(-1, &block)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(op->Allocate(10, 3, &block)), ErrorKind::kBug);
  EXPECT_EQ(budget->used_bytes(), used);
}

TEST(Budget, TheKernelsRefusalIsOutOfMemoryToo) {
  auto budget = Budget::Make(std::numeric_limits<int64_t>::max());
  auto pool = budget->root();
  uint8_t* block = nullptr;
  EXPECT_TRUE(pool->Allocate(int64_t{1} << 60, &block).IsOutOfMemory());
  EXPECT_EQ(budget->used_bytes(), 0);
  ASSERT_TRUE(pool->Allocate(kMiB, &block).ok());
  block[7] = 7;
  EXPECT_TRUE(pool->Reallocate(kMiB, int64_t{1} << 60, &block).IsOutOfMemory());
  EXPECT_EQ(block[7], 7) << "the old block stays";
  EXPECT_EQ(pool->bytes_allocated(), kMiB);
  pool->Free(block, kMiB);
}

TEST(Budget, ReallocateKeepsBytesAcrossAllKindsOfBlocks) {
  auto budget = Budget::Make(64 * kMiB);
  auto pool = budget->root()->NewChild("step");
  std::mt19937 random(3);
  const int64_t sizes[] = {
      1,      64,      100,     5000,      65472,          65530,    65535,          65536,   65540,
      70'000, 100'000, 1 << 20, 5'000'000, (16 << 20) - 1, 16 << 20, (16 << 20) + 5, 20 << 20};
  uint8_t* block = nullptr;
  int64_t size = 0;
  ASSERT_TRUE(pool->Allocate(0, &block).ok());
  for (int i = 0; i < 300; ++i) {
    const int64_t next = sizes[random() % std::size(sizes)];
    ASSERT_TRUE(pool->Reallocate(size, next, &block).ok());
    const int64_t kept = std::min(size, next);
    for (const int64_t at : {int64_t{0}, kept / 2, kept - 1}) {
      if (at < 0 || at >= kept) continue;
      ASSERT_EQ(block[at], static_cast<uint8_t>(at * 31 + 7)) << size << "->" << next;
    }
    size = next;
    for (const int64_t other : sizes) {  // the places that a later size looks at
      for (const int64_t at : {int64_t{0}, other / 2, other - 1, size / 2, size - 1}) {
        if (at < size) block[at] = static_cast<uint8_t>(at * 31 + 7);
      }
    }
    ASSERT_LE(budget->used_bytes(), budget->limit_bytes());
    ASSERT_GE(pool->bytes_allocated(), size);
  }
  pool->Free(block, size);
  EXPECT_EQ(pool->bytes_allocated(), 0);
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, ShrinkingWorksWhenTheBudgetIsFull) {
  auto budget = Budget::Make(kMiB);
  auto pool = budget->root();
  auto buffer = NewBuffer(kMiB, pool.get());
  ASSERT_EQ(budget->available_bytes(), 0);
  std::memset(buffer->mutable_data(), 9, kMiB);
  for (const int64_t size : {500'000, 70'000, 60'000, 100}) {
    ASSERT_TRUE(buffer->Resize(size, /*shrink_to_fit=*/true).ok());
    EXPECT_EQ(buffer->data()[size - 1], 9);
    EXPECT_LE(budget->used_bytes(), size + size / 16 + 4096);
  }
}

TEST(Budget, BlocksThatGrowAndShrinkUseFreedOnes) {
  auto budget = Budget::Make(64 * kMiB);
  auto pool = budget->root();
  auto kept = NewBuffer(200'000, pool.get());
  std::memset(kept->mutable_data(), 5, 200'000);
  { auto freed = NewBuffer(3 * kMiB, pool.get()); }
  const int64_t before = budget->used_bytes();
  ASSERT_TRUE(kept->Resize(2 * kMiB).ok());
  EXPECT_EQ(kept->data()[199'999], 5);
  EXPECT_EQ(pool->bytes_allocated(), 3 * kMiB) << "the freed block, whole";
  EXPECT_EQ(budget->used_bytes(), before) << "nothing new was needed";
  ASSERT_TRUE(kept->Resize(kMiB, /*shrink_to_fit=*/true).ok());
  EXPECT_EQ(pool->bytes_allocated(), kMiB);
  EXPECT_EQ(budget->used_bytes(), before - 2 * kMiB) << "what was cut off is the kernel's";
}

TEST(Budget, CachedBlocksCountAndAreDroppedBeforeARefusal) {
  auto budget = Budget::Make(16 * kMiB);
  auto pool = budget->root();
  { auto buffer = NewBuffer(kMiB, pool.get()); }
  EXPECT_EQ(pool->bytes_allocated(), 0);
  EXPECT_EQ(budget->used_bytes(), kMiB) << "the free block is kept, and counted";
  EXPECT_EQ(budget->available_bytes(), 16 * kMiB);
  {
    auto buffer = NewBuffer(kMiB, pool.get());
    EXPECT_EQ(budget->used_bytes(), kMiB) << "the free block is used again";
  }
  {
    auto everything = NewBuffer(16 * kMiB, pool.get());
    EXPECT_EQ(budget->used_bytes(), 16 * kMiB);
  }
  EXPECT_EQ(budget->refusals(), 0);
  // The cache is bounded: a quarter of the limit.
  std::vector<std::shared_ptr<arrow::Buffer>> buffers;
  for (int i = 0; i < 10; ++i) buffers.push_back(NewBuffer(kMiB + i * 70'000, pool.get()));
  buffers.clear();
  EXPECT_GT(budget->used_bytes(), 0);
  EXPECT_LE(budget->used_bytes(), 4 * kMiB);
  const int64_t cached = budget->used_bytes();
  EXPECT_EQ(budget->DropCache(), cached);
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, ReservationsClaimGrowShrinkMoveAndRelease) {
  auto budget = Budget::Make(1000);
  auto pool = budget->root()->NewChild("decode");
  auto first = pool->Reserve(400).ValueOrDie();
  EXPECT_EQ(budget->used_bytes(), 400);
  EXPECT_EQ(pool->bytes_allocated(), 400);
  ASSERT_TRUE(first.Resize(900).ok());
  EXPECT_TRUE(first.Resize(1001).IsOutOfMemory());
  EXPECT_EQ(first.bytes(), 900) << "refused growth changes nothing";
  EXPECT_EQ(budget->used_bytes(), 900);
  EXPECT_TRUE(pool->Reserve(101).status().IsOutOfMemory());
  Reservation second = pool->Reserve(100).ValueOrDie();
  ASSERT_TRUE(first.Resize(10).ok());
  EXPECT_EQ(budget->used_bytes(), 110);
  second = std::move(first);
  EXPECT_EQ(budget->used_bytes(), 10) << "the claim that was replaced is given back";
  EXPECT_EQ(first.bytes(), 0);
  Reservation third(std::move(second));
  third.Release();
  third.Release();
  EXPECT_EQ(budget->used_bytes(), 0);
  EXPECT_FALSE(third.Resize(1).ok());
  EXPECT_TRUE(third.Resize(0).ok());
  EXPECT_FALSE(pool->Reserve(-1).ok());
  {
    auto scoped = pool->Reserve(500).ValueOrDie();
    pool.reset();  // a reservation keeps its pool
    EXPECT_EQ(budget->used_bytes(), 500);
  }
  EXPECT_EQ(budget->used_bytes(), 0);
  EXPECT_EQ(budget->root()->max_memory(), 1000);
}

TEST(Budget, BuffersOutliveEveryHandle) {
  std::vector<std::shared_ptr<arrow::ResizableBuffer>> buffers;
  {
    auto budget = Budget::Make(64 * kMiB);
    auto root = budget->root();
    auto step = root->NewChild("step");
    auto op = step->NewChild("op");
    for (const auto& pool : {root, step, op}) {
      buffers.push_back(NewBuffer(100, pool.get()));
      buffers.push_back(NewBuffer(kMiB, pool.get()));
    }
  }
  for (auto& buffer : buffers) {
    std::memset(buffer->mutable_data(), 1, buffer->size());
    ASSERT_TRUE(buffer->Resize(2 * buffer->size()).ok()) << "their pools still work";
    std::memset(buffer->mutable_data(), 2, buffer->size());
  }
  buffers.clear();  // the last one takes the budget with it; the sanitizers watch
}

TEST(Budget, AStepThatIsGoneStillCountsItsBuffers) {
  auto budget = Budget::Make(kMiB);
  auto buffer = NewBuffer(1000, budget->root()->NewChild("gone").get());
  EXPECT_GE(budget->used_bytes(), 1000);
  EXPECT_GE(budget->root()->bytes_allocated(), 1000);
  buffer.reset();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, DetachedBytesLeaveTheLimitUntilTheyAreFreed) {
  auto budget = Budget::Make(4 * kMiB);
  auto step = budget->root()->NewChild("step");
  auto reservation = step->Reserve(1000).ValueOrDie();
  std::shared_ptr<arrow::Buffer> given = NewBuffer(3 * kMiB, step.get());
  auto kept = NewBuffer(100'000, step.get());
  const int64_t before = budget->used_bytes();

  // A slice stands for all it keeps alive, and twice is once.
  Budget::DetachToCaller(*arrow::SliceBuffer(given, 100, 10));
  Budget::DetachToCaller(*given);
  EXPECT_EQ(budget->held_by_caller_bytes(), 3 * kMiB);
  EXPECT_EQ(budget->used_bytes(), before - 3 * kMiB);
  EXPECT_EQ(step->bytes_allocated(), budget->used_bytes());

  // What the step goes on to allocate and free is its own, whatever the caller holds.
  { auto next = NewBuffer(3 * kMiB, step.get()); }
  EXPECT_EQ(budget->held_by_caller_bytes(), 3 * kMiB);
  budget->DropCache();

  const int64_t used = budget->used_bytes();
  step.reset();
  given.reset();
  EXPECT_EQ(budget->held_by_caller_bytes(), 0);
  EXPECT_EQ(budget->used_bytes(), used) << "it left the limit before, and is not cached on its way out";
  kept.reset();
  reservation.Release();
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, WhatTheCallerGivesBackIsUsedAgainAsLongAsARunIsUnderWay) {
  auto budget = Budget::Make(4 * kMiB);
  auto step = budget->root()->NewChild("step");
  budget->SetReleaseListener([] {});
  auto given = NewBuffer(kMiB, step.get());
  const uint8_t* block = given->data();
  Budget::DetachToCaller(*given);
  EXPECT_EQ(budget->used_bytes(), 0);
  given.reset();
  EXPECT_EQ(budget->held_by_caller_bytes(), 0);
  EXPECT_GE(budget->used_bytes(), kMiB) << "a cached block counts";
  given = NewBuffer(kMiB, step.get());
  EXPECT_EQ(given->data(), block);

  // Where there is no room it goes to the kernel: nobody is refused for it.
  Budget::DetachToCaller(*given);
  auto all = budget->root()->Reserve(4 * kMiB).ValueOrDie();
  given.reset();
  EXPECT_EQ(budget->used_bytes(), 4 * kMiB);
  all.Release();

  // The run ends: what the caller gives back later is of no use any more.
  given = NewBuffer(kMiB, step.get());
  { auto freed = NewBuffer(kMiB, step.get()); }
  Budget::DetachToCaller(*given);
  budget->SetReleaseListener(nullptr);
  EXPECT_EQ(budget->used_bytes(), 0);
  given.reset();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, OnlyMemoryOfABudgetIsDetached) {
  auto budget = Budget::Make(4 * kMiB);
  Budget::DetachToCaller(*NewBuffer(100, arrow::default_memory_pool()));
  Budget::DetachToCaller(*arrow::Buffer::FromString("text"));
  auto empty = NewBuffer(0, budget->root().get());
  Budget::DetachToCaller(*empty);
  EXPECT_EQ(budget->held_by_caller_bytes(), 0);
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, DetachedBuffersMayBeResizedByTheCaller) {
  auto budget = Budget::Make(4 * kMiB);
  auto buffer = NewBuffer(kMiB, budget->root().get());
  buffer->mutable_data()[1000] = 7;
  Budget::DetachToCaller(*buffer);
  ASSERT_TRUE(buffer->Resize(2 * kMiB).ok());
  EXPECT_EQ(buffer->data()[1000], 7);
  EXPECT_EQ(budget->held_by_caller_bytes(), 0);
  EXPECT_EQ(budget->used_bytes(), 2 * kMiB);
  Budget::DetachToCaller(*buffer);
  ASSERT_TRUE(buffer->Resize(10, /*shrink_to_fit=*/true).ok());
  EXPECT_EQ(budget->held_by_caller_bytes(), 0);
  buffer.reset();
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, AFreeWakesTheWaiter) {
  auto budget = Budget::Make(kMiB);
  int calls = 0;
  budget->SetReleaseListener([&] { ++calls; });
  auto buffer = NewBuffer(1000, budget->root().get());
  buffer.reset();
  EXPECT_EQ(calls, 0) << "nobody waits";
  budget->AddWaiter();
  buffer = NewBuffer(1000, budget->root().get());
  EXPECT_EQ(calls, 0);
  buffer.reset();
  EXPECT_EQ(calls, 1);
  buffer = NewBuffer(100'000, budget->root().get());
  buffer.reset();
  EXPECT_EQ(calls, 2) << "a block that goes into the cache is available too";
  auto reservation = budget->root()->Reserve(10).ValueOrDie();
  reservation.Release();
  EXPECT_EQ(calls, 3);
  budget->RemoveWaiter();
  buffer = NewBuffer(1000, budget->root().get());
  buffer.reset();
  EXPECT_EQ(calls, 3);
}

TEST(Budget, AListenerMayFree) {
  auto budget = Budget::Make(kMiB);
  auto spare = NewBuffer(1000, budget->root().get());
  budget->SetReleaseListener([&] { spare.reset(); });
  budget->AddWaiter();
  auto buffer = NewBuffer(1000, budget->root().get());
  buffer.reset();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(Budget, TheNthAllocationFailsOnce) {
  auto budget = Budget::Make(kGiB);
  auto pool = budget->root();
  for (int n = 1; n <= 4; ++n) {
    budget->FailNthAllocation(n);
    int failed_at = 0;
    for (int i = 1; i <= 6; ++i) {
      // Small, large, cached and reserved ones alike.
      const Status status =
          i % 2 ? arrow::AllocateBuffer(i * 40'000, pool.get()).status() : pool->Reserve(100).status();
      if (!status.ok()) {
        EXPECT_TRUE(status.IsOutOfMemory());
        EXPECT_EQ(failed_at, 0);
        failed_at = i;
      }
    }
    EXPECT_EQ(failed_at, n);
  }
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
}

}  // namespace
// An empty buffer holds no byte, and still calls its pool when it dies.
TEST(BudgetPoolTest, AnEmptyBufferMayOutliveItsBudget) {
  std::shared_ptr<arrow::Buffer> buffer;
  std::shared_ptr<arrow::ResizableBuffer> grown;
  {
    auto pool = Budget::Make(1 << 20)->root()->NewChild("step");
    buffer = *arrow::AllocateBuffer(0, pool.get());
    grown = *arrow::AllocateResizableBuffer(0, pool.get());
    ASSERT_TRUE(grown->Resize(100).ok());
    ASSERT_TRUE(grown->Resize(0).ok());
  }
  EXPECT_EQ(buffer->size(), 0);
  buffer.reset();
  ASSERT_TRUE(grown->Resize(1000).ok());
  grown.reset();
}

}  // namespace partita
