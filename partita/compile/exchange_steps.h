// Steps in which rows change partition (StepSpec::is_exchange), as exchanges of the plan. Internal to the
// room.
#pragma once

#include <cstdint>

#include "partita/base/json.h"
#include "partita/compile/graph.h"
#include "partita/pipeline/join.h"
#include "partita/plan/plan.h"

namespace partita::compile {

// Logical bytes that a partition of an exchange should have when nobody says how many partitions there are.
inline constexpr int64_t kExchangePartitionBytes = 128 << 20;

struct ExchangeStep {
  PlanExchange exchange;  // without step, schema and inputs
  Json reduce;            // PlanSource::reduce of the stage that reads it
};
// `step` is bound: its arguments are known to fit `input`.
Result<ExchangeStep> ExchangeOf(const GraphStep& step, const arrow::Schema& input);

struct JoinExchanges {
  PlanExchange left, right;  // without step, schema and inputs
  Json reduce;               // PlanSource::reduce of the stage that reads both
};
// The same of a join of `inputs` whose sides are both placed by key.
Result<JoinExchanges> JoinExchangesOf(const GraphStep& step, const JoinInputs& inputs);
// The same of join_asof.
Result<JoinExchanges> AsofExchangesOf(const GraphStep& step, const AsofInputs& inputs);

// Of how many first rows of the order that `step` makes its only user makes use (a limit, or a collect with
// one); -1: of all.
int64_t FirstRowsWanted(const Graph& graph, int step);

// So many first rows are worth keeping aside: a sort need not hold, write and merge the others.
inline constexpr int64_t kMaxFirstRows = 1'000'000;
// Makes the exchange one that keeps its first `rows` only, where it has an order and they are not too many.
bool KeepFirstRows(int64_t rows, PlanExchange* exchange);

}  // namespace partita::compile
