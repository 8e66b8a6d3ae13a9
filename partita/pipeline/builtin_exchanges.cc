// Steps in which rows change partition: compile makes an exchange of each (compile/exchange_steps.h). None of
// them computes a row, so none can fail on one.
#include <arrow/type.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/pipeline/aggregate.h"
#include "partita/pipeline/builtin_steps.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/join.h"
#include "partita/pipeline/keys.h"

namespace partita {
namespace {

using SchemaPtr = std::shared_ptr<arrow::Schema>;

// The rows as they are, in another order or number.
StepBinding SameColumns(const SchemaPtr& input, std::vector<std::string> reads) {
  StepBinding binding;
  binding.output = input;
  binding.reads = std::move(reads);
  return binding;
}

Result<StepBinding> BindSort(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_RETURN_NOT_OK(CheckKeys("sort", by, *input));
  const size_t directions = args.at("descending").size();
  if (directions != 1 && directions != by.size()) {
    return UserError("sort has " + std::to_string(by.size()) + " columns in `by`, but `descending` has " +
                         std::to_string(directions) + " entries",
                     "give `descending` once for all columns, or once for each");
  }
  return SameColumns(input, std::move(by));
}

Result<StepBinding> BindRepartition(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(const bool shuffle, GetBoolOr(args, "shuffle", false));
  const bool has_n = !args.at("n").is_null(), has_rows = !args.at("rows").is_null(),
             has_bytes = !args.at("bytes").is_null();
  if (has_n + has_rows + has_bytes > 1) {
    return UserError("repartition takes the number of partitions, or the rows or the bytes of each",
                     "give one of `n`, `rows` and `bytes`");
  }
  if (!by.empty() && shuffle) {
    return UserError("repartition places rows by key or at random, not both", "give `by` or `shuffle`");
  }
  if (has_rows && (shuffle || !by.empty())) {
    return UserError("repartition cuts partitions of `rows` rows only where the rows keep their order",
                     "give `n` instead of `rows`");
  }
  if (!has_n && !has_rows && !has_bytes && by.empty() && !shuffle) {
    return UserError("repartition needs the number of partitions, or the rows or the bytes of each",
                     "give `n`, `rows` or `bytes`");
  }
  if (!by.empty()) ARROW_RETURN_NOT_OK(CheckKeys("repartition", by, *input));
  return SameColumns(input, std::move(by));
}

Result<StepBinding> BindDistinct(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(auto keys, DistinctKeys(by, *input));
  return SameColumns(input, std::move(keys));
}

Result<StepBinding> BindGroupBy(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(args, "by", {}));
  ARROW_RETURN_NOT_OK(CheckKeys("group_by", by, *input));
  ARROW_ASSIGN_OR_RAISE(auto aggregates, AggregatesFromArgs(args.at("aggregates")));
  StepBinding binding;
  ARROW_ASSIGN_OR_RAISE(binding.output, AggregateSchema(by, aggregates, *input));
  binding.drops_others = true;
  binding.reads = std::move(by);
  for (const AggregateSpec& aggregate : aggregates) {
    binding.writes.push_back(aggregate.name);
    auto& reads = binding.reads;
    for (auto& column : aggregate.columns()) {
      if (std::find(reads.begin(), reads.end(), column) == reads.end()) reads.push_back(std::move(column));
    }
  }
  return binding;
}

Result<StepBinding> BindJoin(const Json& args, const SchemaPtr& left, const SchemaPtr& right) {
  ARROW_ASSIGN_OR_RAISE(const JoinInputs inputs, JoinInputsOf(args, left, right));
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinOf(args, inputs));
  ARROW_ASSIGN_OR_RAISE(const std::string strategy, GetString(args, "strategy"));
  if (strategy == "broadcast" && join.may_lack_left()) {
    return UserError("a broadcast join gives no right rows that match none, as a " +
                         std::string(JoinHowName(join.how)) + " join does",
                     "leave `strategy` out, or swap the inputs and take a left join");
  }
  if (strategy == "broadcast" && !args.at("partitions").is_null()) {
    return UserError("a broadcast join has the partitions of its left input", "leave out `partitions`");
  }
  StepBinding binding;
  ARROW_ASSIGN_OR_RAISE(binding.output, JoinSchema(join, inputs.keys, *inputs.left, *inputs.right));
  return binding;
}

