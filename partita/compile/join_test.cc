// join from pipeline to plan.
#include "partita/base/units.h"
#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

using Kind = PlanExchange::Kind;
using Names = std::vector<std::string>;
using ::testing::HasSubstr;

// Two sources with columns url, caption, width and height.
TestPipeline Joined(Json args, Names inputs = {"a", "b"}) {
  if (!args.contains("strategy")) args["strategy"] = "hash";
  TestPipeline test;
  test.Parquet("a").Parquet("b").Add("join", std::move(args), "joined", std::move(inputs));
  return test;
}

Names ColumnsOf(const PlanExchange& exchange) { return exchange.schema->field_names(); }

TEST(JoinStep, IsTwoHashExchangesAndOneStageThatReadsBoth) {
  const Plan plan =
      Joined({{"on", "url"}, {"how", "left"}}).Add("write_parquet", {{"path", "out"}}).MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 2u);
  ASSERT_EQ(plan.stages.size(), 3u);
  for (const auto& exchange : plan.exchanges) {
    EXPECT_EQ(exchange.kind, Kind::kHash);
    EXPECT_EQ(exchange.key_names(), Names{"url"});
    EXPECT_EQ(exchange.partitions, -1);
    EXPECT_EQ(exchange.partition_bytes, 128 * kMiB);
    EXPECT_EQ(exchange.step, "joined");
  }
  EXPECT_EQ(Shape(plan, 0), "scan a(url,caption,width,height) > exchange 0.0<-1");
  EXPECT_EQ(Shape(plan, 1), "scan b(url,caption,width,height) > exchange 1.0<-1");
  EXPECT_EQ(Shape(plan, 2),
            "exchange 0(url,caption,width,height,caption_right,width_right,height_right) > sink 0.0<-1");
  EXPECT_EQ(plan.stages[2].source.right_exchange, 1);
  EXPECT_EQ(plan.stages[2].source.reduce["how"], "left");
  const Plan counted =
      Joined({{"on", "url"}, {"partitions", 7}}).Add("write_parquet", {{"path", "out"}}).MustCompile();
  for (const auto& exchange : counted.exchanges) EXPECT_EQ(exchange.partitions, 7);
}

TEST(JoinStep, TheOrderOfInputsSaysWhichIsLeft) {
  const Plan plan = Joined({{"on", "url"}, {"how", "semi"}}, {"b", "a"})
                        .Add("write_parquet", {{"path", "out"}})
                        .MustCompile();
  EXPECT_EQ(Shape(plan, 1), "scan b(url,caption,width,height) > exchange 0.0<-1");
  EXPECT_EQ(Shape(plan, 0), "scan a(url) > exchange 1.0<-1") << "of the right only keys are looked at";
}

TEST(JoinStep, ColumnsNobodyNeedsAreNotExchanged) {
  const Plan plan = Joined({{"left_on", "caption"}, {"right_on", "url"}})
                        .Add("select", {{"columns", {"width_right", "height"}}})
                        .Add("write_parquet", {{"path", "out"}})
                        .MustCompile();
  EXPECT_EQ(Shape(plan, 0), "scan a(caption,height) > exchange 0.0<-1");
  EXPECT_EQ(Shape(plan, 1), "scan b(url,width) > exchange 1.0<-1");
  EXPECT_EQ(Shape(plan, 2), "exchange 0(height,width_right) | -1:project(width_right,height) > sink 0.0<0");
}

TEST(JoinStep, ACountNeedsOnlyTheKeys) {
  const Plan plan =
      Joined({{"on", "url"}}).Add("select", {{"columns", Json::array()}}).Add("collect").MustCompile();
  EXPECT_EQ(ColumnsOf(plan.exchanges[0]), Names{"url"});
  EXPECT_EQ(ColumnsOf(plan.exchanges[1]), Names{"url"});
  EXPECT_EQ(plan.stages[2].source.schema->num_fields(), 0);
}

