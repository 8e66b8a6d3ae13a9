// Plans with exchanges that are not what compile makes: each is refused, and says why.
#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/plan/plan.h"

namespace partita {
namespace {

using ::testing::HasSubstr;
using Kind = PlanExchange::Kind;

std::shared_ptr<arrow::Schema> Columns() {
  return arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("v", arrow::int32()),
                        arrow::field("tags", arrow::list(arrow::int8()))});
}

// scan -> exchange -> sink
Plan With(PlanExchange exchange, Json reduce = Json(), std::shared_ptr<arrow::Schema> reduced = nullptr) {
  Plan plan;
  plan.name = "exchanged";
  exchange.step = "asked";
  exchange.schema = Columns();
  PlanStage scan;
  scan.source = {.step = "read", .op = "read_parquet", .format = "parquet"};
  scan.source.schema = Columns();
  scan.outputs.push_back({.kind = PlanOutput::Kind::kExchange, .target = 0});
  PlanStage last;
  last.source.kind = PlanSource::Kind::kExchange;
  last.source.exchange = 0;
  last.source.reduce = std::move(reduce);
  last.source.schema = reduced == nullptr ? Columns() : std::move(reduced);
  last.outputs.push_back({.kind = PlanOutput::Kind::kSink, .target = 0});
  plan.sinks.push_back({.step = "write", .op = "collect", .schema = last.source.schema});
  plan.stages = {scan, last};
  plan.exchanges.push_back(std::move(exchange));
  return plan;
}

PlanExchange Hash() {
  PlanExchange exchange;
  exchange.kind = Kind::kHash;
  exchange.keys = {{.column = "k"}};
  exchange.partition_bytes = 1000;
  return exchange;
}

PlanExchange Sort() {
  PlanExchange exchange;
  exchange.kind = Kind::kSort;
  exchange.keys = {{"k", true, false}, {"v", false, true}};
  exchange.partitions = 8;
  return exchange;
}

PlanExchange Shuffle() {
  PlanExchange exchange;
  exchange.kind = Kind::kShuffle;
  exchange.seed = 7;
  exchange.partitions = 1;
  exchange.limit = 100;
  return exchange;
}

Json Aggregates() {
  return {
      {"op", "aggregate"},
      {"aggregates",
       Json::array({{{"name", "t"}, {"function", "sum"}, {"column", "v"}, {"options", Json::object()}}})}};
}

std::shared_ptr<arrow::Schema> Aggregated() {
  return arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("t", arrow::int64())});
}

std::string ErrorOf(const Json& json) {
  auto plan = Plan::FromJson(json);
  if (plan.ok()) return "no error";
  EXPECT_EQ(KindOf(plan.status()), ErrorKind::kUser) << plan.status();
  return plan.status().message();
}

TEST(PlanExchange, RoundTrips) {
  PlanExchange even;
  even.kind = Kind::kRebalance;
  even.partitions = 3;
  for (const Plan& plan :
       {With(Sort()), With(Shuffle()), With(Hash()), With(even),
        With(Hash(), {{"op", "distinct"}, {"keep", "last"}}), With(Hash(), Aggregates(), Aggregated())}) {
    const Json json = plan.ToJson();
    auto again = Plan::FromJson(*ParseJson(json.dump()));
    ASSERT_TRUE(again.ok()) << again.status() << json.dump(1);
    EXPECT_EQ(again->ToJson(), json);
    EXPECT_EQ(again->exchanges[0].keys, plan.exchanges[0].keys);
    EXPECT_EQ(again->exchanges[0].seed, plan.exchanges[0].seed);
  }
}

// Rows of groups, in an order, the first two of each, numbered.
Plan OrderedGroups() {
  PlanExchange exchange = Hash();
  exchange.order = {{"v", true, true}};
  auto fields = Columns()->fields();
  fields.push_back(arrow::field("index", arrow::int64()));
  return With(exchange, {{"op", "rows"}, {"limit", 2}, {"numbers", Json::array({Json::array({"index", 1})})}},
              arrow::schema(fields));
}

TEST(PlanExchange, GroupsMayHaveAnOrder) {
  const Plan plan = OrderedGroups();
  const Json json = plan.ToJson();
  auto again = Plan::FromJson(*ParseJson(json.dump()));
  ASSERT_TRUE(again.ok()) << again.status() << json.dump(1);
  EXPECT_EQ(again->ToJson(), json);
  EXPECT_EQ(again->exchanges[0].order, plan.exchanges[0].order);
  EXPECT_FALSE(With(Hash()).ToJson()["exchanges"][0].contains("order")) << "older plans keep their hash";
}

