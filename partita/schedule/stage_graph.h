// The shape of a plan that scheduling needs.
#pragma once

#include <cstdint>
#include <vector>

#include "partita/plan/plan.h"
#include "partita/schedule/scheduler.h"

namespace partita {

// `scan_partitions[s]`: partitions of scan stage s; ignored for stages that read an exchange.
StageGraph MakeStageGraph(const Plan& plan, const std::vector<int64_t>& scan_partitions);

StageGraph::Target TargetOf(const PlanExchange& exchange);

// How many partitions an exchange has, once it is complete: of `rows` rows and `bytes` logical bytes in all
// its inputs; of a join: of both sides, whose cuts are the same. Never more than kMaxExchangePartitions where
// they follow from bytes.
int64_t ExchangePartitions(const StageGraph::Target& exchange, int64_t rows, int64_t bytes);

// The order in which tasks are helped: lower is older. Later stages first, then partitions in order.
inline int64_t AgeOf(const Plan& plan, TaskId task) {
  return ((static_cast<int64_t>(plan.stages.size()) - 1 - task.stage) << 40) + task.partition;
}

}  // namespace partita
