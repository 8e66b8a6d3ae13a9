#include "components/python/worker_demand.h"

#include <gtest/gtest.h>

namespace partita {
namespace {

constexpr int64_t kMs = 1'000'000;

TEST(WorkerDemand, WithoutAReadyWorkerTheQueueDecides) {
  WorkerDemand demand;
  EXPECT_EQ(demand.Wanted(1000 * kMs, 3, /*any_ready=*/false), 3);
  EXPECT_EQ(demand.Wanted(1001 * kMs, 0, false), 0);
  EXPECT_EQ(demand.Wanted(1002 * kMs, -2, false), 0);
}

TEST(WorkerDemand, AMomentsQueueIsNoReasonToStartOne) {
  WorkerDemand demand;
  demand.Started(0.2);
  // Two batches come at once every 20 ms; the second one waits for 2 ms.
  for (int64_t at = 1000; at < 5000; at += 20) {
    EXPECT_EQ(demand.Wanted(at * kMs, 1, true), 0) << at;
    EXPECT_EQ(demand.Wanted((at + 2) * kMs, 0, true), 0) << at;
  }
}

TEST(WorkerDemand, BatchesThatHaveWaitedAsLongAsAStartTakesAre) {
  for (const double start_seconds : {0.2, 2.0}) {
    WorkerDemand demand;
    demand.Started(start_seconds);
    const auto begin = int64_t{10'000};
    const auto early = begin + static_cast<int64_t>(300 * start_seconds);
    const auto late = begin + static_cast<int64_t>(1500 * start_seconds);
    EXPECT_EQ(demand.Wanted(begin * kMs, 1, true), 0);
    EXPECT_EQ(demand.Wanted(early * kMs, 1, true), 0);
    EXPECT_EQ(demand.Wanted(late * kMs, 1, true), 1);
    EXPECT_EQ(demand.Wanted(late * kMs, 0, true), 0) << "nothing waits any more";
  }
}

TEST(WorkerDemand, AsManyAreStartedAsHaveWaitedOnAverage) {
  WorkerDemand demand;
  demand.Started(0.1);
  EXPECT_EQ(demand.Wanted(1000 * kMs, 6, true), 0);
  EXPECT_EQ(demand.Wanted(2000 * kMs, 6, true), 6);
  EXPECT_EQ(demand.Wanted(2001 * kMs, 9, true), 6) << "what has just come has not waited";
}

TEST(WorkerDemand, WhatWasDearToStartStaysLonger) {
  WorkerDemand demand;
  EXPECT_DOUBLE_EQ(demand.idle_seconds(), 5);
  demand.Started(30);
  EXPECT_DOUBLE_EQ(demand.idle_seconds(), 30);
  demand.Started(600);
  EXPECT_DOUBLE_EQ(demand.idle_seconds(), 60);
}

}  // namespace
}  // namespace partita
