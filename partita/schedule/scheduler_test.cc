// The scheduler in seeded simulation: random graphs, an engine that commits, fails, preempts and shrinks at
// random, and a model that says what must hold after every step. A failure prints its seed; the same seed
// replays it.
#include "partita/schedule/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <random>
#include <set>

#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

using Kind = SchedulerEvent::Kind;
using Do = Instruction::Kind;

int Scale() {
  const char* text = std::getenv("PARTITA_TEST_SCALE");
  return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  // In [0, n).
  int64_t Below(int64_t n) { return static_cast<int64_t>(engine_() % static_cast<uint64_t>(n)); }
  bool OneIn(int64_t n) { return Below(n) == 0; }

 private:
  std::mt19937_64 engine_;
};

// Makes a reader of an exchange one of the next exchange too, where both need all their rows.
void MaybeJoin(StageGraph* graph, StageGraph::Stage* stage, int* read, Random* random) {
  if (*read >= static_cast<int>(graph->exchanges.size()) || random->OneIn(2)) return;
  const auto& left = graph->exchanges[static_cast<size_t>(stage->reads_exchange)];
  auto& right = graph->exchanges[static_cast<size_t>(*read)];
  if (left.limit >= 0 || right.limit >= 0) return;
  right = left;
  stage->also_reads = (*read)++;
}

// Layers of stages: some scan, the others read an exchange that stages above write; unions where several
// write one target.
StageGraph RandomGraph(Random* random) {
  StageGraph graph;
  const auto target = [&](bool exchange) {
    StageGraph::Target made;
    made.exchange = exchange;
    if (exchange && random->OneIn(3)) {  // sorted: no prefix of the inputs is enough
      if (random->OneIn(2)) {
        made.partitions = 1 + random->Below(20);
      } else {
        made.partition_bytes = 1 + random->Below(900);
      }
      return made;
    }
    if (random->OneIn(3)) made.limit = random->Below(200);
    if (exchange && random->OneIn(2)) made.rows_per_partition = 1 + random->Below(40);
    return made;
  };
  std::vector<int> inputs_of_exchange, inputs_of_sink;
  int read = 0;  // exchanges below this are read
  const int64_t stages = 1 + random->Below(6);
  for (int64_t s = 0; s < stages; ++s) {
    StageGraph::Stage stage;
    if (read < static_cast<int>(graph.exchanges.size()) && !random->OneIn(3)) {
      stage.reads_exchange = read++;
      MaybeJoin(&graph, &stage, &read, random);
    } else {
      stage.partitions = random->OneIn(6) ? 0 : random->Below(40);
    }
    const int64_t outputs = 1 + random->Below(3);
    for (int64_t o = 0; o < outputs; ++o) {
      const bool exchange = s + 1 < stages && random->OneIn(2);
      auto& targets = exchange ? graph.exchanges : graph.sinks;
      auto& inputs = exchange ? inputs_of_exchange : inputs_of_sink;
      const int unread = exchange ? read : 0;
      int to = static_cast<int>(targets.size());
      if (to > unread && random->OneIn(3)) {
        to = unread + static_cast<int>(random->Below(to - unread));  // a union
      } else {
        targets.push_back(target(exchange));
        inputs.push_back(0);
      }
      stage.outputs.push_back({exchange, to, inputs[static_cast<size_t>(to)]++});
    }
    graph.stages.push_back(std::move(stage));
  }
  // What nobody read so far is read by a stage each.
  while (read < static_cast<int>(graph.exchanges.size())) {
    StageGraph::Stage stage;
    stage.reads_exchange = read++;
    stage.outputs.push_back({false, static_cast<int>(graph.sinks.size()), 0});
    graph.sinks.push_back({});
    graph.stages.push_back(std::move(stage));
  }
  return graph;
}