TEST(JoinStep, FiltersStayOnTheirSide) {
  TestPipeline test;
  test.Parquet("a").Add("filter", {{"predicate", "width > 3"}}, "wide").Parquet("b");
  test.Add("join", {{"on", "url"}, {"how", "left"}, {"strategy", "hash"}}, "joined", {"wide", "b"})
      .Add("filter", {{"predicate", "width_right > 5 and width < 9"}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(plan.stages[0].source.filter["call"], "greater") << "one before the join is a hint as ever";
  EXPECT_TRUE(plan.stages[1].source.filter.is_null());
  EXPECT_TRUE(plan.stages[2].source.filter.is_null());
  EXPECT_EQ(plan.stages[2].nodes[0].op, "filter");
}

TEST(JoinStep, LimitsBeforeItCutTheirSide) {
  TestPipeline test;
  test.Parquet("a").Add("limit", {{"n", 5}}, "few").Parquet("b");
  test.Add("join", {{"on", "url"}, {"strategy", "hash"}}, "joined", {"few", "b"})
      .Add("limit", {{"n", 3}})
      .Add("collect");
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 3u);
  EXPECT_EQ(plan.exchanges[0].kind, Kind::kGather);
  EXPECT_EQ(plan.exchanges[0].limit, 5);
  EXPECT_EQ(plan.exchanges[1].limit, -1);
  EXPECT_EQ(plan.exchanges[2].limit, -1);
  EXPECT_EQ(plan.sinks[0].limit, 3);
}

TEST(JoinStep, AnInputMayBeAUnionOrTheOtherOne) {
  TestPipeline united;
  united.Parquet("a").Parquet("b").Parquet("c").Add("union", Json::object(), "ab", {"a", "b"});
  united.Add("join", {{"on", "url"}, {"strategy", "hash"}}, "joined", {"c", "ab"})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = united.MustCompile();
  EXPECT_EQ(plan.exchanges[0].inputs, 1);
  EXPECT_EQ(plan.exchanges[1].inputs, 2);

  TestPipeline self;
  self.Parquet("a").Add("limit", {{"n", 5}}, "few");
  self.Add("join", {{"left_on", "caption"}, {"right_on", "url"}}, "joined", {"few", "few"})
      .Add("write_parquet", {{"path", "out"}});
  const Plan twice = self.MustCompile();
  EXPECT_EQ(twice.stages.size(), 3u) << "it is read once, and cut once";
  EXPECT_EQ(twice.stages[1].outputs.size(), 2u);
}

TEST(JoinStep, JoinsOfJoinsAndOneForTwoSinks) {
  TestPipeline test = Joined({{"on", "url"}});
  test.Parquet("c").Add("join", {{"on", "url"}, {"how", "anti"}, {"strategy", "hash"}}, "rest",
                        {"joined", "c"});
  test.Add("write_parquet", {{"path", "out"}}).Add("write_csv", {{"path", "too"}}, "", {"joined"});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(plan.exchanges.size(), 4u);
  EXPECT_EQ(plan.stages.size(), 5u);
  EXPECT_EQ(ColumnsOf(plan.exchanges[3]), Names{"url"});
}

TEST(JoinStep, NullabilityIsThatOfTheResult) {
  TestPipeline test = Joined({{"on", "url"}, {"how", "full"}});
  test.Parquet("c").Add("select", {{"columns", {"url", "caption", "width", "height"}}}, "plain", {"joined"});
  test.Add("union", Json::object(), "all", {"c", "plain"}).Add("write_parquet", {{"path", "out"}});
  test.MustCompile();
}

TEST(JoinStep, ErrorsNameTheStep) {
  EXPECT_THAT(Joined({{"on", "nope"}}).Add("collect").Compiled(), IsUserError("the left input: ", "joined"));
  EXPECT_THAT(Joined({{"left_on", "url"}, {"right_on", "width"}}).At(7, 5).Add("collect").Compiled(),
              IsUserError("line 7, column 5", "joined"));
  EXPECT_THAT(Joined({{"on", "url"}}, {"a"}).Add("collect").Compiled(),
              IsUserError("takes two inputs, it was given 1", "joined"));
  EXPECT_THAT(Joined({{"on", "url"}}, {"a", "b", "a"}).Add("collect").Compiled(),
              IsUserError("takes two inputs, it was given 3", "joined"));
  EXPECT_THAT(Joined({{"on", "url"}}).OnErrors(OnError::kSkip).Add("collect").Compiled(),
              IsUserError("has no meaning at 'join'", "joined"));
}

TEST(JoinStep, ExplainTellsIt) {
  TestPipeline test =
      Joined({{"left_on", {"caption", "height"}}, {"right_on", {"url", "height"}}, {"how", "left"}});
  test.Add("select", {{"columns", {"url", "width_right"}}}).Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  auto text = Explain(plan, test.snapshot);
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* line :
       {"-> exchange 0 (hash by caption, height for joined)",
        "-> exchange 1 (hash by url, height for joined)", "stage 2: partitions of about 128 MiB",
        "read exchange 0 (hash by caption, height for joined)",
        "read exchange 1 (hash by url, height for joined)",
        "\n  left join on caption = url, height; columns: url, width_right\n"}) {
    EXPECT_THAT(*text, HasSubstr(line));
  }
}

