// Runs whose tasks are executed by workers of other processes, here played by this one: whatever is reported
// twice, late or not at all, the output is the local engine's.
#include "partita/session/remote_run.h"

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <set>
#include <thread>

#include "partita/base/json.h"

namespace partita {
namespace {

namespace fs = std::filesystem;
using Do = Instruction::Kind;

class RemoteRunTest : public ::testing::Test {
 protected:
  RemoteRunTest() : folder_(fs::temp_directory_path() / ("partita-remote-" + Env::Default()->RandomHex(8))) {
    fs::create_directories(folder_);
    for (int file = 0; file < 4; ++file) {
      std::ofstream out(folder_ / ("in-" + std::to_string(file) + ".csv"));
      out << "id,k\n";
      for (int row = 0; row < 100; ++row) out << file * 100 + row << "," << (row * 37) % 11 << "\n";
    }
    options_.memory_bytes = int64_t{128} << 20;
    options_.threads = 2;
  }
  ~RemoteRunTest() override { fs::remove_all(folder_); }

  CompiledPlan Compile(const std::string& out, const std::string& steps = "  - sort: {by: k}\n") {
    auto pipeline = ParsePipelineYaml("steps:\n  - read_csv: {path: '" + (folder_ / "in-*.csv").string() +
                                          "'}\n" + steps + "  - write_csv: {path: " + Out(out) + "}\n",
                                      "test", {});
    EXPECT_TRUE(pipeline.ok()) << pipeline.status();
    auto compiled = session_.CompilePipeline(*pipeline);
    EXPECT_TRUE(compiled.ok()) << compiled.status();
    return *compiled;
  }
  std::string Out(const std::string& name) const { return (folder_ / name).string(); }

  std::map<std::string, std::string> FilesOf(const std::string& name) const {
    std::map<std::string, std::string> files;
    for (const auto& entry : fs::directory_iterator(folder_ / name)) {
      if (!entry.is_regular_file() || entry.path().filename() == "_manifest.json") continue;
      std::ifstream in(entry.path());
      files[entry.path().filename()] = {std::istreambuf_iterator<char>(in), {}};
    }
    return files;
  }

  std::map<std::string, std::string> Local(const std::string& steps = "  - sort: {by: k}\n") {
    EXPECT_TRUE(session_.Run(Compile("local", steps), options_).ok());
    return FilesOf("local");
  }

  // Runs every task; `each` may tell a report twice or lose it.
  using Tell = std::function<std::vector<Instruction>(Coordinator*, TaskRunner*, TaskId)>;
  Status Drive(RemoteRun* run, TaskRunner* runner, const Tell& tell) {
    std::deque<Instruction> todo;
    std::function<void(const std::vector<Instruction>&)> add = [&](const std::vector<Instruction>& more) {
      for (const auto& next : more) {
        const auto begins = [&](const Instruction& other) {
          return other.kind == Do::kStartTask && other.task == next.task;
        };
        if (next.kind != Do::kRecallTask) {
          todo.push_back(next);
        } else if (std::erase_if(todo, begins) > 0) {
          add(run->coordinator()->OnRecalled(next.task));
        }
      }
    };
    add(run->coordinator()->Start(3));
    for (int idle = 0; idle < 1000;) {
      if (todo.empty()) {
        add(run->coordinator()->OnTick());
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
        ++idle;
        continue;
      }
      const Instruction next = todo.front();
      todo.pop_front();
      if (next.kind == Do::kFinishRun) return Status::OK();
      if (next.kind == Do::kFailRun) return next.status;
      if (next.kind != Do::kStartTask) continue;
      for (int exchange : ExchangesReadBy(run->compiled().plan, next.task.stage)) {
        ARROW_ASSIGN_OR_RAISE(const std::string description, run->coordinator()->Describe(exchange));
        ARROW_RETURN_NOT_OK(runner->AddExchange(exchange, description));
      }
      add(tell(run->coordinator(), runner, next.task));
    }
    return BugError("the run does not end");
  }

