// The scheduler step by step. What holds of any graph and any luck: simulation_test.cc.
#include "partita/schedule/scheduler.h"

#include <gtest/gtest.h>

#include <vector>

#include "partita/schedule/simulation_test.h"
#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

using Kind = SchedulerEvent::Kind;
using Do = Instruction::Kind;

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

// The log has it: a record that did not count it would say less than the next run finds.
TEST(Scheduler, WhatIsCommittedWhileTheRunIsStoppedCounts) {
  Scheduler scheduler(Chain(10, -1), {.max_running_tasks = 2});
  scheduler.Start(0);
  const auto end = scheduler.Step({Kind::kCancel, {}, {}, Status::OK(), 0}, 1);
  ASSERT_FALSE(end.empty());
  EXPECT_EQ(end.back().kind, Do::kFailRun);
  EXPECT_EQ(scheduler.tasks_done(), 0);
  EXPECT_TRUE(scheduler.Step({Kind::kTaskCommitted, {0, 1}, {5}, Status::OK(), 0}, 2).empty());
  EXPECT_TRUE(scheduler.Step({Kind::kTaskCommitted, {0, 1}, {5}, Status::OK(), 0}, 3).empty());
  EXPECT_EQ(scheduler.tasks_done(), 1);
}

// So that each goes on with what the one before it made. What is begun again goes first.
TEST(Scheduler, NeighboursFollowEachOtherInStretches) {
  StageGraph graph = Chain(12, -1);
  graph.stages[0].in_stretches = true;
  Scheduler scheduler(graph, {.max_running_tasks = 3, .max_stretches = 2});
  scheduler.Restore({0, 0}, {1});
  const auto started = [](const std::vector<Instruction>& instructions) {
    std::vector<int64_t> partitions;
    for (const auto& instruction : instructions) {
      EXPECT_EQ(instruction.kind, Do::kStartTask);
      partitions.push_back(instruction.task.partition);
    }
    return partitions;
  };
  using Partitions = std::vector<int64_t>;
  EXPECT_EQ(started(scheduler.Start(0)), (Partitions{1, 7}));
  EXPECT_EQ(started(scheduler.Step({Kind::kTaskCommitted, {0, 7}, {1}, Status::OK(), 0}, 1)), Partitions{8});
  EXPECT_EQ(started(scheduler.Step({Kind::kTaskPreempted, {0, 8}, {}, Status::OK(), 0}, 2)), Partitions{8});
  EXPECT_EQ(started(scheduler.Step({Kind::kTaskCommitted, {0, 1}, {1}, Status::OK(), 0}, 3)), Partitions{2});
  EXPECT_EQ(started(scheduler.Step({Kind::kTaskCommitted, {0, 8}, {1}, Status::OK(), 0}, 4)), Partitions{9});
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