Result<StepBinding> BindZip(const Json& args, const SchemaPtr& left, const SchemaPtr& right) {
  ARROW_ASSIGN_OR_RAISE(const Json join_args, ZipArgs(args));
  ARROW_ASSIGN_OR_RAISE(const JoinInputs inputs, JoinInputsOf(join_args, left, right));
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinOf(join_args, inputs));
  StepBinding binding;
  ARROW_ASSIGN_OR_RAISE(binding.output, JoinSchema(join, inputs.keys, *inputs.left, *inputs.right));
  return binding;
}

Result<StepBinding> BindAsof(const Json& args, const SchemaPtr& left, const SchemaPtr& right) {
  ARROW_ASSIGN_OR_RAISE(const AsofInputs asof, AsofInputsOf(args, left, right));
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinOf(asof.join_args, asof.inputs));
  StepBinding binding;
  ARROW_ASSIGN_OR_RAISE(binding.output,
                        JoinSchema(join, asof.inputs.keys, *asof.inputs.left, *asof.inputs.right));
  return binding;
}

Result<StepBinding> NumberRows(const GroupRows& rows, const SchemaPtr& input,
                               std::vector<std::string> reads) {
  StepBinding binding;
  ARROW_ASSIGN_OR_RAISE(binding.output, GroupRowsSchema(rows, *input));
  binding.reads = std::move(reads);
  for (const auto& number : rows.numbers) binding.writes.push_back(number.name);
  return binding;
}

Result<StepBinding> BindRowIndex(const Json& args, const SchemaPtr& input) {
  GroupRows rows;
  ARROW_ASSIGN_OR_RAISE(const std::string name, GetString(args, "name"));
  rows.numbers.push_back({name, 0});
  return NumberRows(rows, input, {});
}

// The steps of a map_groups that see groups, as compile makes them (compile/group_chain.h).
Result<StepBinding> BindGroupRows(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(auto reads, GetStringsOr(args, "by", {}));
  ARROW_RETURN_NOT_OK(CheckKeys(kMapGroupsOp, reads, *input));
  std::vector<std::string> order;
  for (const Json& key : args.at("order")) {
    ARROW_ASSIGN_OR_RAISE(auto column, GetString(key, "column"));
    order.push_back(std::move(column));
  }
  if (!order.empty()) ARROW_RETURN_NOT_OK(CheckKeys("sort", order, *input));
  for (auto& column : order) {
    if (std::find(reads.begin(), reads.end(), column) == reads.end()) reads.push_back(std::move(column));
  }
  ARROW_ASSIGN_OR_RAISE(const GroupRows rows, GroupRowsFromJson(args.at("rows")));
  return NumberRows(rows, input, std::move(reads));
}

StepSpec Exchange(std::string name, std::string summary, std::vector<ArgSpec> args, BindStep bind) {
  StepSpec spec;
  spec.name = std::move(name);
  spec.summary = std::move(summary);
  spec.args = std::move(args);
  spec.bind = std::move(bind);
  spec.is_exchange = true;
  return spec;
}

ArgSpec By(bool required, std::string doc) {
  return {.name = "by",
          .type = ArgType::kStringList,
          .required = required,
          .default_json = required ? "null" : "[]",
          .doc = std::move(doc)};
}

ArgSpec Seed() {
  return {.name = "seed",
          .type = ArgType::kInt,
          .default_json = "0",
          .min = 0,
          .doc = "The same seed gives the same rows in the same order, on every machine."};
}

ArgSpec Suffix() {
  return {.name = "suffix",
          .type = ArgType::kString,
          .default_json = R"("_right")",
          .doc = "Put behind the name of a right column that the left has too; empty: that is an error."};
}