// The rows of a task are a function of the task, as law 1 wants it.
std::vector<int64_t> RowsOf(const StageGraph& graph, TaskId task) {
  std::vector<int64_t> rows;
  for (size_t o = 0; o < graph.stages[static_cast<size_t>(task.stage)].outputs.size(); ++o) {
    Random random(static_cast<uint64_t>(task.stage * 1000003 + task.partition * 7919) + o);
    rows.push_back(random.OneIn(4) ? 0 : random.Below(30));
  }
  return rows;
}

std::vector<int64_t> BytesOf(const StageGraph& graph, TaskId task) {
  std::vector<int64_t> bytes = RowsOf(graph, task);
  for (size_t o = 0; o < bytes.size(); ++o) bytes[o] *= 5 + static_cast<int64_t>(o);
  return bytes;
}

// What must hold, told in the plainest way: no counters kept, everything counted anew.
class Model {
 public:
  explicit Model(const StageGraph* graph) : graph_(graph) {}

  std::set<TaskId> committed;

  // By (input, partition): true when the rows in front of the first task that is missing reach the limit.
  bool Satisfied(bool exchange, int target) const {
    const auto& spec = (exchange ? graph_->exchanges : graph_->sinks)[static_cast<size_t>(target)];
    if (spec.limit < 0) return false;
    int64_t rows = 0;
    for (const auto& [stage, output] : InputsOf(exchange, target)) {
      const int64_t partitions = Partitions(stage);
      if (partitions < 0) return false;
      for (int64_t p = 0; p < partitions; ++p) {
        if (!committed.contains({stage, p})) return false;
        rows += RowsOf(*graph_, {stage, p})[output];
        if (rows >= spec.limit) return true;
      }
    }
    return false;
  }

  bool Needed(TaskId task) const {
    const auto& outputs = graph_->stages[static_cast<size_t>(task.stage)].outputs;
    return std::any_of(outputs.begin(), outputs.end(),
                       [&](const auto& o) { return !Satisfied(o.exchange, o.target); });
  }

  bool ExchangeComplete(int exchange) const {
    if (Satisfied(true, exchange)) return true;
    for (const auto& [stage, output] : InputsOf(true, exchange)) {
      const int64_t partitions = Partitions(stage);
      if (partitions < 0) return false;
      for (int64_t p = 0; p < partitions; ++p) {
        if (!committed.contains({stage, p}) && Needed({stage, p})) return false;
      }
    }
    return true;
  }

  // Does a task still have to read it?
  bool Wanted(int exchange) const {
    for (size_t s = 0; s < graph_->stages.size(); ++s) {
      if (!graph_->stages[s].Reads(exchange)) continue;
      const int64_t partitions = Partitions(static_cast<int>(s));
      if (partitions < 0) return true;
      for (int64_t p = 0; p < partitions; ++p) {
        const TaskId reader{static_cast<int>(s), p};
        if (!committed.contains(reader) && Needed(reader)) return true;
      }
    }
    return false;
  }

  // Is all there that it reads?
  bool CanRead(TaskId task) const {
    for (size_t x = 0; x < graph_->exchanges.size(); ++x) {
      if (graph_->stages[static_cast<size_t>(task.stage)].Reads(static_cast<int>(x)) &&
          !ExchangeComplete(static_cast<int>(x)))
        return false;
    }
    return true;
  }

  // Of no limit, and with nothing beside: such outputs may stay where they can be lost.
  bool MayLose(TaskId task) const {
    const auto& outputs = graph_->stages[static_cast<size_t>(task.stage)].outputs;
    return std::all_of(outputs.begin(), outputs.end(), [&](const auto& o) {
      return o.exchange && graph_->exchanges[static_cast<size_t>(o.target)].limit < 0;
    });
  }

  // -1: not known yet. Once known it stays, also while some of what it follows from is lost.
  int64_t Partitions(int s) const {
    const auto found = partitions_.find(s);
    if (found != partitions_.end()) return found->second;
    const int64_t partitions = CountPartitions(s);
    if (partitions >= 0) partitions_[s] = partitions;
    return partitions;
  }

