#include "partita/schedule/stage_graph.h"

namespace partita {

StageGraph MakeStageGraph(const Plan& plan, const std::vector<int64_t>& scan_partitions) {
  StageGraph graph;
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const auto& stage = plan.stages[s];
    StageGraph::Stage node;
    if (stage.source.kind == PlanSource::Kind::kScan) {
      node.partitions = scan_partitions[s];
    } else {
      node.reads_exchange = stage.source.exchange;
    }
    for (const auto& output : stage.outputs) {
      node.outputs.push_back({output.kind == PlanOutput::Kind::kExchange, output.target, output.input_index});
    }
    graph.stages.push_back(std::move(node));
  }
  for (const auto& sink : plan.sinks)
    graph.sinks.push_back({.limit = sink.limit, .rows_per_partition = -1, .exchange = false});
  for (const auto& exchange : plan.exchanges) {
    graph.exchanges.push_back(
        {.limit = exchange.limit, .rows_per_partition = exchange.rows_per_partition, .exchange = true});
  }
  return graph;
}

}  // namespace partita