ArgSpec Partitions() {
  return {.name = "partitions",
          .type = ArgType::kInt,
          .min = 1,
          .max = 1e6,
          .doc = "Number of partitions of the result; null: as many as make about 128 MiB each."};
}

StepSpec Sort() {
  return Exchange(
      "sort", "Sorts all rows; rows with equal keys keep their order.",
      {By(true, "Columns to sort by, the first one first; all types but lists, structs and maps."),
       {.name = "descending",
        .type = ArgType::kBoolList,
        .default_json = "[false]",
        .doc = "Whether the greatest comes first: once for all columns, or once for each. NaN is greater "
               "than all numbers."},
       {.name = "nulls",
        .type = ArgType::kString,
        .default_json = R"("last")",
        .choices = {"last", "first"},
        .doc = "Where nulls stand, whatever the direction."},
       Partitions()},
      BindSort);
}

StepSpec RandomShuffle() {
  return Exchange("random_shuffle", "Puts all rows in a random order, not only those of a partition.",
                  {Seed(), Partitions()}, [](const Json&, const SchemaPtr& input) -> Result<StepBinding> {
                    return SameColumns(input, {});
                  });
}

StepSpec Repartition() {
  return Exchange(
      "repartition", "Cuts the rows in other partitions: in their order, by key, or at random.",
      {{.name = "n",
        .type = ArgType::kInt,
        .min = 1,
        .max = 1e6,
        .doc = "Number of partitions; without `by` and `shuffle` they differ by one row at most."},
       {.name = "rows",
        .type = ArgType::kInt,
        .min = 1,
        .doc = "Rows of each partition, instead of their number; the last one may be shorter."},
       {.name = "bytes",
        .type = ArgType::kBytes,
        .min = 1,
        .doc = "Bytes of each partition, instead of their number: there are as many as that makes, and "
               "without `by` and `shuffle` they differ by one row at most."},
       By(false, "Key columns: rows with equal keys go to one partition, and stand together in it."),
       {.name = "shuffle",
        .type = ArgType::kBool,
        .default_json = "false",
        .doc = "Whether rows are placed at random, always in the same way."}},
      BindRepartition);
}

StepSpec Distinct() {
  return Exchange("distinct", "Keeps one row of those that are equal in the key columns.",
                  {By(false, "Key columns; none: all columns. Nulls are equal to each other."),
                   {.name = "keep",
                    .type = ArgType::kString,
                    .default_json = R"("first")",
                    .choices = {"first", "last", "none"},
                    .doc = "Which row stays, in the order of the dataset; none: rows that are not alone are "
                           "left out."}},
                  BindDistinct);
}

StepSpec GroupBy() {
  return Exchange(
      "group_by", "Makes one row of the rows that are equal in the key columns.",
      {By(true, "Key columns. Nulls are equal to each other."),
       {.name = "aggregates",
        .type = ArgType::kAggregateMap,
        .required = true,
        .min = 1,
        .doc = "A map of new column to an aggregate like sum(v) or count(): count, sum, mean, "
               "min, max, var, std, any, all, first, last, list, n_unique, median, quantile(v, q), "
               "largest(v, n), smallest(v, n), corr(v, w), approx_n_unique, approx_quantile(v, q)."}},
      BindGroupBy);
}

StepSpec WithRowIndex() {
  return Exchange(kRowIndexOp,
                  "Numbers the rows of each group, in their order; it stands inside `map_groups` alone.",
                  {{.name = "name",
                    .type = ArgType::kColumn,
                    .default_json = R"("index")",
                    .doc = "The new column, of type int64."},
                   {.name = "offset",
                    .type = ArgType::kInt,
                    .default_json = "0",
                    .min = 0,
                    .max = 1e15,
                    .doc = "The number of the first row of each group; SQL's row_number() has 1."}},
                  BindRowIndex);
}