TEST(PlanExchange, TheHashFollowsEveryField) {
  const std::string hash = With(Sort()).Hash();
  PlanExchange other = Sort();
  other.keys[0].descending = false;
  EXPECT_NE(With(other).Hash(), hash);
  other = Sort();
  other.partitions = 9;
  EXPECT_NE(With(other).Hash(), hash);
  other = Sort();
  other.keys[1].nulls_first = false;
  EXPECT_NE(With(other).Hash(), hash);
  PlanExchange seeded = Shuffle();
  seeded.seed = 8;
  EXPECT_NE(With(seeded).Hash(), With(Shuffle()).Hash());
}

void ExpectRefused(const Plan& plan, const std::vector<std::pair<const char*, Json>>& changes) {
  const Json good = plan.ToJson();
  EXPECT_EQ(ErrorOf(good), "no error");
  for (const auto& [where, value] : changes) {
    Json bad = good;
    bad[Json::json_pointer(where)] = value;
    EXPECT_NE(ErrorOf(bad), "no error") << where << " = " << value;
  }
}

TEST(PlanExchange, RefusesHostileGroups) {
  const Json number = Json::array({"index", 1});
  ExpectRefused(OrderedGroups(),
                {{"/exchanges/0/order/0/column", "nope"},
                 {"/exchanges/0/order/0/column", "tags"},
                 {"/exchanges/0/order/0/descending", 1},
                 {"/exchanges/0/order", "v"},
                 {"/exchanges/0/order/1", {{"column", "v"}, {"descending", false}, {"nulls_first", false}}},
                 {"/exchanges/0/keys", Json::array()},
                 {"/stages/1/source/reduce/op", "distinct"},
                 {"/stages/1/source/reduce/limit", -2},
                 {"/stages/1/source/reduce/limit", "2"},
                 {"/stages/1/source/reduce/extra", 2},
                 {"/stages/1/source/reduce/numbers", Json::array()},
                 {"/stages/1/source/reduce/numbers", Json::array({number, number})},
                 {"/stages/1/source/reduce/numbers", Json::array({"index"})},
                 {"/stages/1/source/reduce/numbers/0/0", "k"},
                 {"/stages/1/source/reduce/numbers/0/1", 1.5},
                 {"/stages/1/source/reduce", Json()}});
  PlanExchange sorted = Sort();
  sorted.order = {{"v", false, false}};
  EXPECT_NE(ErrorOf(With(sorted).ToJson()), "no error") << "only groups have an order inside";
}

TEST(PlanExchange, RefusesHostileSorts) {
  ExpectRefused(With(Sort()), {{"/exchanges/0/keys", Json::array()},
                               {"/exchanges/0/keys/0/column", "nope"},
                               {"/exchanges/0/keys/0/column", "tags"},
                               {"/exchanges/0/keys/0/column", "v"},
                               {"/exchanges/0/keys/0/descending", 1},
                               {"/exchanges/0/keys/0/extra", 1},
                               {"/exchanges/0/seed", 5},
                               {"/exchanges/0/partitions", 0},
                               {"/exchanges/0/partitions", -2},
                               {"/exchanges/0/partitions", int64_t{1} << 40},
                               {"/exchanges/0/partitions", -1},
                               {"/exchanges/0/partition_bytes", 1000},
                               {"/exchanges/0/rows_per_partition", 5},
                               {"/exchanges/0/limit", 5},
                               {"/exchanges/0/kind", "gather"},
                               {"/exchanges/0/kind", "hash"},
                               {"/exchanges/0/kind", "radix"}});
}

TEST(PlanExchange, RefusesHostileShuffles) {
  ExpectRefused(With(Shuffle()), {{"/exchanges/0/seed", -1},
                                  {"/exchanges/0/seed", 18446744073709551615ull},
                                  {"/exchanges/0/partitions", 2},
                                  {"/exchanges/0/kind", "sort"},
                                  {"/stages/1/source/reduce", {{"op", "distinct"}, {"keep", "first"}}}});
}

TEST(PlanExchange, RefusesHostileReductions) {
  ExpectRefused(With(Hash(), Aggregates(), Aggregated()),
                {{"/stages/1/source/reduce", nullptr},
                 {"/stages/1/source/reduce", 5},
                 {"/stages/1/source/reduce/op", "distinct"},
                 {"/stages/1/source/reduce/extra", 1},
                 {"/stages/1/source/reduce/aggregates", nullptr},
                 {"/stages/1/source/reduce/aggregates/0/name", "k"},
                 {"/stages/1/source/reduce/aggregates/0/name", "other"},
                 {"/stages/1/source/reduce/aggregates/0/function", "mean"},
                 {"/stages/1/source/reduce/aggregates/0/column", "tags"},
                 {"/stages/1/source/reduce/aggregates/0/column", "nope"},
                 {"/exchanges/0/limit", 5}});
  ExpectRefused(With(Hash(), {{"op", "distinct"}, {"keep", "last"}}),
                {{"/stages/1/source/reduce/keep", "some"},
                 {"/stages/1/source/reduce/keep", nullptr},
                 {"/stages/1/source/reduce/op", "count"},
                 {"/exchanges/0/keys/0/descending", true}});
}