TEST(BroadcastJoin, ASmallRightSideIsLookedUpInTheStageOfTheLeft) {
  const Plan plan = Joined({{"on", "url"}, {"how", "left"}, {"strategy", "auto"}})
                        .Add("select", {{"columns", {"url", "width_right"}}})
                        .Add("write_parquet", {{"path", "out"}})
                        .MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 1u);
  EXPECT_EQ(plan.exchanges[0].kind, Kind::kGather);
  EXPECT_EQ(Shape(plan, 0), "scan b(url,width) > exchange 0.0<-1") << "who makes the table comes first";
  EXPECT_EQ(Shape(plan, 1),
            "scan a(url) | -1:join(url,width_right) | 0:project(url,width_right) > sink 0.0<1");
  EXPECT_EQ(plan.stages[1].nodes[0].table, 0);
  EXPECT_TRUE(plan.stages[1].Reads(0));
  auto again = Plan::FromJson(plan.ToJson());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->Hash(), plan.Hash());
}

TEST(BroadcastJoin, IsNotTakenWhereItCannotGiveTheRows) {
  for (Json args : {Json{{"on", "url"}, {"how", "full"}}, Json{{"on", "url"}, {"how", "right"}},
                    Json{{"on", "url"}, {"partitions", 3}}}) {
    args["strategy"] = "auto";
    const Plan plan = Joined(args).Add("write_csv", {{"path", "out"}}).MustCompile();
    EXPECT_EQ(plan.exchanges.size(), 2u) << args;
  }
}

TEST(BroadcastJoin, ARightSideOfUnknownSizeIsTakenOnlyWhenAsked) {
  const auto plan_of = [](const char* strategy) {
    TestPipeline test;
    test.Parquet("a").Parquet("b").Parquet("c");
    test.Add("join", {{"on", "url"}, {"how", "semi"}, {"strategy", "hash"}}, "bc", {"b", "c"});
    test.Add("join", {{"on", "url"}, {"strategy", strategy}}, "joined", {"a", "bc"});
    return test.Add("write_csv", {{"path", "out"}}).MustCompile();
  };
  EXPECT_EQ(plan_of("auto").exchanges.size(), 4u);
  const Plan asked = plan_of("broadcast");
  EXPECT_EQ(asked.exchanges.size(), 3u);
  EXPECT_EQ(asked.stages.back().nodes[0].table, 2) << "the stage that scans a waits for the table";
}

TEST(BroadcastJoin, TwoSidesThatNeedEachOtherAreNotOneStage) {
  const auto plan_of = [](const char* strategy) {
    TestPipeline test;
    test.Parquet("a").Add("filter", {{"predicate", "width > 3"}}, "wide");
    test.Add("join", {{"on", "url"}, {"strategy", strategy}}, "joined", {"a", "wide"});
    return test.Add("write_csv", {{"path", "out"}}).MustCompile();
  };
  EXPECT_EQ(plan_of("auto").exchanges[0].kind, Kind::kHash);
  const Plan plan = plan_of("broadcast");
  ASSERT_EQ(plan.stages.size(), 2u);
  EXPECT_EQ(plan.exchanges[0].kind, Kind::kRebalance) << "the left rows in their order";
  EXPECT_EQ(plan.stages[0].outputs.size(), 2u) << "the source is read once";
  EXPECT_EQ(plan.stages[1].source.exchange, 0);
  EXPECT_EQ(plan.stages[1].nodes[0].table, 1);

  TestPipeline crossed;  // a needs b, b needs a
  crossed.Parquet("a").Parquet("b");
  crossed.Add("join", {{"on", "url"}}, "ab", {"a", "b"}).Add("write_csv", {{"path", "out"}});
  crossed.Add("join", {{"on", "url"}}, "ba", {"b", "a"}).Add("write_csv", {{"path", "too"}}, "second");
  EXPECT_EQ(crossed.MustCompile().exchanges.size(), 3u) << "one table, two sides placed by key";
}