StepSpec GroupRowsStep() {
  StepSpec spec =
      Exchange("group_rows", "The rows of each group, ordered, numbered and cut.",
               {By(true, "Key columns."),
                {.name = "order",
                 .type = ArgType::kJson,
                 .default_json = "[]",
                 .doc = "Order inside a group: a list of {column, descending, nulls_first}."},
                {.name = "rows", .type = ArgType::kJson, .required = true, .doc = "GroupRowsToJson."}},
               BindGroupRows);
  spec.is_internal = true;
  return spec;
}

ArgSpec JoinOn(std::string name, std::string doc) {
  return {.name = std::move(name), .type = ArgType::kStringList, .default_json = "[]", .doc = std::move(doc)};
}

StepSpec JoinStep() {
  StepSpec spec = Exchange(
      "join", "Puts the rows of two inputs, left and right, side by side where their key columns are equal.",
      {JoinOn("on",
              "Key columns that both inputs have; they are one column of the result. Null equals nothing."),
       {.name = "how",
        .type = ArgType::kString,
        .default_json = R"("inner")",
        .choices = {"inner", "left", "right", "full", "semi", "anti", "cross"},
        .doc =
            "Which rows stay: only pairs, or also rows of the left, the right or both inputs that match "
            "none; semi: left rows that match; anti: left rows that do not; cross: each left row with each "
            "right row, without keys."},
       JoinOn("left_on", "Key columns of the left input, instead of `on`."),
       JoinOn(
           "right_on",
           "Key columns of the right input, as many. Where a name differs, an inner and a left join drop the "
           "right column, a right join the left one."),
       Suffix(),
       {.name = "strategy",
        .type = ArgType::kString,
        .default_json = R"("auto")",
        .choices = {"auto", "broadcast", "hash"},
        .doc =
            "broadcast: the right side is held in memory and the rows keep the order and the partitions of "
            "the left; hash: both sides are placed by key, whatever their sizes, and a key that is worth "
            "several partitions is shared by them; auto: broadcast where the right side is known to be "
            "at most 16 MiB, no `partitions` are given and `how` allows it."},
       Partitions()},
      nullptr);
  spec.bind_pair = BindJoin;
  return spec;
}

StepSpec JoinAsof() {
  StepSpec spec = Exchange(
      "join_asof",
      "Puts beside each left row the nearest right row: the last one not after it, or the first not before.",
      {JoinOn("on", "The column that both are ordered by, a number or a time; neither need be sorted."),
       JoinOn("by", "Key columns that both have: only right rows with equal keys are looked at."),
       {.name = "direction",
        .type = ArgType::kString,
        .default_json = R"("backward")",
        .choices = {"backward", "forward", "nearest"},
        .doc = "backward: the last right row that is not after the left one; forward: the first that is not "
               "before it; nearest: the nearer of both, backward where they are equally near."},
       JoinOn("left_on", "The left column to order by, instead of `on`."),
       JoinOn("right_on", "The right column to order by."),
       JoinOn("left_by", "Key columns of the left input, instead of `by`."),
       JoinOn("right_by", "Key columns of the right input, as many."),
       Suffix(),
       {.name = "strategy",
        .type = ArgType::kString,
        .default_json = R"("auto")",
        .choices = {"auto", "broadcast", "hash"},
        .doc =
            "broadcast: the right side is held in memory and the rows keep the order and the partitions of "
            "the left; hash: both sides are placed by `by` and ordered by `on`, whatever their sizes; auto: "
            "broadcast where the right side is known to be at most 16 MiB and no `partitions` are given."},
       Partitions()},
      nullptr);
  spec.bind_pair = BindAsof;
  return spec;
}

StepSpec Zip() {
  StepSpec spec =
      Exchange("zip", "Puts two inputs side by side, row by row; an error where they have not as many rows.",
               {Suffix()}, nullptr);
  spec.bind_pair = BindZip;
  return spec;
}

}  // namespace

std::vector<StepSpec> BuiltinExchanges() {
  return {Sort(),     RandomShuffle(), Repartition(), Distinct(),     GroupBy(),
          JoinStep(), JoinAsof(),      Zip(),         WithRowIndex(), GroupRowsStep()};
}

}  // namespace partita
