#include "partita/engine/coded_columns.h"

#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <algorithm>

#include "partita/base/json.h"

namespace partita {
namespace {

bool TakesCodes(const PlanSink& sink) {
  return sink.op == "write_parquet" && sink.format == "parquet" &&
         GetStringsOr(sink.args, "partition_by", {}).ValueOr({}).empty() &&
         GetBoolOr(sink.args, "dictionary", true).ValueOr(false);
}

bool IsBroadcastJoin(const PlanNode& node) {
  return node.table >= 0 && !node.args.contains("asof") && node.on_error != OnError::kQuarantine;
}

// A scan or an exchange, at most a join with a table behind it, and a file that takes codes.
bool MayCarryCodes(const Plan& plan, const PlanStage& stage) {
  if (stage.outputs.size() != 1 || stage.nodes.size() > 1) return false;
  const auto& output = stage.outputs[0];
  if (output.kind != PlanOutput::Kind::kSink || output.node != static_cast<int>(stage.nodes.size()) - 1)
    return false;
  return TakesCodes(plan.sinks[static_cast<size_t>(output.target)]) &&
         std::all_of(stage.nodes.begin(), stage.nodes.end(), IsBroadcastJoin);
}

}  // namespace

std::vector<std::string> CodedColumns(const Plan& plan, const PlanStage& stage) {
  std::vector<std::string> columns;
  if (!MayCarryCodes(plan, stage)) return columns;
  std::vector<std::string> keys;
  for (const auto& node : stage.nodes) keys = GetStringsOr(node.args, "left_on", {}).ValueOr({});
  for (const auto& field : stage.source.schema->fields()) {
    const bool is_key = std::find(keys.begin(), keys.end(), field->name()) != keys.end();
    if (arrow::is_base_binary_like(field->type()->id()) && !is_key) columns.push_back(field->name());
  }
  return columns;
}

std::vector<std::string> CodedColumns(const PlanStage& stage, const PlanExchange& exchange,
                                      int order_column) {
  std::vector<std::string> columns;
  if (!stage.nodes.empty() || !exchange.is_sorted()) return columns;
  for (int i = 0; i < exchange.schema->num_fields(); ++i) {
    const auto& field = *exchange.schema->field(i);
    const auto is_it = [&](const PlanOrderKey& key) { return key.column == field.name(); };
    const bool is_key = i == order_column || std::any_of(exchange.keys.begin(), exchange.keys.end(), is_it) ||
                        std::any_of(exchange.order.begin(), exchange.order.end(), is_it);
    if (arrow::is_base_binary_like(field.type()->id()) && !is_key) columns.push_back(field.name());
  }
  return columns;
}

bool MayCodeTable(const Plan& plan, int exchange) {
  return std::all_of(plan.stages.begin(), plan.stages.end(), [&](const PlanStage& stage) {
    const bool uses = std::any_of(stage.nodes.begin(), stage.nodes.end(),
                                  [&](const PlanNode& node) { return node.table == exchange; });
    return !uses || MayCarryCodes(plan, stage);
  });
}

}  // namespace partita
