// The n-th system call and the n-th allocation of a whole run fail in turn, for n = 1, 2, 3 … until a run
// passes untouched. Each such run ends with a clear error or with the right bytes, and the same command run
// again ends with the bytes of a run that never failed.
//
// Sweeps of more points than the test has time for take every k-th of them and say so; PARTITA_SWEEP_POINTS
// sets how many points a sweep may have (0: all).
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "partita/base/env_fault.h"
#include "partita/memory/budget.h"
#include "partita/memory/budget_watch.h"
#include "tests/sweep/run_fixture.h"

namespace partita {
namespace {

class SweepTest : public RunFixture, public ::testing::WithParamInterface<RunCase> {
 protected:
  // Calls `attempt(n)` for n = 1, 1 + stride, … until it says that nothing was struck.
  template <typename Attempt>
  void Sweep(const std::string& what, int64_t total, int64_t points, Attempt attempt) {
    if (const char* set = std::getenv("PARTITA_SWEEP_POINTS")) points = std::atoll(set);
    const int64_t stride = points <= 0 ? 1 : std::max<int64_t>(1, (total + points - 1) / points);
    int64_t runs = 0, failed = 0;
    for (int64_t n = 1;; n += stride) {
      SCOPED_TRACE(what + " " + std::to_string(n));
      bool struck = true;
      const Status status = attempt(n, &struck);
      EXPECT_TRUE(struck || status.ok()) << RenderError(status);
      ++runs;
      failed += status.ok() ? 0 : 1;
      if (!struck || HasFatalFailure() || HasNonfatalFailure()) break;
    }
    std::printf(
        "  %s: about %lld, every %s%lld failed in turn: %lld runs, %lld of them ended with an error\n",
        what.c_str(), static_cast<long long>(total),
        stride == 1 ? "" : "n-th, n = ", static_cast<long long>(stride), static_cast<long long>(runs),
        static_cast<long long>(failed));
  }

  int64_t CountSystemCalls() {
    FaultEnv env;
    EXPECT_TRUE(Run(GetParam(), &env, Options()).ok());
    RemoveOutput();
    return env.operations();
  }

  void SweepSystemCalls(const std::string& what, int64_t points, const Status& fault, bool stay,
                        int max_attempts) {
    Expected(GetParam());
    Sweep(what, CountSystemCalls(), points, [&](int64_t n, bool* struck) {
      FaultEnv env;
      env.FailNth(n, fault, stay);
      const Status status = Run(GetParam(), &env, Options(2, max_attempts));
      *struck = env.failed();
      ExpectGoodEnd(GetParam(), status, /*expect_memory=*/false);
      return status;
    });
  }

  // `which`: 0 is the budget of looking at the sources, 1 the run's. A negative countdown stays down.
  Status RunRefusing(int which, int64_t countdown, std::shared_ptr<Budget>* budget) {
    int made = 0;
    BudgetWatch watch([&](const std::shared_ptr<Budget>& fresh) {
      if (made++ != which) return;
      *budget = fresh;
      fresh->FailNthAllocation(countdown);
    });
    return Run(GetParam(), Env::Default(), Options());
  }

  void SweepAllocations(const std::string& what, int which, int64_t points, bool stay) {
    Expected(GetParam());
    std::shared_ptr<Budget> budget;
    ASSERT_TRUE(RunRefusing(which, 0, &budget).ok());
    RemoveOutput();
    Sweep(what, budget->root()->num_allocations(), points, [&](int64_t n, bool* struck) {
      budget.reset();
      const Status status = RunRefusing(which, stay ? -n : n, &budget);
      *struck = budget->refusals() > 0;
      ExpectGoodEnd(GetParam(), status, /*expect_memory=*/true);
      return status;
    });
  }
};

TEST_P(SweepTest, OneSystemCallFails) {
  SweepSystemCalls("system calls, one fails", 120,
                   EnvironmentError("the disk is on fire", "", /*retriable=*/false),
                   /*stay=*/false, /*max_attempts=*/1);
}

TEST_P(SweepTest, AllSystemCallsFailFromOneOn) {
  SweepSystemCalls("system calls, all fail from one on", 60, EnvironmentError("the disk is gone"),
                   /*stay=*/true,
                   /*max_attempts=*/1);
}

TEST_P(SweepTest, OneSystemCallFailsAndIsTriedAgain) {
  SweepSystemCalls("system calls, one fails, two attempts", 12, EnvironmentError("the disk was busy"),
                   /*stay=*/false, /*max_attempts=*/2);
}

TEST_P(SweepTest, TheDiskIsFull) {
  Expected(GetParam());
  FaultEnv counting;
  ASSERT_TRUE(Run(GetParam(), &counting, Options()).ok());
  RemoveOutput();
  constexpr int64_t kPoints = 25;
  const int64_t step = std::max<int64_t>(1, counting.bytes_written() / kPoints);
  Sweep("bytes until the disk is full, in steps of " + std::to_string(step), kPoints, 0,
        [&](int64_t n, bool* struck) {
          FaultEnv env;
          env.FailAfterBytes((n - 1) * step);
          const Status status = Run(GetParam(), &env, Options());
          *struck = env.failed();
          ExpectGoodEnd(GetParam(), status, /*expect_memory=*/false);
          return status;
        });
}

TEST_P(SweepTest, OneAllocationOfTheSnapshotIsRefused) {
  SweepAllocations("allocations of the snapshot, one refused", 0, 25, /*stay=*/false);
}

TEST_P(SweepTest, OneAllocationIsRefused) {
  SweepAllocations("allocations, one refused", 1, 100, /*stay=*/false);
}

TEST_P(SweepTest, AllAllocationsAreRefusedFromOneOn) {
  SweepAllocations("allocations, all refused from one on", 1, 12, /*stay=*/true);
}

INSTANTIATE_TEST_SUITE_P(Runs, SweepTest, ::testing::ValuesIn(RunCases()),
                         [](const auto& info) { return std::string(info.param.name); });

}  // namespace
}  // namespace partita
