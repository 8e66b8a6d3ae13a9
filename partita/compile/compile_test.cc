#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

TestPipeline Example() {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width >= 256"}})
      .Add("test_fetch")
      .Add("write_parquet", {{"path", "out"}});
  return test;
}

TEST(Compile, NeedsASink) {
  EXPECT_THAT(TestPipeline().Compiled(), IsUserError("has no steps", ""));
  EXPECT_THAT(TestPipeline().Parquet("rows").Compiled(), IsUserError("writes nothing", ""));
}

TEST(Compile, EachSinkHasAFolderOfItsOwn) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("write_parquet", {{"path", "./out/"}}, "a")
      .Add("write_csv", {{"path", "out"}}, "b");
  EXPECT_THAT(test.Compiled(), IsUserError("'a' and 'b' both write to 'out'", "b"));
  EXPECT_THAT(TestPipeline().Parquet("rows").Add("write_csv", {{"path", "in/rows/"}}).Compiled(),
              IsUserError("which 'write_csv' writes", "rows"));
}

TEST(Compile, HashDependsOnWhatIsComputedAlone) {
  const std::string hash = Example().MustCompile().Hash();
  TestPipeline same = Example();
  same.pipeline.options["memory"] = "1GiB";
  same.pipeline.steps[1].line = 12;
  EXPECT_EQ(same.MustCompile().Hash(), hash) << "run options and places in a file are no part of the plan";
  TestPipeline files = Example();
  files.snapshot.sources[0].files.push_back(TestFile("in/b.parquet", 10, 1));
  EXPECT_EQ(files.MustCompile().Hash(), hash) << "files are the snapshot's";
  TestPipeline other = Example();
  other.pipeline.steps[1].args["predicate"] = "width >= 257";
  EXPECT_NE(other.MustCompile().Hash(), hash);
  TestPipeline spelled = Example();
  spelled.pipeline.steps[1].args["predicate"] = "(  width >=256 )";
  EXPECT_EQ(spelled.MustCompile().Hash(), hash);
}

TEST(Compile, TheQuarantineIsBesideTheFirstFolderUnlessSaid) {
  EXPECT_EQ(Example().MustCompile().quarantine, "");
  TestPipeline test = Example();
  test.pipeline.steps[2].on_error = OnError::kQuarantine;
  EXPECT_EQ(test.MustCompile().quarantine, "out/_quarantine");
  EXPECT_EQ(test.MustCompile().stages[0].nodes[1].on_error, OnError::kQuarantine);
  test.pipeline.options["quarantine"] = "bad";
  EXPECT_EQ(test.MustCompile().quarantine, "bad");

  TestPipeline collected;
  collected.Parquet("rows").Add("test_fetch").OnErrors(OnError::kQuarantine).Add("collect");
  EXPECT_THAT(collected.Compiled(), IsUserError("quarantine", ""));
}

TEST(Compile, NormalisedArgumentsAreInThePlan) {
  const Plan plan = Example().MustCompile();
  EXPECT_EQ(plan.name, "pipeline");
  EXPECT_EQ(plan.stages[0].source.args["partition_bytes"], 128 << 20);
  EXPECT_EQ(plan.stages[0].source.args["rows_per_partition"], 1000);
  EXPECT_EQ(plan.stages[0].nodes[1].args["url"], "url");
  EXPECT_EQ(plan.sinks[0].args["compression"], "zstd");
}

TEST(Compile, VeryLongPipelinesCompile) {
  TestPipeline test;
  test.Parquet("rows");
  for (int i = 0; i < 3000; ++i) {
    PipelineStep step;
    step.op = "filter";
    step.name = "filter" + std::to_string(i);
    step.args["predicate"] = "width > " + std::to_string(i);
    step.inputs = {test.pipeline.steps.back().name};
    test.pipeline.steps.push_back(std::move(step));
  }
  test.Add("write_csv", {{"path", "out"}}, "out", {"filter2999"});
  EXPECT_EQ(test.MustCompile().stages[0].nodes.size(), 3000u);
}

TEST(LeastBudget, IsTheWidestWayThroughAStage) {
  const int64_t chain = LeastBudgetBytes(Example().MustCompile());
  TestPipeline longer;
  longer.Parquet("rows").Add("test_fetch").Add("test_resize").Add("write_parquet", {{"path", "out"}});
  EXPECT_GT(LeastBudgetBytes(longer.MustCompile()), chain);
  EXPECT_GE(chain, 8 << 20);
  TestPipeline branched = Example();
  branched.Add("filter", {{"predicate", "width > 500"}}, "wide", {"test_fetch"})
      .Add("write_csv", {{"path", "wide"}});
  EXPECT_GT(LeastBudgetBytes(branched.MustCompile()), chain) << "both sinks are open at once";
  TestPipeline quarantine = Example();
  quarantine.pipeline.steps[2].on_error = OnError::kQuarantine;
  EXPECT_GT(LeastBudgetBytes(quarantine.MustCompile()), chain);
}

TEST(Explain, ShowsWhatIsReadAndWhereItGoes) {
  TestPipeline test = Example();
  test.pipeline.steps[2].on_error = OnError::kQuarantine;
  test.Add("select", {{"columns", {{"u", "url"}, {"area", "width * height"}}}}, "areas", {"filter"})
      .Add("limit", {{"n", 5}})
      .Add("write_csv", {{"path", "few"}});
  const Plan plan = test.MustCompile();
  auto text = Explain(plan, test.snapshot);
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* part :
       {"pipeline pipeline", "least memory", "quarantine out/_quarantine",
        "stage 0: 1 partition of at most 1,000 rows", "[volatile]", "rows (read_parquet) path=in/rows",
        "columns (4 of 4): url, caption, width, height", "skips by: width >= 256", "filter width >= 256",
        "test_fetch  [on_error: quarantine]", "-> write_parquet path=out", "area = width * height",
        "-> exchange 0 (gather for limit), 5 rows in all", "stage 1: 1 partition", "read exchange 0",
        "-> write_csv path=few"}) {
    EXPECT_NE(text->find(part), std::string::npos) << "no \"" << part << "\" in\n" << *text;
  }
  EXPECT_EQ(*text, *Explain(plan, test.snapshot));
}

}  // namespace
}  // namespace partita
