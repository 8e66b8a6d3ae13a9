// First rows, and look-ups of sources that stop: what is opened, and when it ends.
#include <arrow/api.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <mutex>
#include <set>
#include <thread>

#include "partita/base/env_fault.h"
#include "partita/session/session.h"

namespace partita {
namespace {

namespace fs = std::filesystem;

constexpr int kFiles = 1000;
constexpr int64_t kRowsOfFile = 5;

class FirstRowsTest : public ::testing::Test {
 protected:
  FirstRowsTest() : folder_(fs::temp_directory_path() / ("partita-first-" + Env::Default()->RandomHex(8))) {
    fs::create_directories(folder_);
    for (int i = 0; i < kFiles; ++i) {
      char name[32];
      std::snprintf(name, sizeof name, "part-%04d.csv", i);
      std::ofstream out(folder_ / name);
      out << "id\n";
      for (int64_t row = 0; row < kRowsOfFile; ++row) out << i * kRowsOfFile + row << "\n";
    }
    env_.SetHook([this](std::string_view op, const std::string& path) {
      std::lock_guard lock(mutex_);
      if (op == "open_read" && path.ends_with(".csv")) opened_.insert(path);
      return on_operation_ ? on_operation_(op) : Status::OK();
    });
    options_.memory_bytes = int64_t{256} << 20;
    options_.threads = 4;
  }
  ~FirstRowsTest() override { fs::remove_all(folder_); }

  Pipeline Read(const std::string& then = "") {
    auto pipeline =
        ParsePipelineYaml("steps:\n  - read_csv: {path: " + folder_.string() + "}\n" + then, "test", {});
    EXPECT_TRUE(pipeline.ok()) << pipeline.status();
    return *pipeline;
  }

  Result<std::vector<int64_t>> Take(const Pipeline& pipeline, int64_t limit, RunControl control = {}) {
    Session session(&env_);
    ARROW_ASSIGN_OR_RAISE(auto stream, session.Stream(pipeline, "", limit, options_, std::move(control)));
    std::vector<int64_t> ids;
    while (true) {
      ARROW_ASSIGN_OR_RAISE(auto batch, stream->Next());
      if (!batch) return ids;
      const auto& column = static_cast<const arrow::Int64Array&>(*batch->column(0));
      for (int64_t i = 0; i < column.length(); ++i) ids.push_back(column.Value(i));
    }
  }

  size_t opened() {
    std::lock_guard lock(mutex_);
    return opened_.size();
  }

  fs::path folder_;
  RunOptions options_;
  FaultEnv env_;
  std::mutex mutex_;
  std::set<std::string> opened_;
  std::function<Status(std::string_view)> on_operation_;
};

std::vector<int64_t> Ids(int64_t begin, int64_t n) {
  std::vector<int64_t> ids(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) ids[static_cast<size_t>(i)] = begin + i;
  return ids;
}

TEST_F(FirstRowsTest, OpenOneFileOfAThousand) {
  auto ids = Take(Read(), kRowsOfFile);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, Ids(0, kRowsOfFile));
  EXPECT_EQ(opened(), 1u);
}

TEST_F(FirstRowsTest, OpenOneFileBehindAFilter) {
  auto ids = Take(Read("  - filter: id >= 2\n"), 2);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, Ids(2, 2));
  EXPECT_EQ(opened(), 1u);
}

TEST_F(FirstRowsTest, TheSchemaOpensOneFile) {
  Session session(&env_);
  auto schema = session.SchemaOf(Read());
  ASSERT_TRUE(schema.ok()) << schema.status();
  EXPECT_EQ((*schema)->ToString(), "id: int64");
  EXPECT_EQ(opened(), 1u);
}

TEST_F(FirstRowsTest, GoOnInTheNextFilesWithoutARowTwice) {
  auto ids = Take(Read(), 2 * kRowsOfFile + 1);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, Ids(0, 2 * kRowsOfFile + 1));
  ids = Take(Read("  - filter: id >= 100 and id < 110\n"), 1000);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, Ids(100, 10));
}

TEST_F(FirstRowsTest, CountersTellTheRowsOnce) {
  Observer observer;
  RunControl control;
  control.observer = &observer;
  auto ids = Take(Read("  - filter: id >= 0\n"), kFiles * kRowsOfFile + 1, control);
  ASSERT_TRUE(ids.ok()) << ids.status();
  for (const auto& step : observer.steps()) {
    if (step.op == "filter") EXPECT_EQ(step.rows_in.load(), kFiles * kRowsOfFile);
  }
}

// Rows that change places, or come from several sources, are not those of the first file.
TEST_F(FirstRowsTest, ALimitInTheMiddleIsThatOfAllFiles) {
  auto ids = Take(Read("  - limit: 7\n  - filter: id >= 1\n"), 100);
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_EQ(*ids, Ids(1, 6));
}

TEST_F(FirstRowsTest, ALookUpStopsWhenItsTokenIsSet) {
  RunControl control;
  on_operation_ = [&](std::string_view op) {
    if (op == "list_dir") control.cancel.Cancel();
    return Status::OK();
  };
  Session session(&env_);
  const auto snapshot = session.TakeSnapshot(Read(), Session::Look::kRowCounts, control);
  EXPECT_TRUE(snapshot.status().IsCancelled()) << snapshot.status();
  EXPECT_EQ(opened(), 0u);
}

TEST_F(FirstRowsTest, ALookUpStopsWhenThePollSaysSo) {
  std::atomic<bool> looking{false}, asked{false};
  on_operation_ = [&](std::string_view op) {
    if (op != "open_read") return Status::OK();
    looking = true;  // a slow file: it answers only after the caller has said stop
    while (!asked) std::this_thread::sleep_for(std::chrono::milliseconds(1));
    return Status::OK();
  };
  RunControl control;
  control.poll = [&] {
    if (!looking) return Status::OK();
    asked = true;
    return Status::Cancelled("Ctrl-C");
  };
  Session session(&env_);
  const auto snapshot = session.TakeSnapshot(Read(), Session::Look::kRowCounts, control);
  EXPECT_TRUE(snapshot.status().IsCancelled()) << snapshot.status();
  EXPECT_LT(opened(), static_cast<size_t>(kFiles));
}

}  // namespace
}  // namespace partita
