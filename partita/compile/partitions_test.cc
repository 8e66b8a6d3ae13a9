#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

std::vector<Partition> Partitions(const TestPipeline& test) {
  const Plan plan = test.MustCompile();
  auto partitions = ScanPartitions(plan, 0, test.snapshot);
  EXPECT_TRUE(partitions.ok()) << RenderError(partitions.status());
  if (!partitions.ok()) return {};
  for (size_t i = 0; i < partitions->size(); ++i) EXPECT_EQ((*partitions)[i].index, static_cast<int64_t>(i));
  return *partitions;
}

// "a.parquet a.parquet[rows 0,10)", partitions apart by "; ".
std::string Text(const std::vector<Partition>& partitions) {
  static const char* kRange[] = {"", "units", "bytes", "rows"};
  std::string out;
  for (const auto& partition : partitions) {
    out += out.empty() ? "" : "; ";
    std::string files;
    for (const auto& fragment : partition.fragments) {
      files += (files.empty() ? "" : " ") + fragment.file.location;
      if (fragment.range == Fragment::Range::kWhole) continue;
      files += std::string("[") + kRange[static_cast<int>(fragment.range)] + " " +
               std::to_string(fragment.begin) + "," + std::to_string(fragment.end) + ")";
    }
    if (partition.fragments.empty()) {
      files = std::to_string(partition.first_row) + "+" + std::to_string(partition.rows);
    }
    out += files;
  }
  return out;
}

TEST(ScanPartitions, SmallFilesAreOnePartitionEach) {
  TestPipeline test;
  test.Parquet("rows", {TestFile("a", 1000, 10, {{10, 1000}}), TestFile("b", 500), TestFile("c", 10)});
  test.Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Text(Partitions(test)), "a; b; c");
}

TEST(ScanPartitions, LargeFilesAreCutByRowGroups) {
  TestPipeline test;
  test.Parquet("rows", {TestFile("a", 300 << 20, 30, {{10, 100 << 20}, {10, 100 << 20}, {10, 100 << 20}})});
  test.Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Text(Partitions(test)), "a[units 0,1); a[units 1,2); a[units 2,3)");
}

TEST(ScanPartitions, RowsCutAcrossEachFile) {
  TestPipeline test;
  test.Parquet("rows",
               {TestFile("a", 1000, 2500, {{2500, 1000}}), TestFile("b", 10, 7), TestFile("c", 10, 0)});
  test.Add("test_fetch").Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Text(Partitions(test)), "a[rows 0,1000); a[rows 1000,2000); a[rows 2000,2500); b")
      << "an empty file is no partition";
}

TEST(ScanPartitions, FilesThatNobodyCountedAreAnError) {
  TestPipeline test;
  test.Parquet("rows", {TestFile("a", 1000)}).Add("test_fetch").Add("write_csv", {{"path", "out"}});
  auto partitions = ScanPartitions(test.MustCompile(), 0, test.snapshot);
  ASSERT_FALSE(partitions.ok());
  EXPECT_EQ(DetailOf(partitions.status())->context.file, "a");
}

TEST(ScanPartitions, HiveFoldersThatCannotMatchAreLeftOut) {
  TestPipeline test;
  std::vector<SourceFile> files;
  for (const char* year : {"2023", "2024", "", "2025"}) {
    files.push_back(TestFile(std::string("year=") + year + "/a", 10, 5));
    files.back().entry.partition_values = {{"year", year}};
  }
  test.Parquet("rows", files);
  auto& source = test.snapshot.sources[0];
  source.schema = *source.schema->AddField(4, arrow::field("year", arrow::int32()));
  source.partition_columns = {"year"};
  test.Add("filter", {{"predicate", "year >= 2024 and width > 3"}}).Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Text(Partitions(test)), "year=2024/a; year=2025/a");
}

