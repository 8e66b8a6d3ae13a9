#include "partita/engine/plan_exchanges.h"

#include <algorithm>

#include "partita/base/json.h"
#include "partita/pipeline/join.h"

namespace partita {

std::vector<ExchangeWriter> WritersOf(const Plan& plan, int exchange) {
  std::vector<ExchangeWriter> writers;
  for (size_t s = 0; s < plan.stages.size(); ++s) {
    const auto& outputs = plan.stages[s].outputs;
    for (size_t o = 0; o < outputs.size(); ++o) {
      if (outputs[o].kind != PlanOutput::Kind::kExchange || outputs[o].target != exchange) continue;
      writers.push_back({static_cast<int>(s), static_cast<int>(o), outputs[o].input_index});
    }
  }
  std::sort(writers.begin(), writers.end(),
            [](const auto& a, const auto& b) { return a.input_index < b.input_index; });
  return writers;
}

std::vector<int> ExchangesReadBy(const Plan& plan, int stage) {
  std::vector<int> read;
  for (size_t x = 0; x < plan.exchanges.size(); ++x) {
    if (plan.stages[static_cast<size_t>(stage)].Reads(static_cast<int>(x)))
      read.push_back(static_cast<int>(x));
  }
  return read;
}

std::vector<int> ReadTogether(const Plan& plan, int exchange) {
  for (const auto& stage : plan.stages) {
    if (stage.source.right_exchange >= 0 &&
        (stage.source.exchange == exchange || stage.source.right_exchange == exchange)) {
      return {stage.source.exchange, stage.source.right_exchange};
    }
  }
  return {exchange};
}

// As-of joins order the rows of a hash by a column, and are not cut within one. A zip has no keys.
const PlanSource* HashJoinOf(const Plan& plan, int exchange) {
  for (const auto& stage : plan.stages) {
    const auto& source = stage.source;
    const bool reads = source.exchange == exchange || source.right_exchange == exchange;
    if (reads && source.right_exchange >= 0 &&
        plan.exchanges[static_cast<size_t>(exchange)].kind == PlanExchange::Kind::kHash &&
        !source.reduce.contains("asof"))
      return &source;
  }
  return nullptr;
}

int OrderColumnOf(const Plan& plan, int exchange) {
  for (const auto& stage : plan.stages) {
    const auto& source = stage.source;
    if (source.right_exchange < 0 || !source.reduce.is_object() || !source.reduce.contains("asof")) continue;
    const bool is_left = source.exchange == exchange;
    if (!is_left && source.right_exchange != exchange) continue;
    const auto asof = AsofFromJson(source.reduce["asof"]);
    if (!asof.ok()) continue;
    const auto& schema = *plan.exchanges[static_cast<size_t>(exchange)].schema;
    return schema.GetFieldIndex(is_left ? asof->left : asof->right);
  }
  return -1;
}

MadeRows MadeBy(const Plan& plan, const TaskCommit& commit) {
  const size_t outputs = plan.stages[static_cast<size_t>(commit.stage)].outputs.size();
  MadeRows made{std::vector<int64_t>(outputs, 0), std::vector<int64_t>(outputs, 0)};
  for (const auto& output : commit.outputs) {
    if (output.output < 0 || output.output >= static_cast<int>(outputs)) continue;  // a quarantine
    made.rows[static_cast<size_t>(output.output)] = output.rows;
    made.bytes[static_cast<size_t>(output.output)] = output.bytes;
  }
  return made;
}

}  // namespace partita
