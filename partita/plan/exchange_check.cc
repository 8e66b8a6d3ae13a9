#include "partita/plan/exchange_check.h"

#include <arrow/type.h>

#include "partita/pipeline/aggregate.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/join.h"
#include "partita/pipeline/keys.h"
#include "partita/plan/plan_check.h"

namespace partita {
namespace {

using Kind = PlanExchange::Kind;

// A hostile plan must not make anyone reserve or loop by a number it merely states.
constexpr int kMaxInputs = 1 << 16;

Status Bad(const PlanExchange& exchange, const std::string& why) {
  return BadPlan("a " + std::string(ExchangeKindName(exchange.kind)) + " exchange " + why);
}

bool IsCount(int64_t value) { return value >= 1 && value <= kMaxExchangePartitions; }

// How the rows are cut: each kind has exactly one rule.
Status CheckCuts(const PlanExchange& exchange) {
  const bool sized = exchange.partition_bytes >= 1;
  const bool by_rows = exchange.rows_per_partition >= 1;
  const bool counted = IsCount(exchange.partitions);
  if ((!sized && exchange.partition_bytes != -1) || (!by_rows && exchange.rows_per_partition != -1) ||
      (!counted && exchange.partitions != -1)) {
    return Bad(exchange, "has counts out of range: partitions " + std::to_string(exchange.partitions) +
                             ", partition_bytes " + std::to_string(exchange.partition_bytes) +
                             ", rows_per_partition " + std::to_string(exchange.rows_per_partition));
  }
  bool good = false;
  switch (exchange.kind) {
    case Kind::kGather:
      good = !sized && !by_rows && !counted;
      break;
    case Kind::kRebalance:
      good = sized + by_rows + counted == 1;
      break;
    case Kind::kSort:
    case Kind::kShuffle:
    case Kind::kHash:
      good = !by_rows && sized != counted;
      break;
  }
  return good ? Status::OK() : Bad(exchange, "does not say how its rows are cut, or says it twice");
}

Status CheckOrder(const PlanExchange& exchange) {
  const bool has_keys = exchange.kind == Kind::kSort || exchange.kind == Kind::kHash;
  if (!has_keys && !exchange.keys.empty()) return Bad(exchange, "has keys");
  if (exchange.kind != Kind::kShuffle && exchange.seed != 0) return Bad(exchange, "has a seed");
  if (!exchange.order.empty()) {
    std::vector<std::string> order;
    for (const auto& key : exchange.order) order.push_back(key.column);
    const Status status = CheckKeys("it", order, *exchange.schema, "order");
    if (exchange.kind != Kind::kHash || exchange.keys.empty()) return Bad(exchange, "orders groups");
    if (!status.ok()) return Bad(exchange, "has a bad order: " + MessageOf(status));
  }
  // Without keys all rows are equal: a cross join.
  if (!has_keys || (exchange.kind == Kind::kHash && exchange.keys.empty())) return Status::OK();
  const Status keys = CheckKeys("it", exchange.key_names(), *exchange.schema);
  if (!keys.ok()) return Bad(exchange, "has bad keys: " + MessageOf(keys));
  for (const PlanOrderKey& key : exchange.keys) {
    if (exchange.kind == Kind::kHash && (key.descending || key.nulls_first)) {
      return Bad(exchange, "has keys with a direction");
    }
  }
  return Status::OK();
}

bool IsDistinct(const Json& reduce) {
  return reduce.size() == 2 && reduce.contains("keep") && reduce["keep"].is_string() &&
         (reduce["keep"] == "first" || reduce["keep"] == "last" || reduce["keep"] == "none");
}

}  // namespace

bool SameColumns(const arrow::Schema& a, const arrow::Schema& b) {
  if (a.num_fields() != b.num_fields()) return false;
  for (int i = 0; i < a.num_fields(); ++i) {
    if (a.field(i)->name() != b.field(i)->name() || !a.field(i)->type()->Equals(*b.field(i)->type()))
      return false;
  }
  return true;
}

Status CheckExchange(const PlanExchange& exchange) {
  if (exchange.inputs < 1 || exchange.inputs > kMaxInputs) {
    return Bad(exchange, "has " + std::to_string(exchange.inputs) + " inputs");
  }
  if (exchange.limit < -1) return Bad(exchange, "has a negative limit");
  if (exchange.limit >= 0 && exchange.is_sorted() &&
      (exchange.kind == Kind::kHash || exchange.partitions != 1)) {
    return Bad(exchange, "has a limit, but not one partition in one order");
  }
  // What comes in behind a limit is a matter of time.
  if (exchange.limit >= 0 && !exchange.is_sorted() && exchange.partition_bytes >= 1)
    return Bad(exchange, "has a limit, but is cut by bytes");
  ARROW_RETURN_NOT_OK(CheckCuts(exchange));
  return CheckOrder(exchange);
}

Status CheckExchangeSource(const PlanSource& source, const PlanExchange& exchange) {
  const auto bad = [](const std::string& why) { return BadPlan("a stage that reads an exchange " + why); };
  const Json& reduce = source.reduce;
  if (reduce.is_null()) {
    return SameColumns(*exchange.schema, *source.schema) ? Status::OK()
                                                         : bad("has other columns than its exchange");
  }
  if (exchange.kind != Kind::kHash) return bad("reduces rows that are not placed by key");
  if (!reduce.is_object() || !reduce.contains("op")) return bad("has a bad 'reduce'");
  if (reduce["op"] == "rows") {
    auto rows = GroupRowsFromJson(reduce);
    if (!rows.ok()) return bad("has a bad 'reduce': " + MessageOf(rows.status()));
    auto columns = GroupRowsSchema(*rows, *exchange.schema);
    if (!columns.ok()) return bad("has bad numbers: " + MessageOf(columns.status()));
    return SameColumns(**columns, *source.schema) ? Status::OK() : bad("has other columns than its rows");
  }
  if (!exchange.order.empty()) return bad("reduces groups that are ordered");
  if (reduce["op"] == "distinct") {
    if (!IsDistinct(reduce)) return bad("has a bad 'reduce'");
    return SameColumns(*exchange.schema, *source.schema) ? Status::OK()
                                                         : bad("has other columns than its exchange");
  }
  if (reduce["op"] != "aggregate" || reduce.size() != 2 || !reduce.contains("aggregates")) {
    return bad("has a bad 'reduce'");
  }
  auto aggregates = AggregatesFromJson(reduce["aggregates"]);
  if (!aggregates.ok()) return bad("has bad aggregates: " + MessageOf(aggregates.status()));
  auto schema = AggregateSchema(exchange.key_names(), *aggregates, *exchange.schema);
  if (!schema.ok()) return bad("has bad aggregates: " + MessageOf(schema.status()));
  return SameColumns(**schema, *source.schema) ? Status::OK()
                                               : bad("has other columns than its aggregates give");
}

namespace {

// The columns of a join, of what both sides have.
Status CheckJoinColumns(const Join& join, const JoinKeys& keys, const arrow::Schema& left,
                        const arrow::Schema& right, const arrow::Schema& output, const std::string& who) {
  const auto bad = [&who](const std::string& why) { return BadPlan(who + " " + why); };
  const Status match = CheckJoinKeys(join.how, keys, left, right);
  if (!match.ok()) return bad("has bad keys: " + MessageOf(match));
  auto schema = JoinSchema(join, keys, left, right);
  if (!schema.ok()) return bad("has bad columns: " + MessageOf(schema.status()));
  if (!SameColumns(**schema, output)) return bad("has other columns than they give");
  for (int i = 0; i < output.num_fields(); ++i) {
    const auto& field = output.field(i);
    if (!field->nullable() && (*schema)->field(i)->nullable())
      return bad("promises values of column '" + field->name() + "', where there may be none");
  }
  return Status::OK();
}

// What an as-of join orders by.
Status CheckAsof(const Json& value, const arrow::Schema& left, const arrow::Schema& right,
                 const std::string& who) {
  auto asof = AsofFromJson(value);
  if (!asof.ok()) return BadPlan(who + " is badly written: " + MessageOf(asof.status()));
  const auto a = left.GetFieldByName(asof->left), b = right.GetFieldByName(asof->right);
  if (a == nullptr || b == nullptr || !a->type()->Equals(*b->type()) || !IsAsofType(*a->type()))
    return BadPlan(who + " orders by columns that cannot be compared");
  return Status::OK();
}

}  // namespace

Status CheckProbe(const PlanNode& node, const arrow::Schema& input, const PlanExchange& table) {
  const std::string who = "a node that joins";
  if (table.kind != Kind::kGather) return BadPlan(who + " has a table that is not gathered");
  auto join = JoinFromJson(node.args.value("join", Json()));
  if (!join.ok()) return BadPlan(who + " is badly written: " + MessageOf(join.status()));
  if (join->may_lack_left()) return BadPlan(who + " would have to give rows of its table alone");
  auto left = GetStringsOr(node.args, "left_on", {}), right = GetStringsOr(node.args, "right_on", {});
  auto bytes = GetIntOr(node.args, "bytes", -1);
  if (!left.ok() || !right.ok() || !bytes.ok()) return BadPlan(who + " has bad arguments");
  if ((join->how == JoinHow::kAsof) != node.args.contains("asof"))
    return BadPlan(who + " does not say what it orders by, or says it in vain");
  if (join->how == JoinHow::kAsof) {
    ARROW_RETURN_NOT_OK(CheckAsof(node.args["asof"], input, *table.schema, who));
  } else if (join->how == JoinHow::kZip) {
    return BadPlan(who + " cannot zip");
  }
  return CheckJoinColumns(*join, {*left, *right}, input, *table.schema, *node.output, who);
}

Status CheckJoinSource(const PlanSource& source, const PlanExchange& left, const PlanExchange& right) {
  const std::string who = "a stage that joins two exchanges";
  const auto bad = [&who](const std::string& why) { return BadPlan(who + " " + why); };
  auto join = JoinFromJson(source.reduce);
  if (!join.ok()) return bad("has a bad 'reduce': " + MessageOf(join.status()));
  if ((join->how == JoinHow::kAsof) != source.reduce.contains("asof"))
    return bad("does not say what it orders by, or says it in vain");
  if (join->how == JoinHow::kAsof)
    ARROW_RETURN_NOT_OK(CheckAsof(source.reduce["asof"], *left.schema, *right.schema, who));
  if (!left.order.empty() || !right.order.empty()) return bad("has one whose groups are ordered");
  const Kind kind = join->how == JoinHow::kZip ? Kind::kRebalance : Kind::kHash;
  if (left.kind != kind || right.kind != kind) return bad("has one that is not placed as it must be");
  // Rows that meet must be in partitions of one number.
  if (left.partitions != right.partitions || left.partition_bytes != right.partition_bytes)
    return bad("has two that are cut in different ways");
  if (kind == Kind::kRebalance && (left.partition_bytes < 1 || left.limit >= 0 || right.limit >= 0))
    return bad("zips rows that are not cut by bytes alone");
  return CheckJoinColumns(*join, {left.key_names(), right.key_names()}, *left.schema, *right.schema,
                          *source.schema, who);
}

}  // namespace partita