 private:
  int64_t CountPartitions(int s) const {
    const auto& stage = graph_->stages[static_cast<size_t>(s)];
    if (stage.reads_exchange < 0) return stage.partitions;
    if (!ExchangeComplete(stage.reads_exchange)) return -1;
    if (stage.also_reads >= 0 && !ExchangeComplete(stage.also_reads)) return -1;
    const auto& spec = graph_->exchanges[static_cast<size_t>(stage.reads_exchange)];
    if (spec.partitions > 0) return spec.partitions;
    if (spec.rows_per_partition <= 0 && spec.partition_bytes <= 0) return 1;
    int64_t rows = 0, bytes = 0;
    for (const auto& task : committed) {
      const auto& outputs = graph_->stages[static_cast<size_t>(task.stage)].outputs;
      for (size_t o = 0; o < outputs.size(); ++o) {
        if (!outputs[o].exchange) continue;
        if (outputs[o].target != stage.reads_exchange && outputs[o].target != stage.also_reads) continue;
        if (spec.partition_bytes > 0) {
          bytes += BytesOf(*graph_, task)[o];
        } else {
          rows += RowsOf(*graph_, task)[o];
        }
      }
    }
    if (spec.partition_bytes > 0) {
      return std::max<int64_t>(1, (bytes + spec.partition_bytes - 1) / spec.partition_bytes);
    }
    if (spec.limit >= 0) rows = std::min(rows, spec.limit);
    return (rows + spec.rows_per_partition - 1) / spec.rows_per_partition;
  }

  std::vector<std::pair<int, size_t>> InputsOf(bool exchange, int target) const {
    std::vector<std::pair<int, size_t>> inputs;
    for (int index = 0;; ++index) {
      const size_t before = inputs.size();
      for (size_t s = 0; s < graph_->stages.size(); ++s) {
        const auto& outputs = graph_->stages[s].outputs;
        for (size_t o = 0; o < outputs.size(); ++o) {
          if (outputs[o].exchange == exchange && outputs[o].target == target &&
              outputs[o].input_index == index) {
            inputs.emplace_back(static_cast<int>(s), o);
          }
        }
      }
      if (inputs.size() == before) return inputs;
    }
  }

  const StageGraph* graph_;
  mutable std::map<int, int64_t> partitions_;
};

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
  return RandomGraph(&random);
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

StageGraph Chain(int64_t partitions, int64_t limit) {
  StageGraph graph;
  graph.exchanges.push_back({.limit = limit, .rows_per_partition = -1, .exchange = true});
  graph.sinks.push_back({});
  graph.stages.push_back({partitions, -1, {{true, 0, 0}}});
  graph.stages.push_back({-1, 0, {{false, 0, 0}}});
  return graph;
}

TEST(Scheduler, ALimitStopsTheReading) {
  Scheduler scheduler(Chain(1000, 10), {.max_running_tasks = 2});
  auto instructions = scheduler.Start(0);
  ASSERT_EQ(instructions.size(), 2u);
  EXPECT_EQ(instructions[0].task, (TaskId{0, 0}));
  // Rows of a later partition do not count while an earlier one is missing.
  instructions = scheduler.Step({Kind::kTaskCommitted, {0, 1}, {50}, Status::OK(), 0}, 1);
  ASSERT_EQ(instructions.size(), 1u);
  EXPECT_EQ(instructions[0].task, (TaskId{0, 2}));
  instructions = scheduler.Step({Kind::kTaskCommitted, {0, 0}, {3}, Status::OK(), 0}, 2);
  ASSERT_EQ(instructions.size(), 2u);
  EXPECT_EQ(instructions[0].kind, Do::kCancelTask);
  EXPECT_EQ(instructions[0].task, (TaskId{0, 2}));
  EXPECT_EQ(instructions[1].kind, Do::kStartTask);
  EXPECT_EQ(instructions[1].task, (TaskId{1, 0}));
  EXPECT_FALSE(scheduler.IsDone({0, 2}));
  instructions = scheduler.Step({Kind::kTaskCommitted, {1, 0}, {10}, Status::OK(), 0}, 3);
  ASSERT_EQ(instructions.size(), 1u);
  EXPECT_EQ(instructions[0].kind, Do::kFinishRun);
}

