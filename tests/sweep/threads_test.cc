// Whole runs with more threads than processors in hardly more memory than the plan needs, so that tasks are
// preempted, wait and start again while others commit. Meant for the thread sanitizer as much as for the
// bytes.
#include <arrow/api.h>

#include <atomic>
#include <thread>

#include "components/register.h"
#include "partita/base/units.h"
#include "partita/memory/budget.h"
#include "partita/memory/budget_watch.h"
#include "partita/pipeline/pipeline.h"
#include "tests/sweep/run_fixture.h"

namespace partita {
namespace {

class ThreadsTest : public RunFixture, public ::testing::WithParamInterface<RunCase> {};

TEST_P(ThreadsTest, EightThreadsWriteTheBytesOfTwo) {
  Expected(GetParam());
  ExpectGoodEnd(GetParam(), Run(GetParam(), Env::Default(), Options(8)), /*expect_memory=*/true);
}

TEST_P(ThreadsTest, TasksThatGiveTheirMemoryBackStartAgain) {
  Expected(GetParam());
  for (int64_t every = 40; every <= 200; every += 80) {
    std::shared_ptr<Budget> budget;
    int made = 0;
    std::atomic<bool> stop{false};
    std::thread storm;
    // Waves of refusals: nobody gets memory, then everybody does.
    BudgetWatch watch([&](const std::shared_ptr<Budget>& fresh) {
      if (made++ != 1) return;
      budget = fresh;
      storm = std::thread([&] {
        for (int wave = 0; wave < 6 && !stop.load(); ++wave) {
          budget->FailNthAllocation(-every);
          std::this_thread::sleep_for(std::chrono::milliseconds(60));
          budget->FailNthAllocation(0);
          std::this_thread::sleep_for(std::chrono::milliseconds(30));
        }
      });
    });
    const Status status = Run(GetParam(), Env::Default(), Options(8));
    stop.store(true);
    if (storm.joinable()) storm.join();
    ExpectGoodEnd(GetParam(), status, /*expect_memory=*/true);
  }
}

INSTANTIATE_TEST_SUITE_P(Runs, ThreadsTest, ::testing::ValuesIn(RunCases()),
                         [](const auto& info) { return std::string(info.param.name); });

class StreamTest : public RunFixture {};

TEST_F(StreamTest, RowsLeaveInOrderAndAStreamStopsWhenItIsDropped) {
  const auto pipeline = ParsePipelineYaml(R"(
steps:
  - range: {n: 40000, rows_per_partition: 1000}
  - filter: id % 3 = 0
)",
                                          "stream", {});
  ASSERT_TRUE(pipeline.ok()) << pipeline.status();
  Session session(Env::Default());
  for (const int batches_to_take : {0, 1, 3, 1000000}) {
    auto stream = session.Stream(*pipeline, "", -1, Options(8));
    ASSERT_TRUE(stream.ok()) << stream.status();
    int64_t rows = 0;
    for (int taken = 0; taken < batches_to_take; ++taken) {
      const auto batch = (*stream)->Next();
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (*batch == nullptr) break;
      const auto& ids = static_cast<const arrow::Int64Array&>(*(*batch)->column(0));
      for (int64_t i = 0; i < ids.length(); ++i) ASSERT_EQ(ids.Value(i), 3 * rows++);
    }
    if (batches_to_take == 1000000) {
      EXPECT_EQ(rows, 13334);
    }
  }
}

TEST_F(StreamTest, ACancelledRunEnds) {
  Expected(RunCases()[0]);
  for (int polls = 0; polls < 3; ++polls) {
    const auto pipeline = ParsePipelineYaml(
        "steps:\n  - range: {n: 4000000, rows_per_partition: 100}\n  - write_csv: " + Below("out/cancelled") +
            "\n",
        "cancelled", {});
    ASSERT_TRUE(pipeline.ok()) << pipeline.status();
    Session session(Env::Default());
    const auto compiled = session.CompilePipeline(*pipeline);
    ASSERT_TRUE(compiled.ok()) << compiled.status();
    RunControl control;
    int asked = 0;
    control.poll = [&] {
      if (++asked > polls) control.cancel.Cancel();
      return Status::OK();
    };
    const auto result = session.Run(*compiled, Options(8), control);
    ASSERT_TRUE(result.status().IsCancelled()) << result.status();
    EXPECT_FALSE(std::filesystem::exists(Below("out/cancelled/_manifest.json")));
    RemoveOutput();
  }
}

}  // namespace
}  // namespace partita