TEST(ScanPartitions, FormatsWithoutRowCountsAreCutInSmallerByteRangesWhenRowsAreWished) {
  TestPipeline test;
  SourceSnapshot source;
  source.step = "urls";
  source.format = "text";
  source.schema = arrow::schema({arrow::field("text", arrow::utf8())});
  source.files = {TestFile("a", 5 << 20), TestFile("b", 100)};
  test.Source(std::move(source)).Add("read_text", {{"path", "in"}}, "urls");
  TestPipeline plain = test;
  plain.Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Partitions(plain).size(), 2u);
  test.Add("rename", {{"columns", {{"text", "url"}}}}).Add("test_fetch").Add("write_csv", {{"path", "out"}});
  EXPECT_EQ(Partitions(test).size(), 6u) << "ranges of 1 MiB";
}

TEST(ScanPartitions, WholeFilesAreGrouped) {
  TestPipeline test;
  SourceSnapshot source;
  source.step = "images";
  source.format = "files";
  source.schema =
      arrow::schema({arrow::field("path", arrow::utf8()), arrow::field("bytes", arrow::binary())});
  for (int i = 0; i < 2500; ++i) source.files.push_back(TestFile("f" + std::to_string(i), 10));
  source.files.push_back(TestFile("large", int64_t{1} << 40));
  source.files.push_back(TestFile("last", 10));
  test.Source(std::move(source))
      .Add("read_files", {{"path", "in"}}, "images")
      .Add("write_csv", {{"path", "out"}});
  std::vector<size_t> sizes;
  for (const auto& partition : Partitions(test)) sizes.push_back(partition.fragments.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{1000, 1000, 500, 1, 1}));

  test.pipeline.steps[0].args["rows_per_partition"] = 2000;
  sizes.clear();
  for (const auto& partition : Partitions(test)) sizes.push_back(partition.fragments.size());
  EXPECT_EQ(sizes, (std::vector<size_t>{2000, 502}));
}

SourceSnapshot Counted(const std::string& format, int64_t rows) {
  SourceSnapshot source;
  source.step = format;
  source.format = format;
  source.schema = arrow::schema({arrow::field("id", arrow::int64())});
  source.num_rows = rows;
  return source;
}

TEST(ScanPartitions, RangesAndMemory) {
  TestPipeline range;
  range.Source(Counted("range", 25)).Add("range", {{"n", 25}, {"rows_per_partition", 10}}).Add("collect");
  EXPECT_EQ(Text(Partitions(range)), "0+10; 10+10; 20+5");
  TestPipeline memory;
  memory.Source(Counted("memory", 25)).Add("from_memory", {{"id", "t"}}, "memory").Add("collect");
  EXPECT_EQ(Text(Partitions(memory)), "0+25");
  SourceSnapshot blocks = Counted("memory", 5);
  for (const int64_t rows : {3, 0, 2}) {
    blocks.files.emplace_back();
    blocks.files.back().num_rows = rows;
  }
  TestPipeline remote;
  remote.Source(blocks).Add("from_memory", {{"id", "t"}}, "memory").Add("collect");
  EXPECT_EQ(Text(Partitions(remote)), "0+3; 3+0; 3+2") << "a block is a partition, also an empty one";
  TestPipeline empty;
  empty.Source(Counted("memory", 0)).Add("from_memory", {{"id", "t"}}, "memory").Add("collect");
  EXPECT_TRUE(Partitions(empty).empty());
  TestPipeline large;
  large.Source(Counted("range", INT64_MAX))
      .Add("range", {{"n", INT64_MAX}, {"rows_per_partition", 1}})
      .Add("collect");
  EXPECT_THAT(ScanPartitions(large.MustCompile(), 0, large.snapshot),
              IsUserError("9,223,372,036,854,775,807 partitions", "range"));
}

TEST(ScanPartitions, CheckStageAndSnapshot) {
  TestPipeline test;
  test.Parquet("rows").Add("limit", {{"n", 5}}).Add("write_csv", {{"path", "out"}});
  const Plan plan = test.MustCompile();
  EXPECT_FALSE(ScanPartitions(plan, 2, test.snapshot).ok());
  EXPECT_FALSE(ScanPartitions(plan, -1, test.snapshot).ok());
  EXPECT_FALSE(ScanPartitions(plan, 1, test.snapshot).ok())
      << "an exchange's partitions come from its writers";
  EXPECT_THAT(ScanPartitions(plan, 0, Snapshot{}), IsUserError("not of this plan", "rows"));
}

}  // namespace
}  // namespace partita