// What is sorted can come from any input: although one task has enough rows for the limit, all are made
// first.
TEST(Scheduler, TheFirstRowsOfAnOrderNeedAllInputs) {
  PlanExchange first;
  first.kind = PlanExchange::Kind::kSort;
  first.limit = 10;
  first.partitions = 1;
  StageGraph graph = Chain(3, -1);
  graph.exchanges[0] = TargetOf(first);
  Scheduler scheduler(graph, {.max_running_tasks = 3});
  ASSERT_EQ(scheduler.Start(0).size(), 3u);
  EXPECT_TRUE(scheduler.Step({Kind::kTaskCommitted, {0, 0}, {50}, Status::OK(), 0, {500}}, 1).empty());
  EXPECT_TRUE(scheduler.Step({Kind::kTaskCommitted, {0, 1}, {50}, Status::OK(), 0, {500}}, 2).empty());
  const auto instructions = scheduler.Step({Kind::kTaskCommitted, {0, 2}, {50}, Status::OK(), 0, {500}}, 3);
  ASSERT_EQ(instructions.size(), 1u);
  EXPECT_EQ(instructions[0].task, (TaskId{1, 0}));
  EXPECT_EQ(scheduler.partitions_of(1), 1);
}

TEST(Scheduler, PartitionsFollowFromLogicalBytes) {
  PlanExchange sorted;
  sorted.kind = PlanExchange::Kind::kSort;
  sorted.partition_bytes = 100;
  StageGraph graph = Chain(2, -1);
  graph.exchanges[0] = TargetOf(sorted);
  Scheduler scheduler(graph, {.max_running_tasks = 9});
  scheduler.Restore({0, 0}, {7}, {130});
  ASSERT_EQ(scheduler.Start(0).size(), 1u);
  EXPECT_EQ(scheduler.Step({Kind::kTaskCommitted, {0, 1}, {7}, Status::OK(), 0, {71}}, 1).size(), 3u);
  EXPECT_EQ(scheduler.partitions_of(1), 3);
}

TEST(Scheduler, AJoinWaitsForBothSidesAndCountsBoth) {
  PlanExchange hash;
  hash.kind = PlanExchange::Kind::kHash;
  hash.partition_bytes = 100;
  StageGraph graph;
  graph.exchanges = {TargetOf(hash), TargetOf(hash)};
  graph.sinks.push_back({});
  graph.stages.resize(3);
  for (size_t s : {0, 1}) {
    graph.stages[s].partitions = 1;
    graph.stages[s].outputs = {{true, static_cast<int>(s), 0}};
  }
  graph.stages[2].reads_exchange = 0;
  graph.stages[2].also_reads = 1;
  graph.stages[2].outputs = {{false, 0, 0}};
  Scheduler scheduler(graph, {.max_running_tasks = 9});
  ASSERT_EQ(scheduler.Start(0).size(), 2u);
  EXPECT_TRUE(scheduler.Step({Kind::kTaskCommitted, {0, 0}, {7}, Status::OK(), 0, {150}}, 1).empty());
  EXPECT_EQ(scheduler.partitions_of(2), -1);
  EXPECT_EQ(scheduler.Step({Kind::kTaskCommitted, {1, 0}, {7}, Status::OK(), 0, {260}}, 2).size(), 5u);
  EXPECT_EQ(scheduler.partitions_of(2), 5);
}

