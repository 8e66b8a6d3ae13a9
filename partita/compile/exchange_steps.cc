#include "partita/compile/exchange_steps.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "partita/compile/group_chain.h"
#include "partita/pipeline/aggregate.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/keys.h"

namespace partita::compile {
namespace {

using Kind = PlanExchange::Kind;

std::vector<PlanOrderKey> KeysOf(const std::vector<std::string>& columns) {
  std::vector<PlanOrderKey> keys;
  for (const auto& column : columns) keys.push_back({.column = column});
  return keys;
}

// `count`: the argument that the user may have given; else partitions follow from bytes.
Status SetPartitions(const Json& args, const char* count, PlanExchange* exchange) {
  ARROW_ASSIGN_OR_RAISE(exchange->partitions, GetIntOr(args, count, -1));
  if (exchange->partitions < 0) exchange->partition_bytes = kExchangePartitionBytes;
  return Status::OK();
}

Result<ExchangeStep> SortOf(const Json& args) {
  ExchangeStep out;
  out.exchange.kind = Kind::kSort;
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(auto nulls, GetString(args, "nulls"));
  out.exchange.keys = KeysOf(by);
  const Json& descending = args.at("descending");
  for (size_t i = 0; i < by.size(); ++i) {
    out.exchange.keys[i].descending = descending[descending.size() == 1 ? 0 : i].get<bool>();
    out.exchange.keys[i].nulls_first = nulls == "first";
  }
  ARROW_RETURN_NOT_OK(SetPartitions(args, "partitions", &out.exchange));
  return out;
}

Result<ExchangeStep> ShuffleOf(const Json& args) {
  ExchangeStep out;
  out.exchange.kind = Kind::kShuffle;
  ARROW_ASSIGN_OR_RAISE(const int64_t seed, GetInt(args, "seed"));
  out.exchange.seed = static_cast<uint64_t>(seed);
  ARROW_RETURN_NOT_OK(SetPartitions(args, "partitions", &out.exchange));
  return out;
}

Result<ExchangeStep> RepartitionOf(const Json& args) {
  ExchangeStep out;
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(const bool shuffle, GetBool(args, "shuffle"));
  if (!by.empty() || shuffle) {
    out.exchange.kind = shuffle ? Kind::kShuffle : Kind::kHash;
    out.exchange.keys = KeysOf(by);
    ARROW_RETURN_NOT_OK(SetPartitions(args, "n", &out.exchange));
    if (!args.at("bytes").is_null()) {
      ARROW_ASSIGN_OR_RAISE(out.exchange.partition_bytes, GetInt(args, "bytes"));
    }
    return out;
  }
  out.exchange.kind = Kind::kRebalance;
  ARROW_ASSIGN_OR_RAISE(out.exchange.partitions, GetIntOr(args, "n", -1));
  ARROW_ASSIGN_OR_RAISE(out.exchange.rows_per_partition, GetIntOr(args, "rows", -1));
  ARROW_ASSIGN_OR_RAISE(out.exchange.partition_bytes, GetIntOr(args, "bytes", -1));
  return out;
}

Result<ExchangeStep> DistinctOf(const Json& args, const arrow::Schema& input) {
  ExchangeStep out;
  out.exchange.kind = Kind::kHash;
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(auto keys, DistinctKeys(by, input));
  out.exchange.keys = KeysOf(keys);
  out.exchange.partition_bytes = kExchangePartitionBytes;
  out.reduce = {{"op", "distinct"}, {"keep", args.at("keep")}};
  return out;
}

Result<ExchangeStep> GroupByOf(const Json& args) {
  ExchangeStep out;
  out.exchange.kind = Kind::kHash;
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(auto aggregates, AggregatesFromArgs(args.at("aggregates")));
  out.exchange.keys = KeysOf(by);
  out.exchange.partition_bytes = kExchangePartitionBytes;
  out.reduce = {{"op", "aggregate"}, {"aggregates", AggregatesToJson(aggregates)}};
  return out;
}

Result<ExchangeStep> GroupRowsOf(const Json& args) {
  ExchangeStep out;
  out.exchange.kind = Kind::kHash;
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  out.exchange.keys = KeysOf(by);
  for (const Json& key : args.at("order")) {
    PlanOrderKey order;
    ARROW_ASSIGN_OR_RAISE(order.column, GetString(key, "column"));
    ARROW_ASSIGN_OR_RAISE(order.descending, GetBool(key, "descending"));
    ARROW_ASSIGN_OR_RAISE(order.nulls_first, GetBool(key, "nulls_first"));
    out.exchange.order.push_back(std::move(order));
  }
  out.exchange.partition_bytes = kExchangePartitionBytes;
  ARROW_ASSIGN_OR_RAISE(const GroupRows rows, GroupRowsFromJson(args.at("rows")));
  if (!rows.is_nothing()) out.reduce = GroupRowsToJson(rows);
  return out;
}

}  // namespace

Result<ExchangeStep> ExchangeOf(const GraphStep& step, const arrow::Schema& input) {
  const std::string& op = step.spec->name;
  if (op == "sort") return SortOf(step.args);
  if (op == "random_shuffle") return ShuffleOf(step.args);
  if (op == "repartition") return RepartitionOf(step.args);
  if (op == "distinct") return DistinctOf(step.args, input);
  if (op == "group_by") return GroupByOf(step.args);
  if (op == kGroupRowsOp) return GroupRowsOf(step.args);
  return BugError("the step '" + op + "' has no exchange");
}

Result<JoinExchanges> JoinExchangesOf(const GraphStep& step, const JoinInputs& inputs) {
  JoinExchanges out;
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinOf(step.args, inputs));
  out.left.kind = Kind::kHash;
  ARROW_RETURN_NOT_OK(SetPartitions(step.args, "partitions", &out.left));
  out.right = out.left;
  out.left.keys = KeysOf(inputs.keys.left);
  out.right.keys = KeysOf(inputs.keys.right);
  out.reduce = JoinToJson(join);
  return out;
}

