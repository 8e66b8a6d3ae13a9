// sort, random_shuffle, repartition, distinct and group_by from pipeline to plan.
#include "partita/compile/exchange_steps.h"

#include "partita/base/units.h"
#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

using Kind = PlanExchange::Kind;
using Names = std::vector<std::string>;
using ::testing::HasSubstr;

// The rows go through `op`, then to a file.
Plan Through(const std::string& op, const Json& args) {
  TestPipeline test;
  test.Parquet("rows").Add(op, args).Add("write_parquet", {{"path", "out"}});
  return test.MustCompile();
}

const PlanExchange& Only(const Plan& plan) {
  EXPECT_EQ(plan.exchanges.size(), 1u);
  EXPECT_EQ(plan.stages.size(), 2u);
  return plan.exchanges.at(0);
}

TEST(ExchangeSteps, SortHasItsKeysAndIsCutByBytes) {
  const Plan plan =
      Through("sort", {{"by", {"width", "url"}}, {"descending", {true, false}}, {"nulls", "first"}});
  const PlanExchange& exchange = Only(plan);
  EXPECT_EQ(exchange.kind, Kind::kSort);
  EXPECT_EQ(exchange.keys, (std::vector<PlanOrderKey>{{"width", true, true}, {"url", false, true}}));
  EXPECT_EQ(exchange.partitions, -1);
  EXPECT_EQ(exchange.partition_bytes, 128 * kMiB);
  EXPECT_EQ(exchange.step, "sort");
  EXPECT_TRUE(plan.stages[1].source.reduce.is_null());
  EXPECT_EQ(Only(Through("sort", {{"by", {"width", "url"}}, {"descending", true}})).keys,
            (std::vector<PlanOrderKey>{{"width", true, false}, {"url", true, false}}))
      << "one direction is that of all keys";
  EXPECT_EQ(Only(Through("sort", {{"by", "url"}, {"partitions", 9}})).partitions, 9);
}

TEST(ExchangeSteps, RepartitionIsOneOfThree) {
  const PlanExchange even = Only(Through("repartition", {{"n", 4}}));
  EXPECT_EQ(even.kind, Kind::kRebalance);
  EXPECT_EQ(even.partitions, 4);
  EXPECT_EQ(even.rows_per_partition, -1);
  EXPECT_EQ(Only(Through("repartition", {{"rows", 100}})).rows_per_partition, 100);
  const PlanExchange hash = Only(Through("repartition", {{"n", 4}, {"by", "url"}}));
  EXPECT_EQ(hash.kind, Kind::kHash);
  EXPECT_EQ(hash.key_names(), Names{"url"});
  EXPECT_EQ(hash.partitions, 4);
  const PlanExchange random = Only(Through("repartition", {{"n", 4}, {"shuffle", true}}));
  EXPECT_EQ(random.kind, Kind::kShuffle);
  EXPECT_EQ(Only(Through("random_shuffle", {{"seed", 7}})).seed, 7u);
}

TEST(ExchangeSteps, DistinctReducesWhatAHashPlaced) {
  const Plan plan = Through("distinct", {{"by", "url"}, {"keep", "last"}});
  EXPECT_EQ(Only(plan).kind, Kind::kHash);
  EXPECT_EQ(Only(plan).key_names(), Names{"url"});
  EXPECT_EQ(plan.stages[1].source.reduce, (Json{{"op", "distinct"}, {"keep", "last"}}));
  EXPECT_EQ(Only(Through("distinct", Json::object())).key_names(),
            (Names{"url", "caption", "width", "height"}));
}

TEST(ExchangeSteps, GroupByExchangesKeysAndInputsOfAggregates) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "caption is not null"}})
      .Add("group_by", {{"by", "url"}, {"aggregates", {{"n", "count()"}, {"w", "sum(width)"}}}})
      .Add("filter", {{"predicate", "n > 3"}}, "often")
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Shape(plan, 0),
            "scan rows(url,caption,width) | -1:filter(url,caption,width) | 0:project(url,width) > exchange "
            "0.0<1");
  EXPECT_EQ(Shape(plan, 1), "exchange 0(url,n,w) | -1:filter(url,n,w) > sink 0.0<0");
  EXPECT_EQ(plan.stages[1].source.reduce["aggregates"].size(), 2u);
  EXPECT_TRUE(plan.stages[1].source.filter.is_null()) << "a filter behind an exchange is no hint before it";
}