TEST(ExchangePartitions, OneRuleForEachKind) {
  const auto of = [](PlanExchange::Kind kind, int64_t partitions, int64_t partition_bytes, int64_t rows,
                     int64_t bytes) {
    PlanExchange exchange;
    exchange.kind = kind;
    exchange.partitions = partitions;
    exchange.partition_bytes = partition_bytes;
    return ExchangePartitions(TargetOf(exchange), rows, bytes);
  };
  using K = PlanExchange::Kind;
  EXPECT_EQ(of(K::kGather, -1, -1, 100, 1000), 1);
  EXPECT_EQ(of(K::kRebalance, 7, -1, 3, 10), 7) << "some are empty";
  EXPECT_EQ(of(K::kSort, 7, -1, 0, 0), 7);
  EXPECT_EQ(of(K::kSort, -1, 100, 0, 0), 1);
  EXPECT_EQ(of(K::kHash, -1, 100, 5, 100), 1);
  EXPECT_EQ(of(K::kShuffle, -1, 100, 5, 101), 2);
  EXPECT_EQ(of(K::kHash, -1, 1, 5, INT64_MAX), kMaxExchangePartitions);
  PlanExchange exact;
  exact.kind = K::kRebalance;
  exact.rows_per_partition = 10;
  exact.limit = 25;
  EXPECT_EQ(ExchangePartitions(TargetOf(exact), 1000, 0), 3);
  EXPECT_EQ(ExchangePartitions(TargetOf(exact), 0, 0), 0);
}

TEST(Scheduler, BacksOffLongerEachTime) {
  StageGraph graph;
  graph.sinks.push_back({});
  graph.stages.push_back({1, -1, {{false, 0, 0}}});
  Scheduler scheduler(graph, {.max_running_tasks = 1, .max_attempts = 3, .backoff_ms = 100});
  scheduler.Start(0);
  const Status lost = EnvironmentError("a lost connection", "", true);
  scheduler.Step({Kind::kTaskFailed, {0, 0}, {}, lost, 0}, 0);
  EXPECT_EQ(scheduler.next_tick_ms(), 100);
  EXPECT_TRUE(scheduler.Step({}, 99).empty());
  ASSERT_EQ(scheduler.Step({}, 100).size(), 1u);
  scheduler.Step({Kind::kTaskFailed, {0, 0}, {}, lost, 0}, 100);
  EXPECT_EQ(scheduler.next_tick_ms(), 300);
  ASSERT_EQ(scheduler.Step({}, 300).size(), 1u);
  const auto end = scheduler.Step({Kind::kTaskFailed, {0, 0}, {}, lost, 0}, 301);
  ASSERT_FALSE(end.empty());
  EXPECT_EQ(end.back().kind, Do::kFailRun);
  EXPECT_EQ(end.back().status.message(), lost.message());
}

TEST(Scheduler, NothingToDoIsDoneAtOnce) {
  StageGraph graph;
  graph.sinks.push_back({});
  graph.stages.push_back({0, -1, {{false, 0, 0}}});
  Scheduler scheduler(graph, {});
  const auto instructions = scheduler.Start(0);
  ASSERT_EQ(instructions.size(), 1u);
  EXPECT_EQ(instructions[0].kind, Do::kFinishRun);
}

// Each step costs what it instructs: a large graph is done in no time, also where a limit counts rows that
// come out of order.
TEST(Scheduler, AHundredThousandTasks) {
  Scheduler scheduler(Chain(100000, 99000), {.max_running_tasks = 64});
  Random random(7);
  std::vector<TaskId> running;
  bool finished = false;
  int64_t starts = 0;
  const auto obey = [&](const std::vector<Instruction>& instructions) {
    for (const auto& instruction : instructions) {
      if (instruction.kind == Do::kStartTask) running.push_back(instruction.task), ++starts;
      if (instruction.kind == Do::kCancelTask) std::erase(running, instruction.task);
      if (instruction.kind == Do::kFinishRun) finished = true;
    }
  };
  obey(scheduler.Start(0));
  while (!running.empty()) {
    const auto at = static_cast<size_t>(random.Below(static_cast<int64_t>(running.size())));
    const TaskId task = running[at];
    running[at] = running.back();
    running.pop_back();
    const Kind kind = random.OneIn(5) ? Kind::kTaskPreempted : Kind::kTaskCommitted;
    obey(scheduler.Step({kind, task, {1}, Status::OK(), 0}, 0));
  }
  EXPECT_TRUE(finished);
  EXPECT_GE(starts, 99001);
}

}  // namespace
}  // namespace partita