Result<JoinExchanges> AsofExchangesOf(const GraphStep& step, const AsofInputs& inputs) {
  JoinExchanges out;
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinOf(inputs.join_args, inputs.inputs));
  out.left.kind = Kind::kHash;
  ARROW_RETURN_NOT_OK(SetPartitions(step.args, "partitions", &out.left));
  out.right = out.left;
  out.left.keys = KeysOf(inputs.inputs.keys.left);
  out.right.keys = KeysOf(inputs.inputs.keys.right);
  out.reduce = JoinToJson(join);
  out.reduce["asof"] = AsofToJson(inputs.asof);
  return out;
}

int64_t FirstRowsWanted(const Graph& graph, int step) {
  int64_t wanted = -1;
  for (;;) {  // along a chain of limits
    int user = -1;
    for (size_t i = static_cast<size_t>(step) + 1; i < graph.steps.size(); ++i) {
      const auto& other = graph.steps[i];
      if (!other.reaches_sink) continue;
      const auto uses = std::count(other.inputs.begin(), other.inputs.end(), step);
      if (uses == 0) continue;
      if (uses > 1 || user >= 0) return wanted;
      user = static_cast<int>(i);
    }
    if (user < 0) return wanted;
    const auto& next = graph.steps[static_cast<size_t>(user)];
    const bool is_limit = next.spec->name == kLimitOp;
    if (!is_limit && next.spec->name != kCollectOp) return wanted;
    const int64_t rows = GetIntOr(next.args, is_limit ? "n" : "limit", -1).ValueOr(-1);
    if (rows >= 0) wanted = wanted < 0 ? rows : std::min(wanted, rows);
    if (!is_limit) return wanted;
    step = user;
  }
}

bool KeepFirstRows(int64_t rows, PlanExchange* exchange) {
  const bool has_order = exchange->kind == Kind::kSort || exchange->kind == Kind::kShuffle;
  if (!has_order || rows > kMaxFirstRows) return false;
  exchange->limit = rows;
  exchange->partitions = 1;
  exchange->partition_bytes = -1;
  return true;
}

}  // namespace partita::compile
