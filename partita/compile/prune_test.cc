#include "partita/compile/test_pipeline.h"
#include "partita/expression/expression.h"

namespace partita {
namespace {

std::vector<std::string> Read(const Plan& plan, int stage = 0) {
  return plan.stages.at(stage).source.schema->field_names();
}

std::string Filter(const Plan& plan, int stage = 0) {
  const Json& filter = plan.stages.at(stage).source.filter;
  return filter.is_null() ? "" : Expression::FromJson(filter)->ToString();
}

using Names = std::vector<std::string>;

TEST(PruneColumns, ReadsWhatIsNeededInTheSourcesOrder) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("with_columns", {{"columns", {{"area", "width * height"}, {"unused", "caption || url"}}}})
      .Add("filter", {{"predicate", "area > 9"}})
      .Add("select", {{"columns", {"width", "url"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Read(plan), (Names{"url", "width", "height"}));
  EXPECT_EQ(plan.stages[0].nodes[0].output->field_names(), (Names{"url", "width", "area"}))
      << "what is computed for nobody is not computed";
  EXPECT_EQ(plan.sinks[0].schema->field_names(), (Names{"width", "url"}));
}

TEST(PruneColumns, CountingReadsNoColumn) {
  TestPipeline test;
  test.Parquet("rows").Add("drop", {{"columns", {"url", "caption", "width", "height"}}}).Add("collect");
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Read(plan), Names{});
  EXPECT_EQ(plan.sinks[0].schema->num_fields(), 0);
}

TEST(PruneColumns, ComponentsGetWhatTheyReadAndWhatPassesThrough) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("test_fetch")
      .Add("select", {{"columns", {"image", "caption"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Read(plan), (Names{"url", "caption"}));
  EXPECT_EQ(plan.stages[0].nodes[0].output->field_names(), (Names{"url", "caption", "image", "status"}));
}

TEST(PruneColumns, AColumnThatIsOverwrittenIsNotReadAndOrderStays) {
  TestPipeline test;
  test.Parquet("rows").Add("test_fetch").Add("test_resize").Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Read(plan), (Names{"url", "caption", "height"})) << "test_resize makes width anew";
  EXPECT_EQ(plan.sinks[0].schema->field_names(),
            (Names{"url", "caption", "height", "status", "image", "width"}));
}

TEST(PruneColumns, AStepThatReadsAllGetsAll) {
  TestPipeline test;
  test.Parquet("rows").Add("test_digest").Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Read(plan), (Names{"url", "caption", "width", "height"}));
  EXPECT_EQ(plan.sinks[0].schema->field_names(), Names{"digest"});
}

TEST(PruneColumns, ASharedNodeHasWhatAllReadersNeed) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "height > 1"}})
      .Add("select", {{"columns", {"url"}}}, "urls", {"filter"})
      .Add("write_parquet", {{"path", "a"}}, "a")
      .Add("select", {{"columns", {"width"}}}, "widths", {"filter"})
      .Add("write_parquet", {{"path", "b"}}, "b");
  EXPECT_EQ(Read(test.MustCompile()), (Names{"url", "width", "height"}));
}

TEST(PruneColumns, OnlyNeededColumnsAreExchanged) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "height > 1"}})
      .Add("limit", {{"n", 5}})
      .Add("select", {{"columns", {"url"}}}, "urls")
      .Add("write_parquet", {{"path", "a"}}, "a")
      .Add("write_csv", {{"path", "b"}}, "b", {"filter"});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(plan.exchanges[0].schema->field_names(), Names{"url"});
  EXPECT_EQ(Read(plan), (Names{"url", "caption", "width", "height"})) << "the other sink takes all";
}

TEST(PruneColumns, AUnionsInputsAreMadeAlike) {
  TestPipeline test;
  test.Parquet("a").Parquet("b").Add("union", Json::object(), "both", {"a", "b"});
  test.Add("write_parquet", {{"path", "out"}});
  auto& schema = test.snapshot.sources[0].schema;
  schema = *schema->SetField(2, schema->field(2)->WithNullable(false));
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages[0].nodes.size(), 1u);
  EXPECT_TRUE(plan.stages[0].nodes[0].output->Equals(*plan.sinks[0].schema));
  EXPECT_TRUE(plan.stages[1].nodes.empty());
}

