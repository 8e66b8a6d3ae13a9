#include "partita/dataset/commit_log.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "partita/base/env_fault.h"

namespace partita {
namespace {

class CommitLogTest : public ::testing::Test {
 protected:
  CommitLogTest()
      : path_((std::filesystem::temp_directory_path() / ("partita-log-" + Env::Default()->RandomHex(8)))
                  .string()) {}
  ~CommitLogTest() override { std::filesystem::remove(path_); }

  static TaskCommit Of(int64_t partition) {
    TaskCommit commit;
    commit.partition = partition;
    commit.outputs.push_back(
        {.output = 0, .dataset = 0, .rows = 5, .files = {{"part-00000-000.csv", 5, 60}}});
    return commit;
  }

  const std::string path_;
};

TEST_F(CommitLogTest, ALineThatDidNotFitOnTheDiskDoesNotSwallowTheNext) {
  FaultEnv env;
  {
    auto log = *CommitLog::Open(&env, path_);
    ASSERT_TRUE(log->Append(Of(0)).ok());
    env.FailAfterBytes(20);
    EXPECT_EQ(KindOf(log->Append(Of(1))), ErrorKind::kResource);
    EXPECT_FALSE(log->Contains(0, 1));
    env.FailAfterBytes(-1);
    ASSERT_TRUE(log->Append(Of(2)).ok());
  }
  const auto log = *CommitLog::Open(&env, path_);
  EXPECT_TRUE(log->Contains(0, 0));
  EXPECT_FALSE(log->Contains(0, 1));
  EXPECT_TRUE(log->Contains(0, 2));
}

TEST_F(CommitLogTest, ATornEndIsDroppedAndTheLogGoesOn) {
  {
    auto log = *CommitLog::Open(Env::Default(), path_);
    ASSERT_TRUE(log->Append(Of(0)).ok());
    ASSERT_TRUE(log->Append(Of(1)).ok());
  }
  std::filesystem::resize_file(path_, std::filesystem::file_size(path_) - 3);
  {
    auto log = *CommitLog::Open(Env::Default(), path_);
    EXPECT_TRUE(log->Contains(0, 0));
    EXPECT_FALSE(log->Contains(0, 1));
    ASSERT_TRUE(log->Append(Of(2)).ok());
  }
  EXPECT_EQ((*CommitLog::Open(Env::Default(), path_))->commits().size(), 2);
}

}  // namespace
}  // namespace partita
