// Where a join is cut: evenly, unless keys are frequent; then partitions are worth about the same.
#include "partita/exchange/join_cuts.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>

#include "partita/runs/row_key.h"

namespace partita {
namespace {

constexpr int64_t kRows = 1'000'000;
constexpr int64_t kSample = 8000;
constexpr uint64_t kHot = uint64_t{3} << 61;  // at 3/8 of all hashes

// Rows of 100 bytes; so many of each of these hashes, the others all different.
JoinSample SampleOf(const std::vector<std::pair<uint64_t, int64_t>>& frequent, bool has_null = false) {
  JoinSample sample{kRows, kRows * 100, {}};
  for (const auto& [hash, count] : frequent) {
    for (int64_t i = 0; i < count; ++i) sample.sampled.push_back({hash, has_null});
  }
  for (uint64_t i = 0; std::ssize(sample.sampled) < kSample; ++i)
    sample.sampled.push_back({MixBits(i + 1), false});
  std::stable_sort(sample.sampled.begin(), sample.sampled.end(),
                   [](const auto& a, const auto& b) { return a.hash < b.hash; });
  return sample;
}

// How many of them are within this hash.
int64_t CutsIn(const std::vector<JoinCut>& cuts, uint64_t hash) {
  return std::count_if(cuts.begin(), cuts.end(),
                       [&](const JoinCut& cut) { return cut.hash == hash && cut.row >= 0; });
}

// Cuts stand in order, and rows of the sample are of their hash.
void ExpectSound(const std::vector<JoinCut>& cuts, const JoinSample& left, int64_t partitions) {
  ASSERT_EQ(std::ssize(cuts), partitions - 1);
  for (size_t i = 0; i < cuts.size(); ++i) {
    if (cuts[i].row >= 0) {
      EXPECT_EQ(left.sampled[static_cast<size_t>(cuts[i].row)].hash, cuts[i].hash);
    } else {
      EXPECT_GT(cuts[i].hash, 0U);
    }
    if (i == 0) continue;
    EXPECT_LE(std::pair(cuts[i - 1].hash, cuts[i - 1].row), std::pair(cuts[i].hash, cuts[i].row)) << i;
  }
}

TEST(JoinCuts, AreEvenWithoutFrequentKeys) {
  const auto cuts = CutsOfJoin(SampleOf({{kHot, 12}}), SampleOf({}), true, 8);
  ASSERT_EQ(cuts.size(), 7U);
  for (size_t p = 0; p < cuts.size(); ++p) {
    EXPECT_EQ(cuts[p].hash, (p + 1) << 61);
    EXPECT_EQ(cuts[p].row, -1);
  }
  EXPECT_TRUE(CutsOfJoin(SampleOf({{kHot, 4000}}), SampleOf({}), true, 1).empty());
  EXPECT_EQ(CutsOfJoin({}, {}, true, 4).size(), 3U);
}

TEST(JoinCuts, SplitAKeyThatFillsPartitions) {
  const auto left = SampleOf({{kHot, kSample / 2}});
  // Half of the left rows are a quarter of all.
  const auto cuts = CutsOfJoin(left, SampleOf({}), true, 16);
  ExpectSound(cuts, left, 16);
  EXPECT_GE(CutsIn(cuts, kHot), 3);
  EXPECT_LE(CutsIn(cuts, kHot), 4);
  // Of the rest, as much stands before it as it should.
  const auto before =
      std::count_if(cuts.begin(), cuts.end(), [](const auto& cut) { return cut.hash < kHot; });
  EXPECT_GE(before, 4);
  EXPECT_LE(before, 5);
}

TEST(JoinCuts, CountWhatAKeyIsJoinedTo) {
  const auto left = SampleOf({{kHot, kSample / 50}});
  const auto right = SampleOf({{kHot, kSample / 100}});
  // 20,000 rows with 10,000 each: all partitions are for them.
  const auto pairs = CutsOfJoin(left, right, true, 16);
  ExpectSound(pairs, left, 16);
  EXPECT_GE(CutsIn(pairs, kHot), 14);
  EXPECT_EQ(CutsIn(CutsOfJoin(left, right, false, 16), kHot), 0) << "a semi join has no pairs";
  const auto null_left = SampleOf({{kHot, kSample / 50}}, true),
             null_right = SampleOf({{kHot, kSample / 100}}, true);
  EXPECT_EQ(CutsIn(CutsOfJoin(null_left, null_right, true, 16), kHot), 0) << "null matches nothing";
}

TEST(JoinCuts, SplitAKeyOfTheRightSide) {
  const auto right = SampleOf({{kHot, kSample / 2}});
  const auto cuts = CutsOfJoin(SampleOf({}), right, true, 16);
  ASSERT_EQ(cuts.size(), 15U);
  EXPECT_GE(CutsIn(cuts, kHot), 3);
  EXPECT_LE(CutsIn(cuts, kHot), 4);
  for (const auto& cut : cuts) {
    EXPECT_EQ(cut.of_right, cut.row >= 0);
    if (cut.of_right) {
      EXPECT_EQ(right.sampled[static_cast<size_t>(cut.row)].hash, kHot);
    }
  }
  EXPECT_EQ(CutsIn(CutsOfJoin(SampleOf({}), right, false, 16), kHot), 0) << "a semi join stops at the first";
  EXPECT_EQ(CutsIn(CutsOfJoin(SampleOf({{kHot, 5}}), right, true, 16), kHot), 0)
      << "only pairs of the last left row are shared";
  EXPECT_EQ(CutsIn(CutsOfJoin(SampleOf({}), SampleOf({{kHot, kSample / 2}}, true), true, 16), kHot), 0);
}

TEST(JoinCuts, OfOneKeyAndOfKeysAtTheEnds) {
  for (const uint64_t hash : {uint64_t{0}, uint64_t{1}, kHot, UINT64_MAX - 1, UINT64_MAX}) {
    for (const int64_t count : {kSample / 9, kSample}) {
      for (const int64_t partitions : {2, 7, 1000}) {
        const auto left = SampleOf({{hash, count}});
        const auto cuts = CutsOfJoin(left, SampleOf({}), true, partitions);
        ExpectSound(cuts, left, partitions);
        if (hash == UINT64_MAX) {
          EXPECT_EQ(CutsIn(cuts, hash), 0);
        }
      }
    }
  }
  const auto both = SampleOf({{kHot, kSample / 3}, {kHot + 1, kSample / 3}});
  const auto cuts = CutsOfJoin(both, {}, false, 30);
  ExpectSound(cuts, both, 30);
  EXPECT_GE(CutsIn(cuts, kHot), 9);
  EXPECT_GE(CutsIn(cuts, kHot + 1), 9);
}

TEST(JoinCuts, StandWhateverTheBytes) {
  for (const int64_t bytes : {int64_t{0}, int64_t{1}, INT64_MAX}) {
    auto left = SampleOf({{kHot, kSample / 2}});
    auto right = SampleOf({{kHot, kSample / 2}});
    left.bytes = right.bytes = bytes;
    ExpectSound(CutsOfJoin(left, right, true, 100), left, 100);
  }
}

}  // namespace
}  // namespace partita
