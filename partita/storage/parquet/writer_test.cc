// The writer: bytes that depend on nothing but rows and arguments, and memory that stays in the budget.
#include <gmock/gmock.h>
#include <parquet/file_reader.h>

#include "partita/storage/parquet/cut.h"
#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

// Numbers, repeated and distinct text, lists, nulls; now and then a large value. Most columns leave their
// dictionary on the way.
std::shared_ptr<arrow::RecordBatch> MixedRows(int64_t rows, uint64_t seed, int64_t large_bytes) {
  std::mt19937_64 random(seed);
  const auto ids = Ints(rows, [&](int64_t) { return static_cast<int64_t>(random()); });
  const auto labels = Strings(rows, [&](int64_t) { return "label " + std::to_string(random() % 50); });
  const auto text = Strings(rows, [&](int64_t) -> std::string {
    const uint64_t kind = random() % 1000;
    if (kind < 100) return "\x01null";
    if (kind == 500) return RandomText(&random, large_bytes);
    if (kind == 501) return std::string(static_cast<size_t>(large_bytes), 'z');
    return RandomText(&random, static_cast<int64_t>(random() % 200));
  });
  arrow::ListBuilder lists(arrow::default_memory_pool(), std::make_shared<arrow::Int32Builder>());
  auto* values = static_cast<arrow::Int32Builder*>(lists.value_builder());
  for (int64_t i = 0; i < rows; ++i) {
    if (random() % 7 == 0) {
      (void)lists.AppendNull();
      continue;
    }
    (void)lists.Append();
    for (uint64_t n = random() % 20; n > 0; --n) (void)values->Append(static_cast<int32_t>(random() % 1000));
  }
  const auto list = ValueOf(lists.Finish());
  auto schema =
      arrow::schema({arrow::field("id", arrow::int64(), false), arrow::field("label", arrow::utf8()),
                     arrow::field("text", arrow::utf8()), arrow::field("list", list->type())});
  return arrow::RecordBatch::Make(schema, rows, {ids, labels, text, list});
}

