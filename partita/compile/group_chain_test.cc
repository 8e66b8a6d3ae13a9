// map_groups of native steps, from pipeline to plan.
#include "partita/compile/group_chain.h"

#include "components/register.h"
#include "partita/compile/test_pipeline.h"
#include "partita/pipeline/group_steps.h"

namespace partita {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Kind = PlanExchange::Kind;

Json Step(const std::string& op, Json args = Json::object()) {
  return {{"op", op}, {"args", std::move(args)}};
}

template <typename... Steps>
Json List(const Steps&... steps) {
  Json out = Json::array();
  (out.push_back(steps), ...);
  return out;
}

TestPipeline Grouped(Json steps, Json by = "url") {
  RegisterComponents();
  TestPipeline test;
  test.Parquet("rows")
      .Add("map_groups", {{"by", std::move(by)}, {"steps", std::move(steps)}})
      .Add("write_parquet", {{"path", "out"}});
  return test;
}

Result<Plan> ErrorOf(Json steps) { return Grouped(std::move(steps)).Compiled(); }

std::string Explained(const TestPipeline& test) { return *Explain(test.MustCompile(), test.snapshot); }

const Json kFirst = Step("limit", {{"n", 3}});

TEST(GroupChain, OneExchangeOrdersNumbersAndCuts) {
  const auto test = Grouped(List(Step("filter", {{"predicate", "width > 5"}}),
                                 Step("sort", {{"by", {"width", "height"}}, {"descending", {true, false}}}),
                                 Step("with_row_index", {{"name", "rank"}, {"offset", 1}}), kFirst,
                                 Step("with_columns", {{"columns", {{"area", "width * rank"}}}})));
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 1u);
  ASSERT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(plan.stages[0].nodes[0].op, "filter") << "what sees one row after the other need not wait";
  const auto& exchange = plan.exchanges[0];
  EXPECT_EQ(exchange.kind, Kind::kHash);
  EXPECT_EQ(exchange.step, "map_groups");
  EXPECT_THAT(exchange.key_names(), ElementsAre("url"));
  EXPECT_EQ(exchange.order, (std::vector<PlanOrderKey>{{"width", true, false}, {"height", false, false}}));
  const GroupRows rows = *GroupRowsFromJson(plan.stages[1].source.reduce);
  EXPECT_EQ(rows.limit, 3);
  ASSERT_EQ(rows.numbers.size(), 1u);
  EXPECT_EQ(rows.numbers[0].name, "rank");
  EXPECT_EQ(plan.stages[1].nodes[0].step, "map_groups.with_columns");
  EXPECT_THAT(Explained(test),
              HasSubstr("hash by url, each group by width descending, height for map_groups"));
  EXPECT_THAT(Explained(test), HasSubstr("of each group keeps the first 3 rows and numbers the rows: rank"));
}

