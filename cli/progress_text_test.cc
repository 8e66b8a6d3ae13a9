#include "cli/progress_text.h"

#include <gmock/gmock.h>

#include "cli/table.h"

namespace partita::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr int64_t kSecondNs = 1'000'000'000;

ProgressSample At(double seconds, int64_t rows, int64_t tasks_done) {
  ProgressSample sample;
  sample.seconds = seconds;
  StepSample read, resize;
  read.step = read.op = "read_parquet";
  read.rows_out = rows;
  read.busy_ns = static_cast<int64_t>(seconds * 0.5 * kSecondNs);
  resize.step = "small";
  resize.op = "resize_images";
  resize.rows_out = rows / 2;
  resize.bytes_out = rows * 1024;
  resize.rows_skipped = rows / 100;
  resize.wait_ns[static_cast<size_t>(WaitReason::kMemory)] = static_cast<int64_t>(seconds * 0.8 * kSecondNs);
  sample.steps = {read, resize};
  sample.tasks_total = 100;
  sample.tasks_done = tasks_done;
  sample.memory_used = 100 << 20;
  sample.memory_limit = 2LL << 30;
  sample.source_bytes_read = rows << 10;
  return sample;
}

ProgressFacts TwoThreads() {
  ProgressFacts facts;
  facts.threads = 2;
  return facts;
}

TEST(ProgressLines, ShowsEachStepAndTheRun) {
  const auto lines = ProgressLines(At(10, 20'000, 50), At(8, 16'000, 40), At(0, 0, 0), TwoThreads(), 200, 24);
  ASSERT_EQ(lines.size(), 5u);
  EXPECT_THAT(lines[0], HasSubstr("rows out"));
  EXPECT_THAT(lines[2], HasSubstr("read_parquet"));
  EXPECT_THAT(lines[2], HasSubstr("20,000   2,000 "));  // rows, rows/s over two seconds
  EXPECT_THAT(lines[2], HasSubstr("25 %"));             // busy half of one of two threads
  EXPECT_THAT(lines[3], HasSubstr("memory 40 %"));
  EXPECT_THAT(lines[3], HasSubstr("200 skipped"));
  EXPECT_THAT(lines[4], HasSubstr("tasks 50/100"));
  EXPECT_THAT(lines[4], HasSubstr("memory 100 MiB of 2 GiB"));
  EXPECT_THAT(lines[4], HasSubstr("read 1.95 MiB/s"));
  EXPECT_THAT(lines[4], HasSubstr("about 10 s left"));
}

TEST(ProgressLines, NeverLeavesTheTerminal) {
  auto now = At(10, 20'000, 50);
  for (int i = 0; i < 40; ++i) now.steps.push_back(now.steps[0]);
  for (size_t height : {1, 4, 5, 10, 24, 100}) {
    const auto lines = ProgressLines(now, At(8, 0, 0), At(0, 0, 0), TwoThreads(), 30, height);
    EXPECT_LE(lines.size(), std::max<size_t>(height, 4)) << height;
    for (const auto& line : lines) EXPECT_LE(DisplayWidth(line), 30u);
  }
  const auto lines = ProgressLines(now, At(8, 0, 0), At(0, 0, 0), TwoThreads(), 80, 24);
  EXPECT_THAT(lines, testing::Contains(HasSubstr("more steps")));
}

TEST(ProgressLine, IsOneLine) {
  const auto line = ProgressLine(At(10, 20'000, 50), At(5, 10'000, 40), At(0, 0, 0), TwoThreads());
  EXPECT_THAT(line, Not(HasSubstr("\n")));
  EXPECT_THAT(line, HasSubstr("small: 10,000 rows, 1,000 rows/s"));
  EXPECT_THAT(line, HasSubstr("200 skipped"));
}

TEST(SecondsLeft, CountsOnlyWhatThisRunDid) {
  const auto facts = TwoThreads();
  EXPECT_NEAR(SecondsLeft(At(10, 0, 75), At(0, 0, 50), facts), 10,
              1e-9);                                              // half of the tasks are from before
  EXPECT_LT(SecondsLeft(At(0.5, 0, 75), At(0, 0, 0), facts), 0);  // too early to tell
  EXPECT_LT(SecondsLeft(At(10, 0, 0), At(0, 0, 0), facts), 0);    // nothing done
  EXPECT_NEAR(SecondsLeft(At(10, 0, 100), At(0, 0, 0), facts), 0, 1e-9);
}

TEST(SecondsLeft, CountsRowsWhereTasksAreFew) {
  auto facts = TwoThreads();
  facts.source_rows = 40'000;
  facts.source_steps = {"read_parquet"};
  auto now = At(10, 10'000, 0), first = At(0, 0, 0);
  now.tasks_total = first.tasks_total = 1;
  EXPECT_NEAR(SecondsLeft(now, first, facts), 30, 1e-9);
}

TEST(Progress, NothingBeforeTheFirstTask) {
  const ProgressSample empty;
  EXPECT_THAT(ProgressLine(empty, empty, empty, {}), HasSubstr("tasks 0/0"));
  EXPECT_EQ(ProgressLines(empty, empty, empty, {}, 80, 24).size(), 3u);
}

TEST(WaitText, NamesTheLongestWait) {
  StepSample before, now;
  now.wait_ns[static_cast<size_t>(WaitReason::kNetwork)] = kSecondNs;
  now.wait_ns[static_cast<size_t>(WaitReason::kMemory)] = kSecondNs / 10;
  EXPECT_EQ(WaitText(now, before, 2, 1), "network 50 %");
  EXPECT_EQ(WaitText(now, now, 2, 1), "");
}

TEST(Sample, ReadsAnObserver) {
  Observer observer;
  auto* step = observer.AddStep("f", "filter");
  step->rows_out = 7;
  observer.tasks_total = 3;
  observer.current_wait = static_cast<int>(WaitReason::kWorker);
  const auto sample = Sample(observer, 1.5);
  ASSERT_EQ(sample.steps.size(), 1u);
  EXPECT_EQ(sample.steps[0].rows_out, 7);
  EXPECT_EQ(sample.tasks_total, 3);
  EXPECT_EQ(sample.wait, WaitReason::kWorker);
}

}  // namespace
}  // namespace partita::cli
