#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

SourceRequest OnlyRequest(const TestPipeline& test) {
  auto requests = SourcesOf(test.pipeline);
  EXPECT_TRUE(requests.ok()) << requests.status();
  if (!requests.ok() || requests->size() != 1) return {};
  return requests->front();
}

TEST(SourcesOf, NamesFormatAndLocations) {
  TestPipeline test;
  test.Add("read_csv", {{"path", Json::array({"a.csv", "b.csv"})}, {"partition_bytes", "1MiB"}}, "rows");
  const SourceRequest request = OnlyRequest(test);
  EXPECT_EQ(request.step, "rows");
  EXPECT_EQ(request.op, "read_csv");
  EXPECT_EQ(request.format, "csv");
  EXPECT_EQ(request.locations, (std::vector<std::string>{"a.csv", "b.csv"}));
  EXPECT_EQ(request.args["partition_bytes"], 1 << 20);
  EXPECT_EQ(request.split_bytes, INT64_MAX) << "looking into a large CSV file would tell nothing";
  EXPECT_EQ(request.args["delimiter"], ",") << "arguments are normalised";
}

TEST(SourcesOf, MapsEverySourceToItsFormat) {
  const std::vector<std::pair<std::string, std::string>> expected = {
      {"read_parquet", "parquet"}, {"read_csv", "csv"},     {"read_jsonl", "jsonl"},
      {"read_text", "text"},       {"read_files", "files"}, {"read_webdataset", "webdataset"}};
  for (const auto& [op, format] : expected) {
    TestPipeline test;
    test.Add(op, {{"path", "x"}});
    EXPECT_EQ(OnlyRequest(test).format, format);
    EXPECT_EQ(OnlyRequest(test).args["partition_bytes"], 128 << 20);
  }
  EXPECT_EQ(OnlyRequest(TestPipeline().Add("range", {{"n", 5}})).format, "range");
  EXPECT_EQ(OnlyRequest(TestPipeline().Add("from_memory", {{"id", "t"}})).format, "memory");
}

TEST(SourcesOf, RowsPerPartitionComesFromTheSourceThenFromWishes) {
  {
    TestPipeline test;
    test.Parquet("rows").Add("write_parquet", {{"path", "out"}});
    EXPECT_TRUE(OnlyRequest(test).args["rows_per_partition"].is_null());
  }
  {
    TestPipeline test;
    test.Parquet("rows").Add("test_fetch").Add("write_parquet", {{"path", "out"}});
    EXPECT_EQ(OnlyRequest(test).args["rows_per_partition"], 1000);
    EXPECT_EQ(OnlyRequest(test).split_bytes, 0) << "every file must be looked at to be cut by rows";
  }
  {
    TestPipeline test;
    test.Add("read_parquet", {{"path", "in"}, {"rows_per_partition", 50}}).Add("test_fetch");
    EXPECT_EQ(OnlyRequest(test).args["rows_per_partition"], 50);
  }
}

TEST(SourcesOf, PartitionsAreNotSmallerThanTheFilesThatAreAskedFor) {
  {
    TestPipeline test;
    test.Parquet("rows")
        .Add("test_fetch")
        .Add("write_webdataset", {{"path", "out"}, {"rows_per_shard", 5000}});
    EXPECT_EQ(OnlyRequest(test).args["rows_per_partition"], 5000);
  }
  {
    TestPipeline test;  // the default of rows_per_shard is nobody's wish
    test.Parquet("rows").Add("test_fetch").Add("write_webdataset", {{"path", "out"}});
    EXPECT_EQ(OnlyRequest(test).args["rows_per_partition"], 1000);
  }
  {
    TestPipeline test;  // an exact sink cuts across partitions
    test.Parquet("rows")
        .Add("test_fetch")
        .Add("write_webdataset", {{"path", "out"}, {"rows_per_shard", 5000}, {"exact", true}});
    EXPECT_EQ(OnlyRequest(test).args["rows_per_partition"], 1000);
  }
}

TEST(SourcesOf, WishesBehindALimitDoNotCount) {
  TestPipeline test;
  test.Parquet("rows").Add("limit", {{"n", 5}}).Add("test_fetch").Add("write_parquet", {{"path", "out"}});
  EXPECT_TRUE(OnlyRequest(test).args["rows_per_partition"].is_null());
}

TEST(SourcesOf, ReportsStructureErrorsWithStepAndLine) {
  EXPECT_THAT(SourcesOf(TestPipeline().Add("read_parket", {{"path", "x"}}).pipeline),
              IsUserError("did you mean 'read_parquet'", "read_parket"));
  EXPECT_THAT(SourcesOf(TestPipeline().Add("read_parquet").At(3, 5).pipeline),
              IsUserError("line 3, column 5: ", "read_parquet"));
  EXPECT_THAT(SourcesOf(TestPipeline().Add("limit", {{"n", 1}}).pipeline),
              IsUserError("has no input", "limit"));
  EXPECT_THAT(
      SourcesOf(TestPipeline().Add("range", {{"n", 1}}).Add("limit", {{"n", 1}}, "l", {"rang"}).pipeline),
      IsUserError("no step 'rang'", "l"));
  EXPECT_THAT(SourcesOf(TestPipeline().Add("range", {{"n", 1}}, "a").Add("range", {{"n", 1}}, "a").pipeline),
              IsUserError("two steps are named 'a'", "a"));
  EXPECT_THAT(SourcesOf(TestPipeline()
                            .Add("range", {{"n", 1}})
                            .Add("write_csv", {{"path", "o"}})
                            .Add("limit", {{"n", 1}}, "l", {"write_csv"})
                            .pipeline),
              IsUserError("is a sink", "l"));
  EXPECT_THAT(SourcesOf(TestPipeline()
                            .Add("range", {{"n", 1}}, "a")
                            .Add("range", {{"n", 1}}, "b")
                            .Add("limit", {{"n", 1}}, "l", {"a", "b"})
                            .pipeline),
              IsUserError("takes one input", "l"));
}

}  // namespace
}  // namespace partita