  static TaskReport Report(TaskRunner* runner, TaskId task) {
    auto report = runner->Run(task);
    EXPECT_TRUE(report.ok()) << report.status();
    auto sent = TaskReport::FromText(report->ToText());
    EXPECT_TRUE(sent.ok()) << sent.status();
    return *sent;
  }
  static std::vector<Instruction> Honest(Coordinator* coordinator, TaskRunner* runner, TaskId task) {
    return coordinator->OnReport(Report(runner, task));
  }

  fs::path folder_;
  Session session_{Env::Default()};
  RunOptions options_;
};

TEST_F(RemoteRunTest, WritesWhatTheLocalEngineWrites) {
  Observer observer;
  auto run = session_.OpenRun(Compile("out"), options_, &observer);
  ASSERT_TRUE(run.ok()) << run.status();
  auto worker = session_.OpenWorker(Compile("out"), options_);
  ASSERT_TRUE(worker.ok()) << worker.status();
  ASSERT_TRUE(Drive(run->get(), (*worker)->runner(), Honest).ok());
  const auto result = (*run)->Finish(Status::OK());
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->datasets[0].manifest.num_rows, 400);
  EXPECT_EQ(FilesOf("out"), Local());
  for (const auto& step : observer.steps()) {
    if (step.op == "write_csv") EXPECT_EQ(step.rows_out.load(), 400);
    if (step.op == "read_csv") EXPECT_EQ(step.rows_out.load(), 400);
  }
  EXPECT_EQ(observer.tasks_done.load(), observer.tasks_total.load());
}

TEST_F(RemoteRunTest, TheFirstOfTwoReportsCounts) {
  auto run = session_.OpenRun(Compile("out"), options_, nullptr);
  auto worker = session_.OpenWorker(Compile("out"), options_);
  ASSERT_TRUE(run.ok() && worker.ok());
  const auto twice = [&](Coordinator* coordinator, TaskRunner* runner, TaskId task) {
    const auto first = Report(runner, task), second = Report(runner, task);
    auto next = coordinator->OnReport(first);
    const auto nothing = coordinator->OnReport(second);
    EXPECT_TRUE(nothing.empty());
    for (const auto& output : second.end.outputs) {
      for (const auto& file : output.files) EXPECT_FALSE(fs::exists(file.temporary)) << file.temporary;
    }
    return next;
  };
  ASSERT_TRUE(Drive(run->get(), (*worker)->runner(), twice).ok());
  ASSERT_TRUE((*run)->Finish(Status::OK()).ok());
  EXPECT_EQ(FilesOf("out"), Local());
}

TEST_F(RemoteRunTest, WhatIsLostRunsAgain) {
  auto run = session_.OpenRun(Compile("out"), options_, nullptr);
  auto worker = session_.OpenWorker(Compile("out"), options_);
  ASSERT_TRUE(run.ok() && worker.ok());
  std::map<TaskId, int> tries;
  const auto loses = [&](Coordinator* coordinator, TaskRunner* runner, TaskId task) {
    const auto report = Report(runner, task);
    if (++tries[task] == 1) return coordinator->OnLost(task, EnvironmentError("its worker is gone"));
    return coordinator->OnReport(report);
  };
  ASSERT_TRUE(Drive(run->get(), (*worker)->runner(), loses).ok());
  ASSERT_TRUE((*run)->Finish(Status::OK()).ok());
  EXPECT_EQ(FilesOf("out"), Local());
  EXPECT_FALSE(fs::exists(folder_ / "out" / "_partita" / "tmp"));
}

TEST_F(RemoteRunTest, AnotherDriverGoesOn) {
  int committed = 0;
  {
    auto run = session_.OpenRun(Compile("out"), options_, nullptr);
    auto worker = session_.OpenWorker(Compile("out"), options_);
    ASSERT_TRUE(run.ok() && worker.ok());
    const auto dies = [&](Coordinator* coordinator, TaskRunner* runner, TaskId task) {
      if (committed == 3) return coordinator->Cancel();
      ++committed;
      return Honest(coordinator, runner, task);
    };
    EXPECT_TRUE(Drive(run->get(), (*worker)->runner(), dies).IsCancelled());
    // No Finish: this driver was killed.
  }
  Observer observer;
  auto run = session_.OpenRun(Compile("out"), options_, &observer);
  auto worker = session_.OpenWorker(Compile("out"), options_);
  ASSERT_TRUE(run.ok() && worker.ok());
  EXPECT_EQ(observer.tasks_resumed.load(), 3);
  ASSERT_TRUE(Drive(run->get(), (*worker)->runner(), Honest).ok());
  ASSERT_TRUE((*run)->Finish(Status::OK()).ok());
  EXPECT_EQ(FilesOf("out"), Local());
}

TEST_F(RemoteRunTest, AnErrorOfARowComesThrough) {
  const std::string steps = "  - with_columns: {n: cast(k as bool)}\n    name: parse\n";
  auto run = session_.OpenRun(Compile("out", steps), options_, nullptr);
  auto worker = session_.OpenWorker(Compile("out", steps), options_);
  ASSERT_TRUE(run.ok() && worker.ok());
  const auto bad = [&](Coordinator* coordinator, TaskRunner* runner, TaskId task) {
    auto report = Report(runner, task);
    report.end.outputs.clear();
    report.end.status = WithContext(DataError("no number"), {.step = "parse", .row = 7});
    return coordinator->OnReport(std::move(report));
  };
  const Status ended = Drive(run->get(), (*worker)->runner(), bad);
  EXPECT_EQ(KindOf(ended), ErrorKind::kData);
  EXPECT_EQ(DetailOf(ended)->context.row, 7);
  EXPECT_FALSE((*run)->Finish(ended).ok());
  EXPECT_FALSE(fs::exists(folder_ / "out" / "_manifest.json"));
}

TEST_F(RemoteRunTest, ReportsOfFilesElsewhereAreRefused) {
  auto run = session_.OpenRun(Compile("out"), options_, nullptr);
  auto worker = session_.OpenWorker(Compile("out"), options_);
  ASSERT_TRUE(run.ok() && worker.ok());
  const std::string victim = (folder_ / "in-0.csv").string();
  const auto hostile = [&](Coordinator* coordinator, TaskRunner* runner, TaskId task) {
    auto report = Report(runner, task);
    for (auto& output : report.end.outputs) {
      for (auto& file : output.files) file.temporary = victim;
    }
    return coordinator->OnReport(std::move(report));
  };
  EXPECT_EQ(KindOf(Drive(run->get(), (*worker)->runner(), hostile)), ErrorKind::kBug);
  EXPECT_TRUE(fs::exists(victim));
}

// Two workers that keep what they exchange; the first is lost with it once its rows are needed.
TEST_F(RemoteRunTest, RowsThatGoWithAWorkerAreMadeAgain) {
  options_.exchange.all = ExchangePlace::kNodes;
  const std::string steps = "  - sort: {by: k}\n  - random_shuffle: {seed: 3, partitions: 3}\n";
  Observer observer;
  const auto open = [&] {
    auto worker = session_.OpenWorker(Compile("out", steps), options_, "", "127.0.0.1", std::string(32, 'x'));
    EXPECT_TRUE(worker.ok()) << worker.status();
    return std::move(*worker);
  };
  auto run = session_.OpenRun(Compile("out", steps), options_, &observer);
  ASSERT_TRUE(run.ok()) << run.status();
  auto first = open(), second = open();
  int done_again = 0;
  std::set<TaskId> done;
  const auto unlucky = [&](Coordinator* coordinator, TaskRunner*, TaskId task) {
    if (task.stage == 2 && first) first.reset();
    auto* runner = first && task.partition % 2 == 0 ? first->runner() : second->runner();
    for (int exchange : ExchangesReadBy((*run)->compiled().plan, task.stage)) {
      const auto description = coordinator->Describe(exchange);
      EXPECT_TRUE(description.ok()) << description.status();
      EXPECT_TRUE(runner->AddExchange(exchange, *description).ok());
    }
    auto report = Report(runner, task);
    for (const auto& output : report.end.outputs) {
      for (const auto& file : output.files) EXPECT_EQ(NodePath::Is(file.temporary), task.stage < 2);
    }
    if (report.end.status.ok() && !done.insert(task).second) ++done_again;
    return coordinator->OnReport(std::move(report));
  };
  const Status ended = Drive(run->get(), second->runner(), unlucky);
  ASSERT_TRUE(ended.ok()) << ended;
  ASSERT_TRUE((*run)->Finish(Status::OK()).ok());
  EXPECT_EQ(FilesOf("out"), Local(steps));
  EXPECT_GE(done_again, 3) << "of the scan two, of the sort one at least";
  for (const auto& step : observer.steps()) {
    if (step.op == "read_csv") {
      EXPECT_EQ(step.rows_out.load(), 400) << "rows count once";
    }
  }
  EXPECT_EQ(observer.tasks_done.load(), observer.tasks_total.load());
}

TEST_F(RemoteRunTest, BlocksOfNobodyAreRefused) {
  options_.exchange.all = ExchangePlace::kNodes;
  auto run = session_.OpenRun(Compile("out"), options_, nullptr);
  auto worker = session_.OpenWorker(Compile("out"), options_, "", "127.0.0.1", std::string(32, 'x'));
  ASSERT_TRUE(run.ok() && worker.ok());
  for (const char* wrong : {"node://10.0.0.1:1/other/exchange-0/x", "node://", "node://a:1/b/../c"}) {
    const auto hostile = [&](Coordinator* coordinator, TaskRunner* runner, TaskId task) {
      auto report = Report(runner, task);
      for (auto& output : report.end.outputs) {
        for (auto& file : output.files) file.temporary = wrong;
      }
      return coordinator->OnReport(std::move(report));
    };
    EXPECT_EQ(KindOf(Drive(run->get(), (*worker)->runner(), hostile)), ErrorKind::kBug) << wrong;
    run->reset();
    run = session_.OpenRun(Compile("out"), options_, nullptr);
    ASSERT_TRUE(run.ok()) << run.status();
  }
}

TEST_F(RemoteRunTest, WorkersOfNoRunSayWhatIsMissing) {
  const auto unseen = session_.OpenWorker(Compile("never"), options_);
  EXPECT_EQ(KindOf(unseen.status()), ErrorKind::kEnvironment);
  EXPECT_NE(MessageOf(unseen.status()).find("does not see"), std::string::npos);

  auto run = session_.OpenRun(Compile("out"), options_, nullptr);
  auto worker = session_.OpenWorker(Compile("out"), options_);
  ASSERT_TRUE(run.ok() && worker.ok());
  EXPECT_EQ(KindOf((*worker)->runner()->Run({1, 0}).status()), ErrorKind::kBug);  // told of no exchange
  EXPECT_FALSE((*worker)->runner()->Run({9, 0}).ok());
  for (const char* wrong :
       {"", "{}", R"({"exchange":0,"writers":[{"stage":5}]})", R"({"exchange":1,"writers":[]})"})
    EXPECT_FALSE((*worker)->runner()->AddExchange(0, wrong).ok()) << wrong;
  const auto second = session_.OpenRun(Compile("out"), options_, nullptr);
  EXPECT_EQ(KindOf(second.status()), ErrorKind::kEnvironment) << "the run is locked";
}

}  // namespace
}  // namespace partita