TEST(BroadcastJoin, KeysOfTwoTypesAreCastFirst) {
  TestPipeline test;
  test.Parquet("a").Parquet("b").Add("cast", {{"columns", {{"width", "int8"}}}}, "narrow");
  test.Add("join", {{"on", "width"}}, "joined", {"narrow", "a"}).Add("write_csv", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  const auto& stage = plan.stages.back();
  EXPECT_EQ(stage.nodes.back().op, "join");
  EXPECT_EQ(stage.nodes[static_cast<size_t>(stage.nodes.back().input)].op, "project");
  EXPECT_EQ(stage.nodes.back().output->GetFieldByName("width")->type()->ToString(), "int64");
}

TEST(BroadcastJoin, ExplainTellsIt) {
  TestPipeline test = Joined({{"left_on", "caption"}, {"right_on", "url"}, {"strategy", "broadcast"}});
  const Plan plan = test.Add("write_parquet", {{"path", "out"}}).MustCompile();
  auto text = Explain(plan, test.snapshot);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_THAT(*text,
              HasSubstr("joined: inner join on caption = url, broadcast: looks up exchange 0 in memory"));
}

TEST(AsofJoin, OfALargeOrUnknownRightSideIsPlacedByKey) {
  const auto plan_of = [](Json args) {
    TestPipeline test;
    test.Parquet("a").Parquet("b").Parquet("c");
    test.Add("join", {{"on", "url"}, {"how", "semi"}, {"strategy", "hash"}}, "bc", {"b", "c"});
    args["on"] = "width";
    args["by"] = "url";
    test.Add("join_asof", std::move(args), "near", {"a", "bc"});
    test.Add("select", {{"columns", {"caption", "height_right"}}});
    return test.Add("write_csv", {{"path", "out"}}).MustCompile();
  };
  const Plan plan = plan_of(Json::object());
  const auto& source = plan.stages.back().source;
  ASSERT_GE(source.right_exchange, 0);
  EXPECT_EQ(source.reduce["asof"], (Json{{"left", "width"}, {"right", "width"}, {"direction", "backward"}}));
  EXPECT_EQ(ColumnsOf(plan.exchanges[source.exchange]), (Names{"url", "caption", "width"}));
  EXPECT_EQ(ColumnsOf(plan.exchanges[source.right_exchange]), (Names{"url", "width", "height"}))
      << "what is ordered by is exchanged, though nobody reads it behind";
  auto again = Plan::FromJson(plan.ToJson());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->Hash(), plan.Hash());
  EXPECT_EQ(plan_of({{"strategy", "broadcast"}}).stages.back().source.right_exchange, -1);
  EXPECT_EQ(plan_of({{"partitions", 5}}).exchanges[source.exchange].partitions, 5);
}

TEST(AsofJoin, OfASmallRightSideIsBroadcastUnlessPartitionsAreGiven) {
  const auto right_of = [](Json args) {
    TestPipeline test;
    args["on"] = "width";
    test.Parquet("a").Parquet("b").Add("join_asof", std::move(args), "near", {"a", "b"});
    const Plan plan = test.Add("write_csv", {{"path", "out"}}).MustCompile();
    return plan.stages.back().source.right_exchange;
  };
  EXPECT_EQ(right_of(Json::object()), -1);
  EXPECT_GE(right_of({{"partitions", 2}}), 0);
  EXPECT_GE(right_of({{"strategy", "hash"}}), 0);
}

TEST(LeastBudget, AJoinReadsTwoSides) {
  TestPipeline distinct;
  distinct.Parquet("rows").Add("distinct", {{"by", "url"}}).Add("write_csv", {{"path", "out"}});
  EXPECT_GT(LeastBudgetBytes(Joined({{"on", "url"}}).Add("write_csv", {{"path", "out"}}).MustCompile()),
            LeastBudgetBytes(distinct.MustCompile()));
}

}  // namespace
}  // namespace partita
