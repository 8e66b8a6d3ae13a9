#include "partita/storage/read_ahead.h"

#include <gtest/gtest.h>

#include <atomic>
#include <random>
#include <string>
#include <thread>

#include "partita/memory/budget.h"

namespace partita {
namespace {

// Counting bytes, told which threads asked for them; may fail once at an offset.
class Counting final : public ByteSource {
 public:
  struct Seen {
    std::atomic<int> requests{0}, elsewhere{0};
    std::thread::id reader = std::this_thread::get_id();
  };
  Counting(int64_t size, Seen* seen, int64_t fails_at = -1) : size_(size), fails_at_(fails_at), seen_(seen) {}

  static uint8_t At(int64_t offset) { return static_cast<uint8_t>(offset * 31 + (offset >> 11)); }
  Result<int64_t> Read(int64_t size, uint8_t* out) override {
    ++seen_->requests;
    if (std::this_thread::get_id() != seen_->reader) ++seen_->elsewhere;
    if (fails_at_ >= at_ && fails_at_ < at_ + size) {
      fails_at_ = -1;
      return EnvironmentError("the network is down");
    }
    const int64_t got = std::min(size, size_ - at_);
    for (int64_t i = 0; i < got; ++i) out[i] = At(at_ + i);
    at_ += got;
    return got;
  }
  Result<int64_t> Skip(int64_t size) override {
    const int64_t skipped = std::min(size, size_ - at_);
    at_ += skipped;
    return skipped;
  }
  int64_t bytes_read() const override { return at_; }

 private:
  int64_t size_, fails_at_, at_ = 0;
  Seen* seen_;
};

class ReadAheadTest : public ::testing::Test {
 protected:
  std::unique_ptr<ByteSource> Open(int64_t size, int64_t fails_at = -1, bool known = true) {
    return ReadAhead(std::make_unique<Counting>(size, &seen_, fails_at), known ? size : -1, pool_.get(),
                     pool_.get());
  }
  // Reads on to the end in steps; the number of failed reads on the way.
  static int ReadAll(ByteSource* source, int64_t step, int64_t size, int64_t at = 0) {
    std::string bytes(static_cast<size_t>(step), '\0');
    int failed = 0;
    for (;;) {
      auto got = source->Read(step, reinterpret_cast<uint8_t*>(bytes.data()));
      if (!got.ok()) {
        EXPECT_LT(++failed, 3);
        continue;
      }
      for (int64_t i = 0; i < *got; ++i) {
        if (static_cast<uint8_t>(bytes[static_cast<size_t>(i)]) != Counting::At(at + i)) {
          ADD_FAILURE() << "another byte at " << at + i;
          return failed;
        }
      }
      at += *got;
      if (*got == 0) break;
    }
    EXPECT_EQ(at, size);
    return failed;
  }

  std::shared_ptr<Budget> budget_ = Budget::Make(int64_t{256} << 20);
  std::shared_ptr<BudgetPool> pool_ = budget_->root();
  Counting::Seen seen_;
};

TEST_F(ReadAheadTest, GivesTheBytesInOrder) {
  for (const int64_t step : {int64_t{4096}, int64_t{300'000}, int64_t{3} << 20}) {
    for (const bool known : {true, false}) {
      const int64_t size = (int64_t{21} << 20) + 17;
      const auto source = Open(size, -1, known);
      ReadAll(source.get(), step, size);
      EXPECT_EQ(source->bytes_read(), size);
    }
  }
  EXPECT_GT(seen_.elsewhere, 6) << "nothing was read ahead";
  EXPECT_EQ(pool_->bytes_allocated(), 0);
}

TEST_F(ReadAheadTest, AsksOnceForASmallFile) {
  const auto source = Open(1000);
  ReadAll(source.get(), 100, 1000);
  EXPECT_LE(seen_.requests, 2);  // the second finds the end
  EXPECT_EQ(seen_.elsewhere, 0);
}

TEST_F(ReadAheadTest, AnErrorLosesNothing) {
  const int64_t size = int64_t{16} << 20;
  int told = 0;  // an error with bytes before it comes with the next call, or is over by then
  for (int64_t fails_at = 0; fails_at < size; fails_at += 1'234'567) {
    const auto source = Open(size, fails_at);
    told += ReadAll(source.get(), 50'000, size);
  }
  EXPECT_GT(told, 0);
}

TEST_F(ReadAheadTest, SkipsOverWhatIsUnderWay) {
  const int64_t size = int64_t{32} << 20;
  std::mt19937 random(7);
  for (int round = 0; round < 20; ++round) {
    const auto source = Open(size);
    std::string bytes(64 << 10, '\0');
    int64_t at = 0;
    while (at < size) {
      const int64_t on = random() % 2 == 0 ? int64_t{3} << 20 : 4096;
      for (int64_t end = std::min(size, at + on); at < end;) {
        const int64_t got =
            *source->Read(std::min<int64_t>(end - at, 64 << 10), reinterpret_cast<uint8_t*>(bytes.data()));
        ASSERT_GT(got, 0);
        ASSERT_EQ(static_cast<uint8_t>(bytes[0]), Counting::At(at));
        ASSERT_EQ(static_cast<uint8_t>(bytes[static_cast<size_t>(got - 1)]), Counting::At(at + got - 1));
        at += got;
      }
      for (int64_t left = random() % (6 << 20); left > 0;) {
        const int64_t skipped = *source->Skip(left);
        if (skipped == 0) break;
        left -= skipped;
        at += skipped;
      }
    }
    EXPECT_EQ(*source->Read(1, reinterpret_cast<uint8_t*>(bytes.data())), 0);
  }
}

TEST_F(ReadAheadTest, WithoutMemoryReadsOneByOne) {
  auto rest = pool_->Reserve(budget_->available_bytes() - (256 << 10));
  ASSERT_TRUE(rest.ok());
  const int64_t size = int64_t{8} << 20;
  const auto source = Open(size);
  ReadAll(source.get(), 64 << 10, size);
  EXPECT_EQ(seen_.elsewhere, 0);
}

}  // namespace
}  // namespace partita