// Two scans -> two exchanges -> a join -> sink.
Plan Joined() {
  Plan plan = With(Hash());
  PlanStage scan = plan.stages[0];
  const auto right = arrow::schema({arrow::field("k", arrow::utf8(), /*nullable=*/false),
                                    arrow::field("n", arrow::int64(), /*nullable=*/false)});
  scan.source.step = "read_right";
  scan.source.schema = right;
  scan.outputs[0].target = 1;
  plan.stages.insert(plan.stages.begin() + 1, scan);
  PlanExchange exchange = Hash();
  exchange.step = "asked";
  exchange.schema = right;
  plan.exchanges.push_back(std::move(exchange));
  auto& source = plan.stages[2].source;
  source.right_exchange = 1;
  source.reduce = *ParseJson(R"({"op": "join", "how": "left", "columns": [
      {"name": "k", "side": "key", "column": "k"}, {"name": "v", "side": "left", "column": "v"},
      {"name": "m", "side": "right", "column": "n"}]})");
  source.schema = arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("v", arrow::int32()),
                                 arrow::field("m", arrow::int64())});
  plan.sinks[0].schema = source.schema;
  return plan;
}

TEST(PlanExchange, AJoinRoundTrips) {
  const Json json = Joined().ToJson();
  auto again = Plan::FromJson(*ParseJson(json.dump()));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToJson(), json);
  EXPECT_EQ(again->stages[2].source.right_exchange, 1);
}

TEST(PlanExchange, RefusesHostileJoins) {
  ExpectRefused(Joined(),
                {{"/stages/2/source/right_exchange", -1},
                 {"/stages/2/source/right_exchange", -2},
                 {"/stages/2/source/right_exchange", 2},
                 {"/stages/2/source/right_exchange", 0},
                 {"/stages/2/source/exchange", 1},
                 {"/stages/2/source/reduce", nullptr},
                 {"/stages/2/source/reduce", {{"op", "distinct"}, {"keep", "first"}}},
                 {"/stages/2/source/reduce/op", 5},
                 {"/stages/2/source/reduce/extra", 5},
                 {"/stages/2/source/reduce/how", "cross"},
                 {"/stages/2/source/reduce/how", nullptr},
                 {"/stages/2/source/reduce/how", "semi"},
                 {"/stages/2/source/reduce/columns", nullptr},
                 {"/stages/2/source/reduce/columns", Json::array()},
                 {"/stages/2/source/reduce/columns/0/side", "both"},
                 {"/stages/2/source/reduce/columns/0/extra", 1},
                 {"/stages/2/source/reduce/columns/1/side", "key"},
                 {"/stages/2/source/reduce/columns/1/side", "right"},
                 {"/stages/2/source/reduce/columns/1/column", "nope"},
                 {"/stages/2/source/reduce/columns/1/name", "k"},
                 {"/stages/2/source/schema/2/nullable", false},
                 {"/exchanges/1/keys", Json::array()},
                 {"/exchanges/1/keys/0/column", "n"},
                 {"/exchanges/0/keys/1", {{"column", "v"}, {"descending", false}, {"nulls_first", false}}},
                 {"/exchanges/1/partition_bytes", 1001},
                 {"/exchanges/1/kind", "sort"}});
  Plan counted = Joined();
  for (auto& exchange : counted.exchanges) {
    exchange.partitions = 4;
    exchange.partition_bytes = -1;
  }
  ExpectRefused(counted, {{"/exchanges/0/partitions", 5}});
}

TEST(PlanExchange, AJoinedExchangeHasNoOtherReader) {
  for (int exchange : {0, 1}) {
    Plan plan = Joined();
    PlanStage reader;
    reader.source.kind = PlanSource::Kind::kExchange;
    reader.source.exchange = exchange;
    reader.source.schema = plan.exchanges[static_cast<size_t>(exchange)].schema;
    reader.outputs.push_back({.kind = PlanOutput::Kind::kSink, .target = 1});
    plan.sinks.push_back({.step = "too", .op = "collect", .schema = reader.source.schema});
    plan.stages.push_back(reader);
    EXPECT_THAT(ErrorOf(plan.ToJson()), HasSubstr("which is joined and read twice"));
    std::swap(plan.stages[2], plan.stages[3]);
    EXPECT_THAT(ErrorOf(plan.ToJson()), HasSubstr("which is joined and read twice"));
  }
}

TEST(PlanExchange, ARebalanceHasOneRule) {
  PlanExchange even;
  even.kind = Kind::kRebalance;
  even.partitions = 3;
  ExpectRefused(With(even), {{"/exchanges/0/rows_per_partition", 5},
                             {"/exchanges/0/partitions", -1},
                             {"/exchanges/0/partition_bytes", 5}});
}

}  // namespace
}  // namespace partita
