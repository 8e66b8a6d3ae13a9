#include "partita/memory/default_budget.h"

#include <gtest/gtest.h>

#include <limits>

#include "partita/base/units.h"

namespace partita {
namespace {

MachineLimits Machine(int64_t total, int64_t available, int64_t cgroup_limit = 0, int64_t cgroup_used = 0) {
  MachineLimits limits;
  limits.total_bytes = total;
  limits.available_bytes = available;
  limits.cgroup_limit_bytes = cgroup_limit;
  limits.cgroup_used_bytes = cgroup_used;
  return limits;
}

TEST(DefaultBudget, IsTheSmallerOfAShareOfTheLimitAndOfWhatIsFree) {
  EXPECT_EQ(DefaultBudgetBytes(Machine(10'000 * kMiB, 10'000 * kMiB)), 7'000 * kMiB);
  EXPECT_EQ(DefaultBudgetBytes(Machine(10'000 * kMiB, 2'000 * kMiB)), 1'700 * kMiB);
  EXPECT_EQ(DefaultBudgetBytes(Machine(10'000 * kMiB, 10'000 * kMiB, 1'000 * kMiB)), 700 * kMiB);
  EXPECT_EQ(DefaultBudgetBytes(Machine(10'000 * kMiB, 10'000 * kMiB, 1'000 * kMiB, 600 * kMiB)), 340 * kMiB);
  EXPECT_EQ(DefaultBudgetBytes(Machine(1'000 * kMiB, 1'000 * kMiB, 50'000 * kMiB)), 700 * kMiB)
      << "a cgroup may promise more than the machine has";
}

TEST(DefaultBudget, IsNeverUselesslySmall) {
  EXPECT_EQ(DefaultBudgetBytes(Machine(0, 0)), 64 * kMiB);
  EXPECT_EQ(DefaultBudgetBytes(Machine(kGiB, kGiB, kGiB, 2 * kGiB)), 64 * kMiB);
}

TEST(DefaultBudget, HugeMachinesDoNotOverflow) {
  const int64_t max = std::numeric_limits<int64_t>::max();
  EXPECT_GT(DefaultBudgetBytes(Machine(max, max)), max / 2);
}

}  // namespace
}  // namespace partita
