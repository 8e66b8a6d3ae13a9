#include "partita/session/epoch.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

namespace partita {
namespace {

std::vector<Chunk> Chunks(const std::vector<int64_t>& rows) {
  std::vector<Chunk> chunks;
  int64_t first = 0;
  for (const int64_t count : rows) {
    Chunk chunk;
    chunk.part.index = static_cast<int64_t>(chunks.size());
    chunk.part.first_row = first;
    chunk.part.rows = chunk.rows = count;
    chunk.bytes = 10 * count;
    first += count;
    chunks.push_back(chunk);
  }
  return chunks;
}

std::vector<WindowRead> Reads(const std::vector<Chunk>& chunks, const EpochOrder& order,
                              const std::vector<RowInterval>& intervals) {
  auto reads = ReadsOf(chunks, order, intervals);
  EXPECT_TRUE(reads.ok()) << reads.status().ToString();
  return reads.ok() ? *reads : std::vector<WindowRead>{};
}

std::vector<int64_t> ChunkOrder(const std::vector<WindowRead>& reads) {
  std::vector<int64_t> order;
  for (const auto& read : reads) {
    for (const auto& chunk : read.chunks) order.push_back(chunk.part.index);
  }
  return order;
}

TEST(Epoch, EveryChunkOnceInAnOrderOfSeedAndEpoch) {
  const auto chunks = Chunks(std::vector<int64_t>(40, 7));
  std::set<std::vector<int64_t>> orders;
  for (uint64_t seed : {1, 2}) {
    for (int64_t epoch : {0, 1}) {
      const EpochOrder order{seed, epoch, EpochShuffle::kGlobal, 100, 1000};
      const auto found = ChunkOrder(Reads(chunks, order, {{0, 280}}));
      EXPECT_EQ(found, ChunkOrder(Reads(chunks, order, {{0, 280}})));
      EXPECT_EQ(std::set<int64_t>(found.begin(), found.end()).size(), 40u);
      EXPECT_EQ(found.size(), 40u);
      orders.insert(found);
    }
  }
  EXPECT_EQ(orders.size(), 4u);
}

TEST(Epoch, WindowsKeepBelowRowsAndBytesButForAChunkThatIsLarger) {
  const auto chunks = Chunks({5, 50, 5, 5, 5, 200, 5, 5});
  for (const auto& read : Reads(chunks, {3, 0, EpochShuffle::kGlobal, 60, 500}, {{0, 280}})) {
    int64_t rows = 0;
    for (const auto& chunk : read.chunks) rows += chunk.rows;
    EXPECT_TRUE(rows <= 50 || read.chunks.size() == 1) << rows;
    EXPECT_EQ(read.first, 0);
    EXPECT_EQ(read.rows, rows);
    EXPECT_TRUE(read.permuted);
  }
}

TEST(Epoch, TheFirstWindowsOfAShuffledEpochAreSmall) {
  const auto chunks = Chunks(std::vector<int64_t>(60, 10));
  std::vector<int64_t> rows;
  for (const auto& read : Reads(chunks, {3, 0, EpochShuffle::kGlobal, 160, 1 << 20}, {{0, 600}}))
    rows.push_back(read.rows);
  EXPECT_EQ(rows, (std::vector<int64_t>{20, 40, 80, 160, 160, 140}));
  // Windows of a single chunk stay that.
  for (const auto& read : Reads(chunks, {3, 0, EpochShuffle::kGlobal, 1, 1}, {{0, 600}}))
    EXPECT_EQ(read.rows, 10);
}

TEST(Epoch, AnIntervalIsReadFromTheWindowsThatHoldIt) {
  const auto chunks = Chunks(std::vector<int64_t>(10, 10));
  const EpochOrder order{1, 0, EpochShuffle::kLocal, 1000, 1000};
  const auto reads = Reads(chunks, order, {{25, 42}});
  ASSERT_EQ(reads.size(), 3u);
  EXPECT_EQ(reads[0].window, 2);
  EXPECT_EQ(reads[0].first, 5);
  EXPECT_EQ(reads[0].rows, 5);
  EXPECT_EQ(reads[1].rows, 10);
  EXPECT_EQ(reads[2].rows, 2);
}

TEST(Epoch, PlainOrderTouchesNoChunkMoreThanItNeeds) {
  const auto chunks = Chunks(std::vector<int64_t>(10, 10));
  const auto reads = Reads(chunks, {0, 0, EpochShuffle::kNone, 1000, 1000}, {{25, 42}, {99, 100}});
  ASSERT_EQ(reads.size(), 2u);
  EXPECT_EQ(ChunkOrder(reads), (std::vector<int64_t>{2, 3, 4, 9}));
  EXPECT_EQ(reads[0].first, 5);
  EXPECT_EQ(reads[0].rows, 17);
  EXPECT_EQ(reads[1].first, 9);
}

TEST(Epoch, IntervalsThatAreNoPartOfTheLineAreRefused) {
  const auto chunks = Chunks({10, 0, 10});
  for (const RowInterval wrong : {RowInterval{-1, 2}, {5, 4}, {0, 21}}) {
    EXPECT_FALSE(ReadsOf(chunks, {}, {wrong}).ok());
  }
  EXPECT_EQ(Reads(chunks, {}, {{20, 20}}).size(), 0u);
  EXPECT_EQ(Reads({}, {}, {}).size(), 0u);
  EXPECT_FALSE(ReadsOf(chunks, {.window_rows = 0}, {{0, 1}}).ok());
  EXPECT_FALSE(ParseEpochShuffle("all").ok());
}

}  // namespace
}  // namespace partita
