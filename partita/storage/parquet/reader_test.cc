// The reader: bounded by pages, refused memory loses no row, and hostile files are errors.
#include <gmock/gmock.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include <fstream>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

std::shared_ptr<arrow::RecordBatch> Documents(int64_t rows, int64_t text_bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("text", arrow::utf8()),
                               arrow::field("kind", arrow::utf8())});
  return arrow::RecordBatch::Make(
      schema, rows,
      {Ints(rows, [](int64_t i) { return i; }),
       Strings(rows, [&](int64_t) { return RandomText(&random, text_bytes); }),
       Strings(rows, [](int64_t i) { return i % 3 == 0 ? "\x01null" : "kind " + std::to_string(i % 10); })});
}

TEST_F(ParquetTest, ARowGroupIsNeverInMemoryAsAWhole) {
  const auto rows = Documents(40'000, 4'000, 1);  // 160 MB
  WriteBatches(Path("t.parquet"), {rows}, {{"row_group_bytes", 1 << 30}, {"compression", "snappy"}});
  ASSERT_EQ(Inspect(Path("t.parquet")).units.size(), 1u);
  auto request = Request(Path("t.parquet"));
  const auto budget = Budget::Make(16 << 20);
  request.pool = budget->root();
  request.target_block_bytes = 2 << 20;
  auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
  int64_t row = 0;
  for (;;) {
    auto next = ValueOf(reader->Next());
    if (!next) break;
    ASSERT_EQ(next->first_row, row);
    ASSERT_TRUE(next->batch->Equals(*rows->Slice(row, next->batch->num_rows())));
    row += next->batch->num_rows();
  }
  EXPECT_EQ(row, rows->num_rows());
  EXPECT_EQ(budget->refusals(), 0);
  reader.reset();
  EXPECT_EQ(budget->root()->bytes_allocated(), 0);
}

TEST_F(ParquetTest, RefusedMemoryLosesNoRow) {
  const auto rows = Documents(2'000, 2'000, 2);
  WriteBatches(Path("t.parquet"), {rows}, {{"row_group_size", 900}, {"data_page_bytes", 65536}});
  for (int64_t n = 1; n < 300; n += 1 + n / 30) {
    auto request = Request(Path("t.parquet"), rows->schema());
    const auto budget = Budget::Make(1 << 30);
    request.pool = budget->root();
    request.target_block_bytes = 256 << 10;
    budget->FailNthAllocation(n);
    int refusals = 0;
    auto reader = ParquetFormat()->OpenReader(request);
    const auto batches = ReadAll(request, nullptr, &refusals);
    ASSERT_TRUE(batches.ok()) << n << " " << RenderError(batches.status());
    ASSERT_TRUE(TableOf(*batches, rows->schema())->Equals(*TableOf({rows}, rows->schema()))) << n;
  }
}

// Every allocation is refused some of the time.
TEST_F(ParquetTest, ABudgetThatComesAndGoes) {
  const auto rows = Documents(3'000, 3'000, 3);
  WriteBatches(Path("t.parquet"), {rows}, {{"data_page_bytes", 65536}});
  auto request = Request(Path("t.parquet"), rows->schema());
  const auto budget = Budget::Make(1 << 30);
  request.pool = budget->root();
  auto reader = ValueOf(ParquetFormat()->OpenReader(request));
  std::mt19937_64 random(5);
  int64_t row = 0;
  for (int calls = 0; calls < 10'000; ++calls) {
    if (random() % 2) budget->FailNthAllocation(1 + static_cast<int64_t>(random() % 40));
    auto next = reader->Next();
    budget->FailNthAllocation(0);
    if (!next.ok()) {
      ASSERT_TRUE(next.status().IsOutOfMemory()) << RenderError(next.status());
      continue;
    }
    if (!next->has_value()) break;
    ASSERT_EQ((*next)->first_row, row);
    ASSERT_TRUE((*next)->batch->Equals(*rows->Slice(row, (*next)->batch->num_rows())));
    row += (*next)->batch->num_rows();
  }
  EXPECT_EQ(row, rows->num_rows());
}