TEST_F(ParquetTest, BytesDoNotDependOnBatches) {
  const auto rows = MixedRows(20'003, 1, 3 << 19)->Slice(3, 20'000);
  const Json args = {{"row_group_bytes", 4 << 20}, {"compression", "snappy"}, {"data_page_bytes", 100'000}};
  WriteBatches(Path("whole.parquet"), {rows}, args);
  const std::string whole = Bytes(Path("whole.parquet"));
  EXPECT_GT(Inspect(Path("whole.parquet")).units.size(), 3u);
  for (const int64_t longest : {3, 100, 5'000, 19'000}) {
    WriteBatches(Path("cut.parquet"), Cut(rows, static_cast<uint64_t>(longest), longest), args);
    EXPECT_TRUE(Bytes(Path("cut.parquet")) == whole) << longest;
  }
  const auto read = TableOf(ValueOf(ReadAll(Request(Path("whole.parquet"), rows->schema()))), rows->schema());
  EXPECT_TRUE(read->Equals(*TableOf({rows}, rows->schema())));
}

TEST_F(ParquetTest, BytesDoNotDependOnDictionaries) {
  const auto plain = Strings(20'000, [](int64_t i) { return "v" + std::to_string(i % 300); });
  auto schema = arrow::schema({arrow::field("d", arrow::dictionary(arrow::int32(), arrow::utf8()))});
  auto encode = [&](int64_t step) {
    arrow::RecordBatchVector batches;
    for (int64_t i = 0; i < plain->length(); i += step) {
      arrow::StringDictionary32Builder builder;
      const auto part = plain->Slice(i, step);
      ExpectOk(builder.AppendArray(*part));
      batches.push_back(arrow::RecordBatch::Make(schema, part->length(), {ValueOf(builder.Finish())}));
    }
    return batches;
  };
  WriteBatches(Path("a.parquet"), encode(20'000));
  WriteBatches(Path("b.parquet"), encode(777));
  EXPECT_TRUE(Bytes(Path("a.parquet")) == Bytes(Path("b.parquet")));
  EXPECT_EQ(Inspect(Path("a.parquet")).schema->field(0)->type()->id(), arrow::Type::DICTIONARY);
}

// Of keys that are all different no dictionary is begun; of those that meet now and then it is.
TEST_F(ParquetTest, OnlyWhatRepeatsHasADictionary) {
  constexpr int64_t kRows = 20'000;
  std::mt19937_64 random(8);
  const auto number = [](int64_t i) { return i * 7919 % 1'000'003; };
  arrow::ArrayVector columns = {Ints(kRows, number),
                                Ints(kRows, [&](int64_t) { return static_cast<int64_t>(random() % 50'000); }),
                                Strings(kRows, [&](int64_t i) { return "t" + std::to_string(number(i)); }),
                                Strings(kRows, [](int64_t i) -> std::string {
                                  return i % 5 == 0 ? "\x01null" : "t" + std::to_string(i % 300);
                                })};
  const auto schema =
      arrow::schema({arrow::field("all", columns[0]->type()), arrow::field("some", columns[1]->type()),
                     arrow::field("texts", arrow::utf8()), arrow::field("labels", arrow::utf8())});
  const auto rows = arrow::RecordBatch::Make(schema, kRows, columns);
  WriteBatches(Path("a.parquet"), {rows});
  const auto reader = parquet::ParquetFileReader::OpenFile(Path("a.parquet"));
  const auto group = reader->metadata()->RowGroup(0);
  const std::vector<bool> expected = {false, true, false, true};
  for (int c = 0; c < 4; ++c)
    EXPECT_EQ(group->ColumnChunk(c)->has_dictionary_page(), expected[static_cast<size_t>(c)]) << c;
  WriteBatches(Path("b.parquet"), Cut(rows, 3, 900));
  EXPECT_TRUE(Bytes(Path("a.parquet")) == Bytes(Path("b.parquet")));
  const auto read = TableOf(ValueOf(ReadAll(Request(Path("a.parquet"), schema))), schema);
  EXPECT_TRUE(read->Equals(*TableOf({rows}, schema)));
}

TEST_F(ParquetTest, BytesDoNotDependOnTheBudget) {
  const auto rows = MixedRows(60'000, 2, 1 << 20);
  WriteBatches(Path("large.parquet"), {rows});
  for (const int64_t budget_bytes : {16 << 20, 48 << 20}) {
    const auto budget = Budget::Make(budget_bytes);
    WriteBatches(Path("small.parquet"), Cut(rows, 5, 500), Json::object(), budget->root());
    EXPECT_TRUE(Bytes(Path("small.parquet")) == Bytes(Path("large.parquet"))) << budget_bytes;
    EXPECT_LE(budget->peak_bytes(), budget_bytes);
    EXPECT_EQ(budget->root()->bytes_allocated(), 0);
  }
  // What was staged is gone.
  EXPECT_TRUE(!std::filesystem::exists(Path("spill")) || std::filesystem::is_empty(Path("spill")));
}

TEST_F(ParquetTest, RowGroupsAreCutByRowsAndLogicalBytes) {
  auto schema = arrow::schema({arrow::field("s", arrow::utf8())});
  auto batch =
      arrow::RecordBatch::Make(schema, 1000, {Strings(1000, [](int64_t) { return std::string(96, 'a'); })});
  WriteBatches(Path("t.parquet"), {batch}, {{"row_group_bytes", 10'000}});
  EXPECT_EQ(Inspect(Path("t.parquet")).units.size(), 10u);
  for (const auto& unit : Inspect(Path("t.parquet")).units) EXPECT_EQ(unit.rows, 100);
  WriteBatches(Path("t.parquet"), {batch}, {{"row_group_size", 300}});
  EXPECT_EQ(Inspect(Path("t.parquet")).units.size(), 4u);
}

TEST_F(ParquetTest, EveryRefusedAllocationCanBeRepeated) {
  const auto rows = MixedRows(3000, 3, 2 << 20);
  const Json args = {{"row_group_bytes", 4 << 20}};
  WriteBatches(Path("want.parquet"), {rows}, args);
  const std::string want = Bytes(Path("want.parquet"));
  int refused = 0;
  for (int64_t n = 1; n < 400; n += 1 + n / 20) {
    const auto budget = Budget::Make(1 << 30);
    auto writer = OpenWriter(Path("t.parquet"), rows->schema(), args, budget->root());
    budget->FailNthAllocation(n);
    for (const auto& batch : Cut(rows, 9, 700)) {
      Status status = writer->Write(batch);
      while (status.IsOutOfMemory() && ++refused < 1000) status = writer->Write(batch);
      ExpectOk(status);
    }
    Status status = writer->Finish();
    while (status.IsOutOfMemory() && ++refused < 1000) status = writer->Finish();
    ExpectOk(status);
    writer.reset();
    ExpectOk(stream_->Close());
    ASSERT_TRUE(Bytes(Path("t.parquet")) == want) << n;
  }
}

// All rows of a small file are encoded at its end: what that needs is asked for before any is taken.
TEST_F(ParquetTest, TheEndOfAFileIsRefusedBeforeItBegins) {
  const auto rows = MixedRows(500, 6, 1000);
  WriteBatches(Path("want.parquet"), {rows});
  const auto budget = Budget::Make(16 << 20);
  auto writer = OpenWriter(Path("t.parquet"), rows->schema(), Json::object(), budget->root());
  ExpectOk(writer->Write(rows));
  auto others = ValueOf(budget->root()->Reserve(budget->available_bytes()));
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(writer->Finish().IsOutOfMemory());
  others.Release();
  ExpectOk(writer->Finish());
  writer.reset();
  ExpectOk(stream_->Close());
  EXPECT_TRUE(Bytes(Path("t.parquet")) == Bytes(Path("want.parquet")));
}

TEST_F(ParquetTest, AnAbandonedWriterLeavesNothingBehind) {
  const auto budget = Budget::Make(16 << 20);
  const auto rows = MixedRows(40'000, 4, 1 << 20);
  auto writer = OpenWriter(Path("t.parquet"), rows->schema(), Json::object(), budget->root());
  for (const auto& batch : Cut(rows, 1, 1000)) ExpectOk(writer->Write(batch));
  EXPECT_FALSE(std::filesystem::is_empty(Path("spill")));
  writer.reset();
  EXPECT_TRUE(std::filesystem::is_empty(Path("spill")));
  EXPECT_EQ(budget->root()->bytes_allocated(), 0);
}

TEST(UnitCutterTest, CutsDoNotDependOnCalls) {
  std::mt19937_64 random(11);
  std::vector<int64_t> sizes;
  for (int i = 0; i < 5000; ++i)
    sizes.push_back(static_cast<int64_t>(random() % 100 == 0 ? 3000 : random() % 40));
  auto cuts_of = [&](size_t longest) {
    UnitCutter cutter(700, 20'000, 100, 2'000);
    std::vector<std::pair<int64_t, bool>> cuts;  // row at which a unit ends, and whether the group does
    int64_t row = 0;
    for (size_t i = 0; i < sizes.size();) {
      const size_t n = std::min(sizes.size() - i, 1 + random() % longest);
      for (const auto& unit :
           cutter.Cut({sizes.begin() + static_cast<long>(i), sizes.begin() + static_cast<long>(i + n)})) {
        row += unit.rows;
        if (!unit.complete) continue;
        // An empty unit that ends a group after a full unit says the same as a full unit that ends it.
        if (!cuts.empty() && cuts.back().first == row) cuts.pop_back();
        cuts.emplace_back(row, unit.ends_group);
      }
      i += n;
    }
    return cuts;
  };
  const auto whole = cuts_of(1'000'000);
  for (const size_t longest : {1, 7, 500}) EXPECT_EQ(cuts_of(longest), whole);
}

}  // namespace
}  // namespace partita