TEST(ExchangeSteps, AggregatesNobodyNeedsAreNotComputed) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("group_by", {{"by", "url"}, {"aggregates", {{"h", "max(height)"}, {"w", "sum(width)"}}}})
      .Add("select", {{"columns", {"h"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Shape(plan, 0), "scan rows(url,height) > exchange 0.0<-1");
  EXPECT_EQ(Shape(plan, 1), "exchange 0(url,h) | -1:project(h) > sink 0.0<0");
}

TEST(ExchangeSteps, KeysAreExchangedAlsoWhenNobodyNeedsThem) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("sort", {{"by", {"width", "height"}}})
      .Add("select", {{"columns", {"url"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Shape(plan, 0), "scan rows(url,width,height) > exchange 0.0<-1");
  EXPECT_EQ(Shape(plan, 1), "exchange 0(url,width,height) | -1:project(url) > sink 0.0<0");
}

TEST(ExchangeSteps, AShuffleExchangesOnlyWhatIsNeeded) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("random_shuffle")
      .Add("filter", {{"predicate", "width > 3"}})
      .Add("select", {{"columns", {"url"}}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Shape(plan, 0), "scan rows(url,width) > exchange 0.0<-1");
  EXPECT_TRUE(plan.stages[0].source.filter.is_null())
      << "rows before the exchange are all of them: the filter stands behind it";
}

TEST(ExchangeSteps, FiltersBeforeTheExchangeAreStillHints) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("filter", {{"predicate", "width > 3"}})
      .Add("sort", {{"by", "url"}})
      .Add("write_parquet", {{"path", "out"}});
  EXPECT_FALSE(test.MustCompile().stages[0].source.filter.is_null());
}

TEST(ExchangeSteps, ALimitBehindASortIsItsOwn) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("sort", {{"by", "width"}, {"partitions", 4}})
      .Add("limit", {{"n", 100}}, "hundred")
      .Add("limit", {{"n", 10}}, "ten")
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Only(plan).limit, 10);
  EXPECT_EQ(Only(plan).partitions, 1);
  EXPECT_EQ(Only(plan).partition_bytes, -1);
  EXPECT_EQ(plan.stages[0].outputs[0].limit, -1)
      << "the first rows of an input are not the first of the order";
  EXPECT_EQ(plan.stages[0].source.limit, -1);

  TestPipeline collected;
  collected.Parquet("rows").Add("sort", {{"by", "width"}}).Add("collect", {{"limit", 5}});
  EXPECT_EQ(Only(collected.MustCompile()).limit, 5);

  TestPipeline random;
  random.Parquet("rows").Add("random_shuffle").Add("limit", {{"n", 3}}).Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Only(random.MustCompile()).limit, 3);
}

TEST(ExchangeSteps, ALimitThatIsNotTheSortsAloneIsGathered) {
  TestPipeline shared;
  shared.Parquet("rows")
      .Add("sort", {{"by", "width"}})
      .Add("write_parquet", {{"path", "all"}}, "all")
      .Add("limit", {{"n", 10}}, "ten", {"sort"})
      .Add("write_parquet", {{"path", "ten"}}, "few");
  const Plan plan = shared.MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 2u);
  EXPECT_EQ(plan.exchanges[0].limit, -1);
  EXPECT_EQ(plan.exchanges[1].kind, Kind::kGather);
  EXPECT_EQ(plan.exchanges[1].limit, 10);

  TestPipeline large;
  large.Parquet("rows").Add("sort", {{"by", "width"}}).Add("limit", {{"n", 1'000'001}});
  large.Add("write_parquet", {{"path", "out"}});
  EXPECT_EQ(large.MustCompile().exchanges.size(), 2u);

  TestPipeline distinct;
  distinct.Parquet("rows").Add("distinct").Add("limit", {{"n", 5}}).Add("write_parquet", {{"path", "out"}});
  EXPECT_EQ(distinct.MustCompile().exchanges.size(), 2u);
}

TEST(ExchangeSteps, ALimitBeforeASortCutsWhatIsSorted) {
  TestPipeline test;
  test.Parquet("rows").Add("limit", {{"n", 10}}).Add("sort", {{"by", "width"}});
  test.Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.exchanges.size(), 2u);
  EXPECT_EQ(plan.exchanges[0].kind, Kind::kGather);
  EXPECT_EQ(plan.exchanges[0].limit, 10);
  EXPECT_EQ(plan.exchanges[1].limit, -1);

  TestPipeline even;
  even.Parquet("rows").Add("limit", {{"n", 10}}).Add("repartition", {{"n", 4}});
  even.Add("write_parquet", {{"path", "out"}});
  EXPECT_EQ(Only(even.MustCompile()).limit, 10) << "rows that keep their order need one exchange";
}

