#include "partita/schedule/stretches.h"

#include <gtest/gtest.h>

#include <vector>

#include "partita/schedule/simulation_test.h"

namespace partita {
namespace {

TEST(Stretches, OneAfterTheOther) {
  Stretches stretches;
  stretches.Add(0, 5);
  for (int64_t p = 0; p < 5; ++p) {
    EXPECT_EQ(stretches.Next(), p);
    stretches.Follow(p);
  }
  EXPECT_EQ(stretches.Next(), -1);
}

TEST(Stretches, WhoBeginsElsewhereBeginsInTheMiddleOfTheLargestGap) {
  Stretches stretches;
  stretches.Add(0, 40);
  EXPECT_EQ(stretches.Next(), 0);
  EXPECT_EQ(stretches.Next(), 20);
  stretches.Follow(20);
  EXPECT_EQ(stretches.Next(), 21);
  stretches.Follow(0);
  EXPECT_EQ(stretches.Next(), 1);
  EXPECT_EQ(stretches.Next(), 11);  // of 2 to 19: nobody has come far from 0
}

TEST(Stretches, PartsThatNobodyComesToBeginInFront) {
  Stretches stretches;
  stretches.Add(3, 5);
  stretches.Add(10, 20);
  EXPECT_EQ(stretches.Next(), 10);
  EXPECT_EQ(stretches.Next(), 15);
  stretches.Follow(2);
  EXPECT_EQ(stretches.Next(), 3);
}

// Any number of hands, in any order: each partition is begun once, and few are begun elsewhere.
TEST(Stretches, EachPartitionIsBegunOnce) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const int64_t partitions = 1 + random.Below(300), hands = 1 + random.Below(6);
    Stretches stretches;
    stretches.Add(0, partitions);
    std::vector<bool> begun(static_cast<size_t>(partitions));
    std::vector<int64_t> at;
    int64_t done = 0, elsewhere = 0, last = -1;
    while (done < partitions) {
      while (static_cast<int64_t>(at.size()) < hands) {
        const int64_t p = stretches.Next();
        if (p < 0) break;
        ASSERT_FALSE(begun[static_cast<size_t>(p)]);
        begun[static_cast<size_t>(p)] = true;
        if (last < 0 || p != last + 1) ++elsewhere;
        at.push_back(p);
        last = -1;
      }
      ASSERT_FALSE(at.empty());
      const auto hand = at.begin() + random.Below(static_cast<int64_t>(at.size()));
      last = *hand;
      stretches.Follow(last);
      at.erase(hand);
      ++done;
    }
    EXPECT_EQ(stretches.Next(), -1);
    EXPECT_TRUE(hands > 1 || elsewhere == 1) << elsewhere;
    EXPECT_TRUE(partitions < 100 || elsewhere < partitions / 2) << elsewhere;
  }
}

}  // namespace
}  // namespace partita