TEST_F(ParquetTest, RowRangesSkipPagesUnread) {
  const auto rows = Documents(20'000, 500, 6);
  WriteBatches(Path("t.parquet"), {rows}, {{"compression", "none"}, {"data_page_bytes", 65536}});
  auto request = Request(Path("t.parquet"), rows->schema());
  request.fragment.range = Fragment::Range::kRows;
  request.fragment.begin = 19'000;
  request.fragment.end = 19'100;
  auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
  int64_t row = 19'000;
  while (auto next = ValueOf(reader->Next())) {
    ASSERT_TRUE(next->batch->Equals(*rows->Slice(row, next->batch->num_rows())));
    row += next->batch->num_rows();
  }
  EXPECT_EQ(row, 19'100);
  EXPECT_LT(reader->bytes_read(), Entry(Path("t.parquet")).size_bytes / 2);  // headers in windows, no bodies
}

class DamagedParquetTest : public ParquetTest {
 protected:
  // Reads what is left of a file: rows or an error that names it, never a crash.
  void Probe(const std::string& bytes) {
    std::ofstream(Path("bad.parquet"), std::ios::binary | std::ios::trunc) << bytes;
    const auto budget = Budget::Make(256 << 20);
    const auto entry = Entry(Path("bad.parquet"));
    auto info = ParquetFormat()->Inspect(Env::Default(), entry, Json::object(), budget->root().get());
    if (!info.ok()) return Check(info.status());
    ReadRequest request;
    request.fragment.file = entry;
    request.schema = info->schema;
    request.env = Env::Default();
    request.pool = budget->root();
    auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
    for (int i = 0; i < 2000; ++i) {
      auto next = reader->Next();
      if (!next.ok()) return Check(next.status());
      if (!next->has_value()) return;
      (void)(*next)->batch->ValidateFull();
    }
  }

  static void Check(const Status& status) {
    EXPECT_NE(KindOf(status), ErrorKind::kBug) << status.ToString();
    EXPECT_NE(KindOf(status), ErrorKind::kEnvironment) << status.ToString();
    EXPECT_NE(KindOf(status), ErrorKind::kResource) << status.ToString();  // sizes are not believed
    EXPECT_THAT(RenderError(status), ::testing::HasSubstr("bad.parquet"));
  }

  void FlipEverywhere(const std::string& good, size_t probes) {
    std::mt19937_64 random(good.size());
    for (size_t i = 0; i < probes; ++i) {
      std::string bad = good;
      // Half of the damage goes where sizes and offsets are.
      const size_t from = random() % 2 == 0 ? 0 : good.size() - std::min<size_t>(good.size(), 1200);
      const size_t at = from + random() % (good.size() - from);
      bad[at] = static_cast<char>(random() % 3 == 0 ? bad[at] ^ (1 << (random() % 8)) : random());
      Probe(bad);
    }
    for (size_t i = 0; i < 60; ++i) Probe(good.substr(0, random() % good.size()));
  }
};

TEST_F(DamagedParquetTest, OurFiles) {
  const auto rows = Documents(300, 40, 7);
  WriteBatches(Path("t.parquet"), {rows}, {{"row_group_size", 100}});
  FlipEverywhere(Bytes(Path("t.parquet")), 600);
}

TEST_F(DamagedParquetTest, NestedPlainAndOldPages) {
  arrow::ListBuilder lists(arrow::default_memory_pool(), std::make_shared<arrow::StringBuilder>());
  for (int i = 0; i < 200; ++i) {
    (void)lists.Append();
    for (int j = 0; j < i % 5; ++j)
      (void)static_cast<arrow::StringBuilder*>(lists.value_builder())->Append("item");
  }
  const auto list = ValueOf(lists.Finish());
  auto table = arrow::Table::Make(arrow::schema({arrow::field("l", list->type())}), {list});
  for (const auto version : {parquet::ParquetDataPageVersion::V1, parquet::ParquetDataPageVersion::V2}) {
    auto properties = parquet::WriterProperties::Builder()
                          .data_page_version(version)
                          ->disable_dictionary()
                          ->compression(arrow::Compression::SNAPPY)
                          ->build();
    auto out = ValueOf(Env::Default()->OpenWrite(Path("t.parquet")));
    ExpectOk(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, 80, properties));
    ExpectOk(out->Close());
    FlipEverywhere(Bytes(Path("t.parquet")), 300);
  }
}

TEST_F(DamagedParquetTest, ListsOfOneLength) {
  std::mt19937_64 random(9);
  arrow::FloatBuilder values;
  for (int i = 0; i < 300 * 24; ++i) (void)values.Append(static_cast<float>(random() % 60));
  const auto lists = ValueOf(arrow::FixedSizeListArray::FromArrays(ValueOf(values.Finish()), 24));
  auto table = arrow::Table::Make(arrow::schema({arrow::field("l", lists->type())}), {lists});
  for (int round = 0; round < 4; ++round) {
    parquet::WriterProperties::Builder properties;
    properties.data_page_version(round % 2 ? parquet::ParquetDataPageVersion::V1
                                           : parquet::ParquetDataPageVersion::V2);
    if (round < 2) properties.disable_dictionary()->compression(arrow::Compression::ZSTD);
    auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
    auto out = ValueOf(Env::Default()->OpenWrite(Path("t.parquet")));
    ExpectOk(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, 150, properties.build(),
                                        arrow_properties));
    ExpectOk(out->Close());
    FlipEverywhere(Bytes(Path("t.parquet")), 300);
  }
}

TEST_F(DamagedParquetTest, FatPages) {
  std::mt19937_64 random(8);
  const auto text = Strings(
      2, [&](int64_t i) { return i == 0 ? RandomText(&random, 1 << 20) : std::string(1 << 20, 'f'); });
  WriteBatches(Path("t.parquet"),
               {arrow::RecordBatch::Make(arrow::schema({arrow::field("f", arrow::utf8())}), 2, {text})},
               {{"compression", "snappy"}});
  const std::string good = Bytes(Path("t.parquet"));
  for (size_t i = 0; i < 60; ++i) {
    std::string bad = good;
    const size_t at = random() % 2 == 0 ? random() % 64 : good.size() - 1 - random() % 600;
    bad[at] = static_cast<char>(random());
    Probe(bad);
  }
}

}  // namespace
}  // namespace partita