TEST(ExchangeSteps, AUnionIsSortedAsOne) {
  TestPipeline test;
  test.Parquet("a")
      .Parquet("b")
      .Add("union", Json::object(), "both", {"b", "a"})
      .Add("sort", {{"by", "width"}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  ASSERT_EQ(plan.stages.size(), 3u);
  EXPECT_EQ(plan.exchanges[0].inputs, 2);
  EXPECT_EQ(plan.stages[1].outputs[0].input_index, 0);
}

TEST(ExchangeSteps, ManyReadersOfASortSortOnce) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("sort", {{"by", "width"}})
      .Add("write_parquet", {{"path", "a"}}, "a", {"sort"})
      .Add("write_csv", {{"path", "b"}}, "b", {"sort"});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(Only(plan).kind, Kind::kSort);
  EXPECT_EQ(plan.stages[1].outputs.size(), 2u);
}

TEST(ExchangeSteps, SamplesTellTheirInputsApart) {
  TestPipeline test;
  test.Parquet("a").Parquet("b").Add("union", Json::object(), "both", {"a", "b"});
  test.Add("sample", {{"fraction", 0.1}, {"seed", 3}})
      .Add("sort", {{"by", "url"}}, "sorted")
      .Add("sample", {{"fraction", 0.5}}, "again")
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_EQ(plan.stages[0].nodes[0].args["input"], 0);
  EXPECT_EQ(plan.stages[1].nodes[0].args["input"], 1);
  EXPECT_EQ(plan.stages[2].nodes[0].args["input"], 0);
}

TEST(ExchangeSteps, WishesForSmallPartitionsEndAtAnExchange) {
  TestPipeline test;
  test.Parquet("rows").Add("sort", {{"by", "width"}}).Add("test_fetch");
  test.Add("write_parquet", {{"path", "out"}});
  EXPECT_TRUE(test.MustCompile().stages[0].source.args["rows_per_partition"].is_null());

  // Two parts of a split, run one after the other, must agree on what is whose.
  TestPipeline split;
  split.Parquet("rows")
      .Add("sample", {{"fraction", 0.5}})
      .Add("test_fetch")
      .Add("write_csv", {{"path", "out"}});
  EXPECT_TRUE(split.MustCompile().stages[0].source.args["rows_per_partition"].is_null());
}

TEST(ExchangeSteps, ErrorsNameTheStep) {
  TestPipeline nested;
  nested.Parquet("rows").Add("sort", {{"by", "with"}}, "by_width").At(4, 5).Add("collect");
  EXPECT_THAT(nested.Compiled(), IsUserError("line 4, column 5", "by_width"));
  EXPECT_THAT(nested.Compiled(), IsUserError("'width'", "by_width"));
  TestPipeline skipping;
  skipping.Parquet("rows").Add("sort", {{"by", "width"}}).OnErrors(OnError::kSkip).Add("collect");
  EXPECT_THAT(skipping.Compiled(), IsUserError("on_error: skip has no meaning at 'sort'", "sort"));
}

TEST(ExchangeSteps, ExplainTellsThem) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("sort", {{"by", {"width", "url"}}, {"descending", {true, false}}, {"nulls", "first"}})
      .Add("group_by", {{"by", "url"}, {"aggregates", {{"n", "count()"}, {"w", "sum(width)"}}}})
      .Add("random_shuffle", {{"seed", 7}})
      .Add("limit", {{"n", 5}})
      .Add("write_parquet", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  auto text = Explain(plan, test.snapshot);
  ASSERT_TRUE(text.ok()) << text.status();
  for (const char* line :
       {"-> exchange 0 (sort by width descending nulls first, url nulls first for sort)",
        "stage 1: partitions of about 128 MiB", "read exchange 0 (sort by width descending",
        "stage 2: partitions of about 128 MiB", "-> exchange 1 (hash by url for group_by)",
        "of equal keys computes: n = count(), w = sum(width); combines before the exchange",
        "-> exchange 2 (shuffle with seed 7 for random_shuffle), its first 5 rows", "stage 3: 1 partition"}) {
    EXPECT_THAT(*text, HasSubstr(line));
  }
}

TEST(LeastBudget, ASortedExchangeNeedsRoomToSort) {
  TestPipeline gather, sort;
  gather.Parquet("rows").Add("limit", {{"n", 5}}).Add("write_csv", {{"path", "out"}});
  sort.Parquet("rows").Add("sort", {{"by", "url"}}).Add("write_csv", {{"path", "out"}});
  EXPECT_GE(LeastBudgetBytes(sort.MustCompile()), 16 * kMiB);
  EXPECT_GT(LeastBudgetBytes(sort.MustCompile()), LeastBudgetBytes(gather.MustCompile()));
}

}  // namespace
}  // namespace partita
