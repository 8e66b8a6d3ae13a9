// What the simulation of the scheduler is made of: random graphs, what their tasks make, and a model that says
// what must hold.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <utility>
#include <vector>

#include "partita/schedule/scheduler.h"

namespace partita {

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
inline void MaybeJoin(StageGraph* graph, StageGraph::Stage* stage, int* read, Random* random) {
  if (*read >= static_cast<int>(graph->exchanges.size()) || random->OneIn(2)) return;
  const auto& left = graph->exchanges[static_cast<size_t>(stage->reads_exchange)];
  auto& right = graph->exchanges[static_cast<size_t>(*read)];
  if (left.limit >= 0 || right.limit >= 0) return;
  right = left;
  stage->also_reads = (*read)++;
}

// Layers of stages: some scan, the others read an exchange that stages above write; unions where several
// write one target.
inline StageGraph RandomGraph(Random* random) {
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
inline std::vector<int64_t> RowsOf(const StageGraph& graph, TaskId task) {
  std::vector<int64_t> rows;
  for (size_t o = 0; o < graph.stages[static_cast<size_t>(task.stage)].outputs.size(); ++o) {
    Random random(static_cast<uint64_t>(task.stage * 1000003 + task.partition * 7919) + o);
    rows.push_back(random.OneIn(4) ? 0 : random.Below(30));
  }
  return rows;
}

inline std::vector<int64_t> BytesOf(const StageGraph& graph, TaskId task) {
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

}  // namespace partita
