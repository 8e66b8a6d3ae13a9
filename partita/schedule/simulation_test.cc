// The scheduler in seeded simulation: random graphs, an engine that commits, fails, preempts and shrinks at
// random, and a model that says what must hold after every step. A failure prints its seed; the same seed
// replays it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <set>
#include <string>

#include "partita/schedule/scheduler.h"
#include "partita/schedule/simulation_test.h"

namespace partita {
namespace {

using Kind = SchedulerEvent::Kind;
using Do = Instruction::Kind;

int Scale() {
  const char* text = std::getenv("PARTITA_TEST_SCALE");
  return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

// How unlucky an engine is: one event in so many.
struct Luck {
  int64_t retriable = 1000000, fatal = 1000000, preempted = 1000000, capacity = 1000000, cancel = 1000000,
          lost = 1000000;
};

// Carries out instructions, at random, and checks each against the model.
class Simulation {
 public:
  Simulation(StageGraph graph, uint64_t seed, Luck luck)
      : random_(seed), luck_(luck), graph_(std::move(graph)), model_(&graph_) {
    options_.max_running_tasks = 1 + static_cast<int>(random_.Below(9));
    options_.max_attempts = 1 + static_cast<int>(random_.Below(4));
    options_.max_stretches = 1 + static_cast<int>(random_.Below(9));
    scheduler_ = std::make_unique<Scheduler>(graph_, options_);
  }

  void Restore(const std::set<TaskId>& tasks) {
    for (const TaskId task : tasks) {
      scheduler_->Restore(task, RowsOf(graph_, task), BytesOf(graph_, task));
      if (scheduler_->IsDone(task)) model_.committed.insert(task), restored_.insert(task);
    }
  }

  // Until the run ends, or `stop_after` commits (a kill).
  void Run(size_t stop_after = SIZE_MAX) {
    Obey(scheduler_->Start(now_ms_));
    for (int64_t events = 0; !ended_ && !::testing::Test::HasFailure() && commits_ < stop_after; ++events) {
      ASSERT_LT(events, 200000) << "the run does not end";
      Happen();
    }
    if (!ended_ || ::testing::Test::HasFailure()) return;
    if (finished_) CheckFinished();
    // What comes after the end is no news.
    for (const TaskId task : std::set<TaskId>(running_)) {
      EXPECT_TRUE(scheduler_->Step(Committed(task), now_ms_).empty());
    }
    EXPECT_TRUE(scheduler_->Step({}, now_ms_ + 1000000).empty());
  }

  bool finished() const { return finished_; }
  const std::set<TaskId>& committed() const { return model_.committed; }
  const std::vector<std::string>& story() const { return story_; }

 private:
  void Happen() {
    if (random_.OneIn(luck_.cancel)) {
      may_fail_ = true;
      return Tell({Kind::kCancel, {}, {}, Status::OK(), 0});
    }
    if (random_.OneIn(luck_.capacity)) {
      options_.max_running_tasks = 1 + static_cast<int>(random_.Below(9));
      return Tell({Kind::kCapacity, {}, {}, Status::OK(), options_.max_running_tasks});
    }
    if (nodes_ > 0 && random_.OneIn(luck_.lost)) return Lose();
    if (running_.empty() || random_.OneIn(10)) {
      const int64_t next = scheduler_->next_tick_ms();
      ASSERT_FALSE(running_.empty() && next == INT64_MAX)
          << "nothing runs, nothing is due, and the run has not ended";
      if (next != INT64_MAX)
        now_ms_ = std::max(now_ms_, next - (random_.OneIn(4) && !running_.empty() ? 1 : 0));
      return Tell({});
    }
    auto it = running_.begin();
    std::advance(it, random_.Below(static_cast<int64_t>(running_.size())));
    const TaskId task = *it;
    running_.erase(it);
    now_ms_ += random_.Below(50);
    const bool reads_nothing = !lost_.empty() && !model_.CanRead(task) && random_.OneIn(2);
    if (reads_nothing || random_.OneIn(luck_.preempted))
      return Tell({Kind::kTaskPreempted, task, {}, Status::OK(), 0});
    if (random_.OneIn(luck_.fatal)) {
      if (!cancelled_.contains(task)) may_fail_ = true;
      return Tell({Kind::kTaskFailed, task, {}, DataError("a bad row"), 0});
    }
    if (random_.OneIn(luck_.retriable)) {
      if (!cancelled_.contains(task) && ++failures_[task] >= options_.max_attempts) may_fail_ = true;
      failed_at_ms_[task] = now_ms_;
      return Tell({Kind::kTaskFailed, task, {}, EnvironmentError("a lost connection", "", true), 0});
    }
    // A task that was told to stop may still have made it.
    if (!cancelled_.contains(task)) {
      EXPECT_TRUE(model_.committed.insert(task).second) << "committed twice";
      ++commits_;
    }
    Tell(Committed(task));
  }

  // A node goes with what it has: some of all that was ever made and may be lost. What nobody needed stays
  // lost.
  void Lose() {
    --nodes_;
    for (const TaskId task : model_.committed) {
      if (model_.MayLose(task) && random_.OneIn(3)) lost_.insert(task);
    }
    SchedulerEvent event;
    event.kind = Kind::kOutputsLost;
    event.tasks.assign(lost_.begin(), lost_.end());
    Tell(event);
  }

  void TakeBack(TaskId task) {
    EXPECT_EQ(lost_.erase(task), 1U) << "taken back though it is there";
    const auto& outputs = graph_.stages[static_cast<size_t>(task.stage)].outputs;
    EXPECT_TRUE(std::any_of(outputs.begin(), outputs.end(), [&](const auto& o) {
      return model_.Wanted(o.target);
    })) << "done again for nobody";
    model_.committed.erase(task);
    restored_.erase(task);
  }

  SchedulerEvent Committed(TaskId task) const {
    return {Kind::kTaskCommitted, task, RowsOf(graph_, task), Status::OK(), 0, BytesOf(graph_, task)};
  }

  void Tell(const SchedulerEvent& event) { Obey(scheduler_->Step(event, now_ms_)); }

  void Obey(const std::vector<Instruction>& instructions) {
    std::vector<TaskId> recalled;
    for (const auto& instruction : instructions) {
      const TaskId task = instruction.task;
      story_.push_back(std::to_string(static_cast<int>(instruction.kind)) + " " + std::to_string(task.stage) +
                       "/" + std::to_string(task.partition));
      ASSERT_FALSE(ended_) << "an instruction after the end";
      switch (instruction.kind) {
        case Do::kStartTask:
          CheckStart(task);
          break;
        case Do::kCancelTask:
          EXPECT_TRUE(running_.contains(task)) << "cancels what does not run";
          cancelled_.insert(task);
          break;
        case Do::kRedoTask:
          TakeBack(task);
          break;
        case Do::kRecallTask:
          EXPECT_TRUE(running_.contains(task)) << "recalls what does not run";
          if (random_.OneIn(2)) recalled.push_back(task);  // else it has begun
          break;
        case Do::kRetryLater:
          EXPECT_FALSE(cancelled_.contains(task));
          EXPECT_LT(scheduler_->next_tick_ms(), INT64_MAX);
          break;
        case Do::kFinishRun:
          ended_ = finished_ = true;
          break;
        case Do::kFailRun:
          EXPECT_TRUE(may_fail_) << "failed without a reason: " << instruction.status;
          EXPECT_FALSE(instruction.status.ok());
          for (const TaskId live : running_)
            EXPECT_TRUE(cancelled_.contains(live)) << "left running after the failure";
          ended_ = true;
          break;
      }
    }
    for (const TaskId task : recalled) {
      if (ended_ || running_.erase(task) == 0) continue;
      Tell({Kind::kTaskPreempted, task, {}, Status::OK(), 0});
    }
  }

  void CheckStart(TaskId task) {
    EXPECT_FALSE(model_.committed.contains(task)) << "done twice";
    EXPECT_FALSE(restored_.contains(task)) << "a committed task is done again";
    EXPECT_FALSE(cancelled_.contains(task)) << "started although nobody needs it";
    const int64_t partitions = model_.Partitions(task.stage);
    EXPECT_GE(partitions, 0) << "started before its exchange is complete";
    EXPECT_TRUE(model_.CanRead(task)) << "started while some of what it reads is lost";
    EXPECT_LT(task.partition, partitions);
    EXPECT_TRUE(model_.Needed(task)) << "started although its targets have enough";
    if (auto it = failed_at_ms_.find(task); it != failed_at_ms_.end()) {
      EXPECT_GE(now_ms_, it->second + options_.backoff_ms) << "tried again at once";
      failed_at_ms_.erase(it);
    }
    EXPECT_TRUE(running_.insert(task).second) << "runs twice at once";
    EXPECT_LE(running_.size(), static_cast<size_t>(options_.max_running_tasks));
    if (!graph_.stages[static_cast<size_t>(task.stage)].in_stretches) return;
    EXPECT_LE(
        std::count_if(running_.begin(), running_.end(), [&](TaskId t) { return t.stage == task.stage; }),
        options_.max_stretches);
  }

  void CheckFinished() {
    for (const TaskId task : running_)
      EXPECT_TRUE(cancelled_.contains(task)) << "finished while a needed task runs";
    for (size_t s = 0; s < graph_.stages.size(); ++s) {
      const int stage = static_cast<int>(s);
      const int64_t partitions = model_.Partitions(stage);
      ASSERT_GE(partitions, 0);
      EXPECT_EQ(scheduler_->partitions_of(stage), partitions);
      for (int64_t p = 0; p < partitions; ++p) {
        const TaskId task{stage, p};
        EXPECT_TRUE(model_.committed.contains(task) || !model_.Needed(task))
            << stage << "/" << p << " is missing";
        EXPECT_EQ(scheduler_->IsDone(task), model_.committed.contains(task)) << stage << "/" << p;
      }
    }
    EXPECT_EQ(scheduler_->tasks_done(), scheduler_->tasks_total());
  }

  Random random_;
  Luck luck_;
  StageGraph graph_;
  Model model_;
  SchedulerOptions options_;
  std::unique_ptr<Scheduler> scheduler_;
  int64_t now_ms_ = 0;
  std::set<TaskId> running_, cancelled_, restored_, lost_;
  std::map<TaskId, int> failures_;
  std::map<TaskId, int64_t> failed_at_ms_;
  std::vector<std::string> story_;
  size_t commits_ = 0;
  int nodes_ = 12;  // that may be lost
  bool ended_ = false, finished_ = false, may_fail_ = false;
};

StageGraph GraphOf(uint64_t seed) {
  Random random(seed);
  StageGraph graph = RandomGraph(&random);
  for (auto& stage : graph.stages) stage.in_stretches = random.OneIn(3);
  return graph;
}

class SimulationTest : public ::testing::TestWithParam<const char*> {};

Luck LuckOf(const std::string& name) {
  Luck luck;
  if (name == "preempted") luck.preempted = 3;
  if (name == "flaky") luck.retriable = 40;
  if (name == "fatal") luck.fatal = 60;
  if (name == "shrinking") luck.capacity = 4, luck.preempted = 6;
  if (name == "cancelled") luck.cancel = 30;
  if (name == "everything")
    luck = {.retriable = 20, .fatal = 200, .preempted = 6, .capacity = 8, .cancel = 300, .lost = 40};
  if (name == "lossy") luck.lost = 15;
  return luck;
}

TEST_P(SimulationTest, KeepsItsPromises) {
  int finished = 0;
  const uint64_t seeds = 150 * static_cast<uint64_t>(Scale());
  for (uint64_t seed = 1; seed <= seeds && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Simulation simulation(GraphOf(seed), seed, LuckOf(GetParam()));
    simulation.Run();
    finished += simulation.finished();
  }
  EXPECT_GT(finished, 0) << "a simulation in which no run ends well shows little";
}

INSTANTIATE_TEST_SUITE_P(Engines, SimulationTest,
                         ::testing::Values("lucky", "preempted", "flaky", "fatal", "shrinking", "cancelled",
                                           "lossy", "everything"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Scheduler, ReplaysFromASeed) {
  for (uint64_t seed = 1; seed <= 20; ++seed) {
    Simulation first(GraphOf(seed), seed, LuckOf("everything")),
        second(GraphOf(seed), seed, LuckOf("everything"));
    first.Run();
    second.Run();
    EXPECT_EQ(first.story(), second.story());
  }
}

// Killed after some commits and started again, several times over: nothing is done twice, and the end is the
// same.
TEST(Scheduler, ResumesWhatWasCommitted) {
  for (uint64_t seed = 1; seed <= 100 && !HasFailure(); ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::set<TaskId> committed;
    for (int part = 0; part < 4 && !HasFailure(); ++part) {
      Simulation simulation(GraphOf(seed), seed * 10 + static_cast<uint64_t>(part), LuckOf("preempted"));
      simulation.Restore(committed);
      simulation.Run(part < 3 ? 1 + seed % 13 : SIZE_MAX);
      for (const TaskId task : committed) EXPECT_TRUE(simulation.committed().contains(task));
      committed = simulation.committed();
      if (part == 3) EXPECT_TRUE(simulation.finished());
    }
  }
}

}  // namespace
}  // namespace partita
