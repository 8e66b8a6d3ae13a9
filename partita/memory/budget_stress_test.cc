// Many threads on one budget. Run under the thread sanitizer too.
#include <arrow/buffer.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "partita/base/units.h"
#include "partita/memory/budget.h"

namespace partita {
namespace {

std::shared_ptr<arrow::ResizableBuffer> NewBuffer(int64_t size, arrow::MemoryPool* pool) {
  return arrow::AllocateResizableBuffer(size, pool).ValueOrDie();
}

// Threads allocate, resize, free, reserve, hand over and detach; an observer looks on.
TEST(BudgetStress, NeverPastTheLimitUnderStress) {
  constexpr int64_t kLimit = 8 * kMiB;
  auto budget = Budget::Make(kLimit);
  auto step = budget->root()->NewChild("step");
  std::atomic<bool> stop{false};
  std::atomic<int64_t> violations{0}, live{0}, refused{0};
  std::thread observer([&] {
    while (!stop) {
      const int64_t used = budget->used_bytes();
      violations += used > kLimit || used < 0;
      violations += budget->held_by_caller_bytes() < 0;
    }
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      std::mt19937 random(t);
      auto pool = step->NewChild("op" + std::to_string(t));
      std::vector<std::shared_ptr<arrow::ResizableBuffer>> buffers;
      std::vector<Reservation> reservations;
      for (int i = 0; i < 3000; ++i) {
        const int64_t size = 1 + static_cast<int64_t>(random() % (random() % 4 ? 10'000 : 2'000'000));
        const unsigned what = random() % 10;
        if (what < 5) {
          auto buffer = arrow::AllocateResizableBuffer(size, pool.get());
          if (buffer.ok()) {
            (*buffer)->mutable_data()[size - 1] = 1;
            buffers.push_back(*std::move(buffer));
          } else {
            ++refused;
            buffers.clear();
          }
        } else if (what < 6 && !buffers.empty()) {
          refused += !buffers[random() % buffers.size()]->Resize(size).ok();
        } else if (what < 7) {
          auto reservation = pool->Reserve(size);
          if (reservation.ok()) reservations.push_back(*std::move(reservation));
        } else if (what < 9) {
          if (!buffers.empty()) buffers.erase(buffers.begin() + random() % buffers.size());
          if (!reservations.empty()) reservations.pop_back();
        } else if (random() % 20 == 0) {
          if (!buffers.empty()) Budget::DetachToCaller(*buffers[random() % buffers.size()]);
        } else if (random() % 50 == 0) {
          pool = step->NewChild("again");  // the old one lives on in its buffers
        }
        if (buffers.size() > 64) buffers.clear();
      }
    });
  }
  for (auto& thread : threads) thread.join();
  stop = true;
  observer.join();
  EXPECT_EQ(violations, 0);
  EXPECT_GT(refused, 0) << "the test is meant to hit the limit";
  EXPECT_LE(budget->peak_bytes(), kLimit);
  budget->DropCache();
  EXPECT_EQ(budget->used_bytes(), 0);
  EXPECT_EQ(budget->held_by_caller_bytes(), 0);
  EXPECT_EQ(budget->root()->bytes_allocated(), 0);
}

// The last free and the last handle race; whoever is last cleans up, and nobody twice.
TEST(BudgetStress, LastFreeRacesWithTheHandle) {
  for (int i = 0; i < 300; ++i) {
    auto budget = Budget::Make(kMiB);
    auto pool = budget->root()->NewChild("step");
    auto a = NewBuffer(100, pool.get());
    auto b = NewBuffer(100, budget->root().get());
    std::thread one([&, buffer = std::move(a)]() mutable { buffer.reset(); });
    std::thread two([&, buffer = std::move(b)]() mutable { buffer.reset(); });
    budget.reset();
    pool.reset();
    one.join();
    two.join();
  }
}

// What execute/ does: a waiter registers, looks once more, sleeps. No wake-up may be lost.
TEST(BudgetStress, NoWakeUpIsLost) {
  auto budget = Budget::Make(1000);
  std::mutex mutex;
  std::condition_variable wake;
  int64_t releases = 0;
  budget->SetReleaseListener([&] {
    std::lock_guard lock(mutex);
    ++releases;
    wake.notify_all();
  });
  const auto reserve_or_wait = [&] {
    budget->AddWaiter();
    for (;;) {
      int64_t seen;
      {
        std::lock_guard lock(mutex);
        seen = releases;
      }
      auto reservation = budget->root()->Reserve(600);
      if (reservation.ok()) {
        budget->RemoveWaiter();
        return *std::move(reservation);
      }
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return releases != seen; });
    }
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 300; ++i) reserve_or_wait();
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(budget->used_bytes(), 0);
}

}  // namespace
}  // namespace partita