TEST(GroupChain, NumbersAndColumnsThatNobodyNeedsAreNotMade) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("map_groups",
           {{"by", "url"}, {"steps", List(Step("sort", {{"by", "width"}}), Step("with_row_index"))}})
      .Add("select", {{"columns", {"height"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_TRUE(plan.stages[1].source.reduce.is_null());
  EXPECT_THAT(plan.exchanges[0].schema->field_names(), ElementsAre("url", "width", "height"));
}

TEST(GroupChain, ASecondExchangeOnlyWhereStepsNeedIt) {
  const Json sort = Step("sort", {{"by", "width"}}), other = Step("sort", {{"by", "height"}});
  const Json filter = Step("filter", {{"predicate", "width > 5"}});
  const auto exchanges = [](Json steps) { return Grouped(std::move(steps)).MustCompile().exchanges.size(); };
  EXPECT_EQ(exchanges(List(kFirst)), 1u);
  EXPECT_EQ(exchanges(List(sort, kFirst, kFirst)), 1u);
  EXPECT_EQ(exchanges(List(filter, sort, kFirst, filter)), 1u);
  EXPECT_EQ(exchanges(List(sort, kFirst, other)), 2u) << "the order of what was kept";
  EXPECT_EQ(exchanges(List(sort, filter, kFirst)), 2u) << "the first ones of what is left";
  EXPECT_EQ(exchanges(List(filter)), 1u) << "groups stand together all the same";
  const Plan stable = Grouped(List(sort, other)).MustCompile();
  ASSERT_EQ(stable.exchanges.size(), 1u);
  EXPECT_EQ(stable.exchanges[0].order,
            (std::vector<PlanOrderKey>{{"height", false, false}, {"width", false, false}}));
}

TEST(GroupChain, KeysStayWhatTheyAreWhileRowsAreGroupedByThem) {
  const Json drop = Step("drop", {{"columns", "url"}});
  const Json change = Step("with_columns", {{"columns", {{"url", "caption"}}}});
  EXPECT_THAT(ErrorOf(List(drop, kFirst)),
              IsUserError("'url', by which rows are still grouped", "map_groups.drop"));
  EXPECT_THAT(ErrorOf(List(change, kFirst)),
              IsUserError("'url', by which rows are still grouped", "map_groups.with_columns"));
  EXPECT_TRUE(ErrorOf(List(kFirst, drop)).ok());
  EXPECT_TRUE(ErrorOf(List(kFirst, change)).ok());
}

TEST(GroupChain, RefusesWhatCannotStandInside) {
  const auto refused = [](const std::string& op) { return "'" + op + "' cannot stand inside map_groups"; };
  for (const char* op :
       {"join", "zip", "union", "write_parquet", "read_parquet", "random_shuffle", "distinct", "group_by",
        "repartition", "sample", "local_shuffle", "map_batches", "map_groups"}) {
    EXPECT_THAT(ErrorOf(List(kFirst, Step(op))), IsUserError(refused(op), "map_groups"));
  }
  EXPECT_THAT(ErrorOf(Json::array()), IsUserError("expected a list of steps", "map_groups"));
  EXPECT_THAT(ErrorOf(List(Step("limt"))), IsUserError("did you mean 'limit'", "map_groups"));
  EXPECT_THAT(ErrorOf(List(Step("sort", {{"by", "widht"}}))),
              IsUserError("did you mean 'width'", "map_groups"));
  EXPECT_THAT(ErrorOf(List(Step("sort", {{"by", "width"}, {"partitions", 3}}))),
              IsUserError("makes no partitions", "map_groups"));
  EXPECT_THAT(ErrorOf(List(Step("with_row_index", {{"name", "width"}}))),
              IsUserError("a second column 'width'", "map_groups"));
  EXPECT_THAT(Grouped(List(kFirst), Json::array({"url", "nope"})).Compiled(),
              IsUserError("nope", "map_groups"));
}

TEST(GroupChain, StepsOrAFunction) {
  TestPipeline both;
  both.Parquet("rows")
      .Add("map_groups", {{"by", "url"}, {"steps", List(kFirst)}, {"fn", "a:b"}})
      .Add("write_parquet", {{"path", "out"}});
  EXPECT_THAT(both.Compiled(), IsUserError("`steps` or a Python function", "map_groups"));
  TestPipeline outside;
  outside.Parquet("rows").Add("with_row_index").Add("write_parquet", {{"path", "out"}});
  EXPECT_THAT(outside.Compiled(), IsUserError("inside map_groups alone", "with_row_index"));
}

TEST(GroupChain, PoliciesForBadRowsGoToTheStepsInside) {
  Json own = Step("filter", {{"predicate", "width / height > 1"}});
  own["on_error"] = "fail";
  TestPipeline test;
  test.Parquet("rows")
      .Add("map_groups",
           {{"by", "url"}, {"steps", List(Step("cast", {{"columns", {{"url", "int64"}}}}), own)}})
      .OnErrors(OnError::kSkip)
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages[1].nodes.size(), 2u);
  EXPECT_EQ(plan.stages[1].nodes[0].on_error, OnError::kSkip);
  EXPECT_EQ(plan.stages[1].nodes[1].on_error, OnError::kFail);
}

TEST(GroupChain, StepsOfThePipelineHaveTheirSchemas) {
  const auto test = Grouped(List(Step("with_row_index"), Step("select", {{"columns", {"index", "url"}}})));
  const auto schemas = *StepSchemas(test.pipeline, test.snapshot);
  ASSERT_EQ(schemas.size(), 3u);
  EXPECT_THAT(schemas[1]->field_names(), ElementsAre("index", "url"));
  EXPECT_THAT(schemas[2]->field_names(), ElementsAre("index", "url"));
}

// The arguments in normal form: what compile sees.
Json InnerSteps(const Pipeline& pipeline) {
  const auto& step = *pipeline.Find("map_groups");
  return NormaliseArgs(*FindStep("map_groups"), step.args).ValueOrDie()["steps"];
}

TEST(GroupChain, IsWrittenAsStepsOfAFile) {
  RegisterComponents();
  const std::string text =
      "steps:\n  - range: 5\n  - map_groups:\n      by: id\n      steps:\n        - filter: id > 1\n"
      "          on_error: skip\n        - sort: {by: id, descending: true}\n        - with_columns: {b: id, "
      "a: id}\n"
      "        - with_row_index\n        - limit: 3\n  - write_csv: out\n";
  const Pipeline pipeline = ParsePipelineYaml(text, "p.yaml", {}).ValueOrDie();
  const Json steps = InnerSteps(pipeline);
  ASSERT_EQ(steps.size(), 5u);
  EXPECT_EQ(steps[0]["on_error"], "skip");
  EXPECT_EQ(steps[1]["args"]["descending"], Json::array({true}));
  EXPECT_EQ(steps[2]["args"]["columns"][0][0], "b") << "columns keep the order of the file";
  EXPECT_EQ(steps[3]["args"]["name"], "index");
  EXPECT_EQ(steps[4]["args"]["n"], 3);
  const std::string yaml = PipelineToYaml(pipeline);
  EXPECT_EQ(InnerSteps(ParsePipelineYaml(yaml, "p.yaml", {}).ValueOrDie()), steps) << yaml;
}

TEST(GroupChain, ErrorsInAFileNameTheirLine) {
  RegisterComponents();
  const auto error = [](const std::string& steps) {
    const std::string text =
        "steps:\n  - range: 5\n  - map_groups:\n      by: id\n      steps:" + steps + "\n";
    return ParsePipelineYaml(text, "p.yaml", {}).status().message();
  };
  const std::string item = "\n        - ";
  EXPECT_THAT(error(item + "distinct: id"),
              StartsWith("p.yaml:6:11: 'distinct' cannot stand inside map_groups"));
  EXPECT_THAT(error(item + "limt: 5"), HasSubstr("did you mean 'limit'"));
  EXPECT_THAT(error(item + "limit: five"), StartsWith("p.yaml:6:18: step 'limit', argument 'n'"));
  EXPECT_THAT(error(item + "{limit: 5, name: first}"), HasSubstr("has no 'name'"));
  EXPECT_THAT(error(item + "{limit: 5, input: range}"), HasSubstr("has no 'input'"));
  EXPECT_THAT(error(item + "[limit]"), HasSubstr("a step is written as"));
  EXPECT_THAT(error(" limit"), HasSubstr("must be a list"));
  EXPECT_THAT(error(" []"), HasSubstr("a list of steps"));
}

}  // namespace
}  // namespace partita
