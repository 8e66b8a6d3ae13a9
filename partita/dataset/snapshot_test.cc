#include "partita/dataset/snapshot.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"

namespace partita {
namespace {

Snapshot Example() {
  SourceFile big;
  big.entry.location = "data/year=2024/a.parquet";
  big.entry.size_bytes = 1000;
  big.entry.mtime_ns = 42;
  big.entry.partition_values = {{"year", "2024"}};
  big.inspected = true;
  big.num_rows = 30;
  big.units = {{10, 300}, {20, 700}};
  SourceFile small;
  small.entry.location = "data/year=2025/b.parquet";
  small.entry.size_bytes = 10;
  small.entry.partition_values = {{"year", "2025"}};

  SourceSnapshot files;
  files.step = "read_parquet";
  files.format = "parquet";
  files.schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("year", arrow::int32())});
  files.partition_columns = {"year"};
  files.files = {big, small};

  SourceSnapshot memory;
  memory.step = "rows";
  memory.format = "memory";
  memory.schema = arrow::schema({arrow::field("x", arrow::list(arrow::utf8()))});
  memory.num_rows = 7;
  memory.digest = "abc";
  return Snapshot{{files, memory}};
}

TEST(Snapshot, RoundTripsThroughJson) {
  const Snapshot before = Example();
  auto parsed = ParseJson(CanonicalJson(before.ToJson()));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  auto result = Snapshot::FromJson(*parsed);
  ASSERT_TRUE(result.ok()) << result.status();
  const Snapshot& after = *result;
  EXPECT_EQ(after.ToJson(), before.ToJson());
  EXPECT_EQ(after.Hash(), before.Hash());
  const SourceSnapshot* files = after.Find("read_parquet");
  ASSERT_NE(files, nullptr);
  EXPECT_TRUE(files->schema->Equals(*before.sources[0].schema));
  ASSERT_EQ(files->files.size(), 2u);
  EXPECT_TRUE(files->files[0].inspected);
  EXPECT_EQ(files->files[0].units[1].rows, 20);
  EXPECT_FALSE(files->files[1].inspected);
  EXPECT_EQ(files->files[1].num_rows, -1);
  EXPECT_EQ(after.Find("rows")->num_rows, 7);
  EXPECT_EQ(after.Find("nothing"), nullptr);
}

TEST(Snapshot, HashChangesWithAnyFile) {
  const std::string hash = Example().Hash();
  Snapshot other = Example();
  other.sources[0].files[1].entry.size_bytes = 11;
  EXPECT_NE(other.Hash(), hash);
  other = Example();
  other.sources[1].digest = "abd";
  EXPECT_NE(other.Hash(), hash);
  EXPECT_EQ(Example().Hash(), hash);
}

TEST(Snapshot, RefusesHostileJson) {
  const Json good = Example().ToJson();
  auto refuses = [&](auto damage) {
    Json bad = good;
    damage(bad);
    auto result = Snapshot::FromJson(bad);
    EXPECT_FALSE(result.ok()) << CanonicalJson(bad);
  };
  refuses([](Json& j) { j = Json::array(); });
  refuses([](Json& j) { j["version"] = 99; });
  refuses([](Json& j) { j["sources"] = 3; });
  refuses([](Json& j) { j["sources"][0] = "x"; });
  refuses([](Json& j) { j["sources"][0].erase("schema"); });
  refuses([](Json& j) { j["sources"][0].erase("step"); });
  refuses([](Json& j) { j["sources"][0]["files"] = "x"; });
  refuses([](Json& j) { j["sources"][0]["files"][0].erase("entry"); });
  refuses([](Json& j) { j["sources"][0]["files"][0]["units"] = Json::array({1}); });
  refuses([](Json& j) { j["sources"][0]["files"][0]["units"][0][0] = -1; });
  refuses([](Json& j) { j["sources"][0]["files"][0]["num_rows"] = -5; });
  refuses([](Json& j) { j["sources"][0]["partition_columns"] = Json::array({"nope"}); });
  refuses([](Json& j) { j["sources"][1]["num_rows"] = -2; });
  refuses([](Json& j) { j["sources"][1]["step"] = "read_parquet"; });
}

}  // namespace
}  // namespace partita
