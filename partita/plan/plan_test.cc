#include "partita/plan/plan.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace partita {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<arrow::Schema> Columns() {
  return arrow::schema({arrow::field("url", arrow::utf8()), arrow::field("width", arrow::int32(), false)});
}

// scan -> filter -> sink and gather -> stage 1 -> sink
Plan Sample() {
  Plan plan;
  plan.name = "photos";
  plan.quarantine = "bad/";
  PlanStage scan;
  scan.source = {.step = "read", .op = "read_parquet", .format = "parquet", .args = {{"path", {"in/"}}}};
  scan.source.filter = {{"column", "ok"}};
  scan.source.schema = Columns();
  scan.nodes.push_back({.step = "filter",
                        .op = "filter",
                        .version = "1",
                        .args = {{"predicate", {{"column", "ok"}}}},
                        .output = Columns(),
                        .on_error = OnError::kSkip});
  scan.outputs.push_back({.kind = PlanOutput::Kind::kSink, .node = 0, .target = 0});
  scan.outputs.push_back({.kind = PlanOutput::Kind::kExchange, .node = -1, .target = 0, .limit = 5});
  PlanStage last;
  last.source.kind = PlanSource::Kind::kExchange;
  last.source.exchange = 0;
  last.source.schema = Columns();
  last.outputs.push_back({.kind = PlanOutput::Kind::kSink, .target = 1});
  plan.stages = {scan, last};
  plan.sinks.push_back({.step = "write",
                        .op = "write_parquet",
                        .format = "parquet",
                        .args = {{"path", "out/"}},
                        .schema = Columns()});
  plan.sinks.push_back({.step = "first", .op = "collect", .schema = Columns(), .limit = 5});
  plan.exchanges.push_back({.step = "limit", .schema = Columns(), .limit = 5});
  return plan;
}

std::string ErrorOf(const Json& json) {
  auto plan = Plan::FromJson(json);
  if (plan.ok()) return "no error";
  EXPECT_EQ(KindOf(plan.status()), ErrorKind::kUser) << plan.status();
  return plan.status().message();
}

TEST(Plan, RoundTripsThroughJson) {
  const Plan plan = Sample();
  const Json json = plan.ToJson();
  auto again = Plan::FromJson(ParseJson(json.dump()).ValueOrDie());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToJson(), json);
  EXPECT_EQ(again->Hash(), plan.Hash());
  EXPECT_EQ(again->stages[0].nodes[0].on_error, OnError::kSkip);
  EXPECT_TRUE(again->stages[0].source.schema->Equals(*Columns()));
  EXPECT_EQ(again->stages[1].source.kind, PlanSource::Kind::kExchange);
}

TEST(Plan, HashFollowsEveryField) {
  const std::string hash = Sample().Hash();
  EXPECT_EQ(hash.size(), 64u);
  EXPECT_EQ(hash, Sample().Hash());
  Plan plan = Sample();
  plan.stages[0].nodes[0].args["predicate"] = {{"column", "other"}};
  EXPECT_NE(plan.Hash(), hash);
  plan = Sample();
  plan.sinks[1].limit = 6;
  EXPECT_NE(plan.Hash(), hash);
  plan = Sample();
  plan.stages[0].source.schema = arrow::schema({arrow::field("url", arrow::utf8())});
  EXPECT_NE(plan.Hash(), hash);
}

TEST(Plan, RefusesOtherVersions) {
  Json json = Sample().ToJson();
  json["partita_plan"] = 3;
  json["something_new"] = true;
  EXPECT_EQ(ErrorOf(json), "the plan has version 3; this Partita reads version 2");
  EXPECT_THAT(ErrorOf(Json::object()), HasSubstr("partita_plan"));
  EXPECT_THAT(ErrorOf(Json::array()), HasSubstr("no JSON object"));
}

// Each key of each object is needed, and no other is taken.
TEST(Plan, RefusesMissingAndUnknownKeys) {
  const Json good = Sample().ToJson();
  for (const char* where : {"", "/stages/0", "/stages/0/source", "/stages/1/source", "/stages/0/nodes/0",
                            "/stages/0/outputs/0", "/sinks/0", "/exchanges/0"}) {
    const Json::json_pointer pointer(where);
    Json more = good;
    more[pointer]["extra"] = 1;
    EXPECT_THAT(ErrorOf(more), HasSubstr("unknown key 'extra'")) << where;
    for (const auto& [key, value] : good[pointer].items()) {
      Json less = good;
      less[pointer].erase(key);
      EXPECT_NE(ErrorOf(less), "no error") << where << " without " << key;
      if (key == "filter" || key == "reduce" || key == "keys") continue;  // may be null, or an empty list
      Json wrong = good;
      wrong[pointer][key] = value.is_array() ? Json("text") : Json::array();
      EXPECT_NE(ErrorOf(wrong), "no error") << where << " with a wrong " << key;
    }
  }
}

TEST(Plan, ChecksIndices) {
  const Json good = Sample().ToJson();
  const std::vector<std::pair<const char*, Json>> changes = {{"/stages/0/nodes/0/input", 0},
                                                             {"/stages/0/nodes/0/input", -2},
                                                             {"/stages/0/outputs/0/node", 1},
                                                             {"/stages/0/outputs/0/node", -2},
                                                             {"/stages/0/outputs/0/target", 2},
                                                             {"/stages/0/outputs/0/target", -1},
                                                             {"/stages/0/outputs/1/input_index", 1},
                                                             {"/stages/1/source/exchange", 1},
                                                             {"/stages/1/source/exchange", -1},
                                                             {"/stages/1/outputs/0/target", 0},
                                                             {"/sinks/0/inputs", 2},
                                                             {"/sinks/0/inputs", 0},
                                                             {"/sinks/0/inputs", 2000000000},
                                                             {"/exchanges/0/inputs", 2},
                                                             {"/exchanges/0/limit", -2},
                                                             {"/exchanges/0/rows_per_partition", 5},
                                                             {"/exchanges/0/kind", "rebalance"},
                                                             {"/exchanges/0/kind", "hash"},
                                                             {"/stages/0/source/limit", -7},
                                                             {"/stages/0/nodes/0/input", 4294967296},
                                                             {"/stages/0/source/filter", "a >"},
                                                             {"/sinks/1/step", "write"},
                                                             {"/stages/0/outputs", Json::array()},
                                                             {"/stages", Json::array()}};
  for (const auto& [where, value] : changes) {
    Json bad = good;
    bad[Json::json_pointer(where)] = value;
    EXPECT_NE(ErrorOf(bad), "no error") << where << " = " << value;
  }
}

TEST(Plan, AStageThatReadsAnExchangeComesLast) {
  Json json = Sample().ToJson();
  std::swap(json["stages"][0], json["stages"][1]);
  EXPECT_THAT(ErrorOf(json), HasSubstr("after a stage has read it"));
}

TEST(Plan, ColumnsMustAgree) {
  Json json = Sample().ToJson();
  json["sinks"][0]["schema"].erase(1);
  EXPECT_THAT(ErrorOf(json), HasSubstr("other columns"));
}

}  // namespace
}  // namespace partita
