#include "components/image/host_policy.h"

#include <gtest/gtest.h>

namespace partita {
namespace {

TEST(HostPolicy, StartsAtOnceUpToItsConcurrency) {
  HostPolicy host({.max_concurrent = 2});
  EXPECT_LE(host.ReadyAt(), 0);
  host.OnStart(0);
  EXPECT_LE(host.ReadyAt(), 0);
  host.OnStart(0);
  EXPECT_EQ(host.ReadyAt(), HostPolicy::kNever);
  host.OnFinish(HostOutcome::kFine, 0, 1);
  EXPECT_LE(host.ReadyAt(), 1);
}

TEST(HostPolicy, SpacesRequestsEvenly) {
  HostPolicy host({.max_concurrent = 9, .requests_per_second = 4});
  host.OnStart(10);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 10.25);
  host.OnStart(12);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 12.25);  // unused time is no credit
}

TEST(HostPolicy, CrawlDelayOnlySlowsDownAndIsBounded) {
  HostPolicy host({.max_concurrent = 9, .requests_per_second = 1});
  host.LimitInterval(0.1);
  host.OnStart(0);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 1);
  host.LimitInterval(3);
  host.OnStart(1);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 4);
  host.LimitInterval(1e9);
  host.OnStart(4);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 4 + HostPolicy::kMaxIntervalSeconds);
}

TEST(HostPolicy, RetryAfterPausesTheHostUpToACap) {
  HostPolicy host({.max_concurrent = 9, .max_pause_s = 60});
  host.OnStart(0);
  host.OnFinish(HostOutcome::kOverloaded, 0, 1, 5.0, true);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 6);
  host.OnStart(6);
  host.OnFinish(HostOutcome::kOverloaded, 6, 7, 1e12, true);
  EXPECT_DOUBLE_EQ(host.ReadyAt(), 67);
}

TEST(HostPolicy, OverloadHalvesOnceForAllThatWereUnderWayAndRecovers) {
  HostPolicy host({.max_concurrent = 8});
  for (int i = 0; i < 8; ++i) host.OnStart(0);
  for (int i = 0; i < 8; ++i) host.OnFinish(HostOutcome::kOverloaded, 0, 1 + i);
  EXPECT_EQ(host.concurrency(), 4);
  host.OnStart(20);
  host.OnFinish(HostOutcome::kOverloaded, 20, 21);
  EXPECT_EQ(host.concurrency(), 2);
  for (int i = 0; i < 100; ++i) {
    host.OnStart(100 + i);
    host.OnFinish(HostOutcome::kFine, 100 + i, 100.5 + i);
  }
  EXPECT_EQ(host.concurrency(), 8);
}

TEST(HostPolicy, TooManyWithoutRetryAfterPausesLongerEachTime) {
  HostPolicy host({.max_concurrent = 8});
  double now = 0, last_pause = 0;
  for (int i = 0; i < 4; ++i) {
    host.OnStart(now);
    host.OnFinish(HostOutcome::kOverloaded, now, now + 0.1, {}, true);
    const double pause = host.ReadyAt() - (now + 0.1);
    EXPECT_GT(pause, last_pause);
    last_pause = pause;
    now = host.ReadyAt();
  }
}

TEST(HostPolicy, IsForgottenOnlyWhenNothingIsLost) {
  HostPolicy host({.max_concurrent = 2});
  EXPECT_TRUE(host.Forgettable(0));
  host.OnStart(0);
  EXPECT_FALSE(host.Forgettable(1));
  host.OnFinish(HostOutcome::kOverloaded, 0, 1, 5.0, true);
  EXPECT_FALSE(host.Forgettable(3));
}

}  // namespace
}  // namespace partita