TEST(PushFilters, ConjunctsReachTheSourceThroughProjections) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("rename", {{"columns", {{"width", "w"}}}})
      .Add("filter", {{"predicate", "w >= 256 and height < 10"}})
      .Add("filter", {{"predicate", "caption is not null"}}, "captioned")
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Filter(plan),
            Expression::Parse("width >= 256 and height < 10 and caption is not null")->ToString());
  EXPECT_EQ(plan.stages[0].nodes.size(), 3u) << "the hint replaces no filter";
}

TEST(PushFilters, StopAtComponents) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width > 3"}}, "before")
      .Add("test_fetch")
      .Add("filter", {{"predicate", "height > 3"}}, "after")
      .Add("write_parquet", {{"path", "out"}});
  EXPECT_EQ(Filter(test.MustCompile()), Expression::Parse("width > 3")->ToString());
}

TEST(PushFilters, EveryReaderOfTheSourceCounts) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width > 3"}}, "wide", {"rows"})
      .Add("write_parquet", {{"path", "a"}}, "a")
      .Add("filter", {{"predicate", "height > 3"}}, "high", {"rows"})
      .Add("write_parquet", {{"path", "b"}}, "b");
  EXPECT_EQ(Filter(test.MustCompile()), Expression::Parse("width > 3 or height > 3")->ToString());
  test.Add("write_csv", {{"path", "c"}}, "c", {"rows"});
  EXPECT_EQ(Filter(test.MustCompile()), "");
}

TEST(PushFilters, RowsThatAStepWouldQuarantineAreNotSkipped) {
  const auto filter_behind = [](OnError policy, const char* expression) {
    TestPipeline test;
    test.Parquet("rows").Add("with_columns", {{"columns", {{"x", expression}}}}).OnErrors(policy);
    test.Add("filter", {{"predicate", "width > 3"}}).Add("write_parquet", {{"path", "out"}});
    return Filter(test.MustCompile());
  };
  EXPECT_NE(filter_behind(OnError::kFail, "height / width"), "");
  EXPECT_EQ(filter_behind(OnError::kQuarantine, "height / width"), "");
  EXPECT_EQ(filter_behind(OnError::kSkip, "height / width"), "");
  EXPECT_NE(filter_behind(OnError::kSkip, "height > width"), "") << "a comparison never fails";
}

TEST(PushFilters, GrowingExpressionsAreGivenUp) {
  TestPipeline test;
  test.Parquet("rows");
  for (int i = 0; i < 60; ++i) {
    test.Add("with_columns", {{"columns", {{"width", "width + width"}}}}, "double" + std::to_string(i));
  }
  test.Add("filter", {{"predicate", "width > 3 and height > 2"}}).Add("write_parquet", {{"path", "out"}});
  EXPECT_EQ(Filter(test.MustCompile()), Expression::Parse("height > 2")->ToString());
}

TEST(PushLimits, OnlyWhereEveryRowReachesTheLimit) {
  const auto limit_of = [](TestPipeline test) { return test.MustCompile().stages[0].source.limit; };
  EXPECT_EQ(limit_of(TestPipeline().Parquet("rows").Add("limit", {{"n", 5}}).Add("collect")), 5);
  EXPECT_EQ(limit_of(TestPipeline()
                         .Parquet("rows")
                         .Add("select", {{"columns", {"url"}}})
                         .Add("limit", {{"n", 5}})
                         .Add("write_csv", {{"path", "o"}})),
            5);
  EXPECT_EQ(limit_of(TestPipeline()
                         .Parquet("rows")
                         .Add("filter", {{"predicate", "width > 1"}})
                         .Add("limit", {{"n", 5}})
                         .Add("collect")),
            -1);
  EXPECT_EQ(
      limit_of(TestPipeline().Parquet("rows").Add("test_fetch").Add("limit", {{"n", 5}}).Add("collect")), -1);
  EXPECT_EQ(limit_of(TestPipeline()
                         .Parquet("rows")
                         .Add("write_csv", {{"path", "o"}})
                         .Add("limit", {{"n", 5}}, "five", {"rows"})
                         .Add("collect")),
            -1)
      << "another output takes all rows";
  EXPECT_EQ(limit_of(TestPipeline().Parquet("rows").Add("limit", {{"n", 0}}).Add("collect")), 0);
}

}  // namespace
}  // namespace partita
