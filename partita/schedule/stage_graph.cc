#include "partita/schedule/stage_graph.h"

#include <algorithm>

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
      node.also_reads = stage.source.right_exchange;
    }
    for (const auto& plan_node : stage.nodes) {
      if (plan_node.table >= 0) node.tables.push_back(plan_node.table);
    }
    for (const auto& output : stage.outputs) {
      node.outputs.push_back({output.kind == PlanOutput::Kind::kExchange, output.target, output.input_index});
    }
    graph.stages.push_back(std::move(node));
  }
  for (const auto& sink : plan.sinks) graph.sinks.push_back({.limit = sink.limit});
  for (const auto& exchange : plan.exchanges) graph.exchanges.push_back(TargetOf(exchange));
  return graph;
}

StageGraph::Target TargetOf(const PlanExchange& exchange) {
  // The first rows of an order may come from any input: of such a limit the scheduler need not know.
  return {.limit = exchange.has_prefix_limit() ? exchange.limit : -1,
          .rows_per_partition = exchange.rows_per_partition,
          .exchange = true,
          .partitions = exchange.partitions,
          .partition_bytes = exchange.partition_bytes};
}

int64_t ExchangePartitions(const StageGraph::Target& exchange, int64_t rows, int64_t bytes) {
  if (exchange.partitions > 0) return exchange.partitions;
  if (exchange.limit >= 0) rows = std::min(rows, exchange.limit);
  const auto pieces = [](int64_t whole, int64_t piece) { return whole / piece + (whole % piece != 0); };
  if (exchange.rows_per_partition > 0) return pieces(rows, exchange.rows_per_partition);
  if (exchange.partition_bytes <= 0) return 1;
  return std::clamp<int64_t>(pieces(bytes, exchange.partition_bytes), 1, kMaxExchangePartitions);
}

}  // namespace partita
