#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

TEST(Stages, AChainIsOneStage) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width >= 256"}})
      .Add("select", {{"columns", {"url", "width"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 1u);
  EXPECT_EQ(Shape(plan, 0),
            "scan rows(url,width) | -1:filter(url,width) | 0:project(url,width) > sink 0.0<1");
  EXPECT_EQ(plan.stages[0].nodes[1].step, "select");
  EXPECT_EQ(plan.sinks[0].format, "parquet");
}

TEST(Stages, SinksShareTheirCommonPrefix) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("test_fetch")
      .Add("write_parquet", {{"path", "all"}}, "all")
      .Add("filter", {{"predicate", "width > 3"}}, "wide", {"test_fetch"})
      .Add("write_webdataset", {{"path", "wide"}}, "shards");
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 1u);
  EXPECT_EQ(Shape(plan, 0),
            "scan rows(url,caption,width,height) | -1:test_fetch(url,caption,width,height,image,status) | "
            "0:filter(url,caption,width,height,image,status) > sink 0.0<0 > sink 1.0<1");
  EXPECT_TRUE(plan.stages[0].is_volatile);
  EXPECT_EQ(plan.stages[0].nodes[0].version, "7");
}

TEST(Stages, AUnionIsSeveralInputsInOrder) {
  TestPipeline test;
  test.Parquet("a")
      .Parquet("b")
      .Add("union", Json::object(), "both", {"b", "a"})
      .Add("filter", {{"predicate", "width > 3"}})
      .Add("select", {{"columns", {"url"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(Shape(plan, 0), "scan a(url,width) | -1:filter(url,width) | 0:project(url) > sink 0.1<1");
  EXPECT_EQ(Shape(plan, 1), "scan b(url,width) | -1:filter(url,width) | 0:project(url) > sink 0.0<1");
  EXPECT_EQ(plan.sinks[0].inputs, 2);
}

TEST(Stages, ADiamondReadsItsSourceOnce) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width > 3"}}, "wide", {"rows"})
      .Add("filter", {{"predicate", "height > 3"}}, "high", {"rows"})
      .Add("union", Json::object(), "both", {"wide", "high"})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 1u);
  EXPECT_EQ(Shape(plan, 0),
            "scan rows(url,caption,width,height) | -1:filter(url,caption,width,height) | "
            "-1:filter(url,caption,width,height) > sink 0.0<0 > sink 0.1<1");
}

TEST(Stages, AUnionOfOneStepWithItselfDoublesItsRows) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("union", Json::object(), "twice", {"rows", "rows"})
      .Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Shape(test.MustCompile(), 0), "scan rows(url,caption,width,height) > sink 0.0<-1 > sink 0.1<-1");
}

TEST(Stages, DoublingUnionsAreBounded) {
  TestPipeline test;
  test.Parquet("u0");
  for (int i = 1; i <= 40; ++i) {
    const std::string before = "u" + std::to_string(i - 1);
    test.Add("union", Json::object(), "u" + std::to_string(i), {before, before});
  }
  test.Add("write_csv", {{"path", "out"}});
  EXPECT_THAT(test.Compiled(), IsUserError("union has more than", "u14"));
}

TEST(Stages, ALimitGathersInAnExchange) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width > 3"}})
      .Add("limit", {{"n", 5}})
      .Add("select", {{"columns", {"url"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(Shape(plan, 0),
            "scan rows(url,width) | -1:filter(url,width) | 0:project(url) > exchange 0.0<1 limit 5");
  EXPECT_EQ(Shape(plan, 1), "exchange 0(url) | -1:project(url) > sink 0.0<0");
  EXPECT_EQ(plan.stages[0].nodes[1].step, "limit")
      << "the projection in front of the exchange is the limit's";
  ASSERT_EQ(plan.exchanges.size(), 1u);
  EXPECT_EQ(plan.exchanges[0].kind, PlanExchange::Kind::kGather);
  EXPECT_EQ(plan.exchanges[0].limit, 5);
  EXPECT_EQ(plan.exchanges[0].step, "limit");
}

TEST(Stages, ALimitOfAUnionHasSeveralInputs) {
  TestPipeline test;
  test.Parquet("a").Parquet("b").Add("union", Json::object(), "both", {"a", "b"}).Add("limit", {{"n", 5}});
  test.Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 3u);
  EXPECT_EQ(plan.exchanges[0].inputs, 2);
  EXPECT_EQ(plan.stages[1].outputs[0].input_index, 1);
}

TEST(Stages, CollectCutsByItself) {
  TestPipeline test;
  test.Parquet("rows").Add("limit", {{"n", 7}}, "seven").Add("limit", {{"n", 5}}, "five").Add("collect");
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 1u);
  EXPECT_EQ(Shape(plan, 0), "scan rows(url,caption,width,height) > sink 0.0<-1 limit 5");
  EXPECT_EQ(plan.sinks[0].limit, 5);
  EXPECT_EQ(plan.sinks[0].format, "");
  EXPECT_TRUE(plan.exchanges.empty());

  TestPipeline own;
  own.Parquet("rows").Add("collect", {{"limit", 3}});
  EXPECT_EQ(own.MustCompile().sinks[0].limit, 3);
  EXPECT_EQ(own.MustCompile().stages[0].outputs[0].limit, 3);
}

TEST(Stages, ALimitWithSeveralUsersIsCutOnce) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("limit", {{"n", 5}})
      .Add("write_parquet", {{"path", "a"}}, "a", {"limit"})
      .Add("write_csv", {{"path", "b"}}, "b", {"limit"});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(plan.exchanges.size(), 1u);
  EXPECT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(plan.stages[1].outputs.size(), 2u);
}

TEST(Stages, ExactFilesGoThroughARebalance) {
  TestPipeline test;
  test.Parquet("rows").Add("write_webdataset", {{"path", "out"}, {"exact", true}, {"rows_per_shard", 100}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(plan.exchanges[0].kind, PlanExchange::Kind::kRebalance);
  EXPECT_EQ(plan.exchanges[0].rows_per_partition, 100);
  EXPECT_EQ(plan.exchanges[0].limit, -1);
  EXPECT_EQ(Shape(plan, 1), "exchange 0(url,caption,width,height) > sink 0.0<-1");
  EXPECT_THAT(
      TestPipeline().Parquet("rows").Add("write_parquet", {{"path", "out"}, {"exact", true}}).Compiled(),
      IsUserError("how many rows a file has", "write_parquet"));
}

TEST(Stages, ALimitedExactSinkNeedsOneExchange) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("limit", {{"n", 250}})
      .Add("write_parquet", {{"path", "out"}, {"exact", true}, {"rows_per_file", 100}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 1u);
  EXPECT_EQ(plan.exchanges[0].rows_per_partition, 100);
  EXPECT_EQ(plan.exchanges[0].limit, 250);
}

TEST(Stages, StepsThatReachNoSinkAreDropped) {
  TestPipeline test;
  test.Parquet("rows")
      .Parquet("unused")
      .Add("filter", {{"predicate", "width > 3"}}, "dead", {"rows"})
      .Add("write_parquet", {{"path", "out"}}, "out", {"rows"});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 1u);
  EXPECT_TRUE(plan.stages[0].nodes.empty());
}

}  // namespace
}  // namespace partita
