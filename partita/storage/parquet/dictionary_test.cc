// Columns read as codes: the same values as when they are read plainly, whatever the file, the range and the
// memory.
#include <arrow/compute/cast.h>
#include <arrow/io/file.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

constexpr int64_t kRows = 3000;

std::shared_ptr<arrow::RecordBatch> SomeRows() {
  std::mt19937_64 random(8);
  const auto word = [&](int64_t i) {
    return i % 7 == 2 ? std::string("\x01null")
                      : std::string(random() % 5, 'a') + std::to_string(random() % 9);
  };
  const auto text = Strings(kRows, word);
  const auto unlike = Strings(kRows, [](int64_t i) { return "text " + std::to_string(i); });
  const auto number = ValueOf(arrow::compute::Cast(Ints(kRows, [&](int64_t) { return random() % 40; }),
                                                   arrow::int32(), arrow::compute::CastOptions::Safe()))
                          .make_array();
  const auto schema = arrow::schema(
      {arrow::field("text", arrow::utf8()), arrow::field("unlike", arrow::utf8()),
       arrow::field("number", arrow::int32(), /*nullable=*/false), arrow::field("long", arrow::int64())});
  return arrow::RecordBatch::Make(schema, kRows,
                                  {text, unlike, number, Ints(kRows, [](int64_t i) { return i / 300; })});
}

class ParquetDictionaryTest : public ParquetTest {
 protected:
  void WriteRows(const std::string& path, parquet::WriterProperties::Builder* builder) {
    auto out = ValueOf(arrow::io::FileOutputStream::Open(path));
    const auto rows = SomeRows();
    const auto table = TableOf({rows}, rows->schema());
    ExpectOk(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, 1100, builder->build()));
    ExpectOk(out->Close());
  }

  ReadRequest Encoding(const std::string& path) {
    auto request = Request(path);
    request.may_encode = {"text", "unlike", "number", "long"};
    request.target_block_bytes = 4 << 10;
    return request;
  }

  // The rows with what was encoded cast back; how many columns of batches were.
  static Result<std::shared_ptr<arrow::Table>> Plain(const arrow::RecordBatchVector& batches,
                                                     const std::shared_ptr<arrow::Schema>& schema,
                                                     int* encoded = nullptr) {
    arrow::RecordBatchVector plain;
    for (const auto& batch : batches) {
      arrow::ArrayVector columns;
      for (int c = 0; c < batch->num_columns(); ++c) {
        const bool is_encoded = batch->column(c)->type_id() == arrow::Type::DICTIONARY;
        if (is_encoded && encoded != nullptr) ++*encoded;
        ARROW_ASSIGN_OR_RAISE(auto column, arrow::compute::Cast(batch->column(c), schema->field(c)->type()));
        columns.push_back(column.make_array());
      }
      plain.push_back(arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(columns)));
    }
    return arrow::Table::FromRecordBatches(schema, plain);
  }
};

TEST_F(ParquetDictionaryTest, GivesTheSameValues) {
  const auto rows = SomeRows();
  const auto expected = TableOf({rows}, rows->schema());
  for (const auto version : {parquet::ParquetDataPageVersion::V1, parquet::ParquetDataPageVersion::V2}) {
    parquet::WriterProperties::Builder builder;
    builder.data_page_version(version)->data_pagesize(200)->write_batch_size(50);
    WriteRows(Path("a.parquet"), &builder);
    int encoded = 0;
    const auto batches = ValueOf(ReadAll(Encoding(Path("a.parquet"))));
    EXPECT_TRUE(ValueOf(Plain(batches, rows->schema(), &encoded))->Equals(*expected));
    EXPECT_EQ(encoded, 3 * static_cast<int>(batches.size()));  // not the column that has no value twice
    // A part that begins inside of a page.
    auto request = Encoding(Path("a.parquet"));
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = 777;
    request.fragment.end = 2345;
    const auto part = ValueOf(Plain(ValueOf(ReadAll(std::move(request))), rows->schema()));
    EXPECT_TRUE(part->Equals(*expected->Slice(777, 2345 - 777)));
  }
}

TEST_F(ParquetDictionaryTest, GivesValuesWhereTheWriterGaveUp) {
  const auto rows = SomeRows();
  parquet::WriterProperties::Builder builder;
  builder.dictionary_pagesize_limit(60)->write_batch_size(50)->disable_dictionary("number");
  WriteRows(Path("a.parquet"), &builder);
  int encoded = 0;
  const auto batches = ValueOf(ReadAll(Encoding(Path("a.parquet"))));
  EXPECT_TRUE(ValueOf(Plain(batches, rows->schema(), &encoded))->Equals(*TableOf({rows}, rows->schema())));
  EXPECT_EQ(encoded, static_cast<int>(batches.size()));  // "long"
}

TEST_F(ParquetDictionaryTest, LosesNothingWhenMemoryIsRefused) {
  const auto rows = SomeRows();
  parquet::WriterProperties::Builder builder;
  builder.data_pagesize(1000);
  WriteRows(Path("a.parquet"), &builder);
  auto request = Encoding(Path("a.parquet"));
  const auto budget = Budget::Make(400 << 10);
  request.pool = budget->root();
  auto held = ValueOf(budget->root()->Reserve(0));
  auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
  arrow::RecordBatchVector batches;
  std::mt19937_64 random(5);
  int refusals = 0;
  for (bool done = false; !done;) {
    // All but a little is somebody else's, for a while.
    (void)held.Resize(0);
    const int64_t free = budget->limit_bytes() - budget->root()->bytes_allocated();
    if (random() % 2 == 0)
      (void)held.Resize(std::max<int64_t>(0, free - static_cast<int64_t>(random() % 20000)));
    auto next = reader->Next();
    if (!next.ok()) {
      ASSERT_TRUE(next.status().IsOutOfMemory()) << next.status();
      ASSERT_LT(++refusals, 10000);
      continue;
    }
    done = !next->has_value();
    if (!done) batches.push_back((*next)->batch);
  }
  EXPECT_GT(refusals, 0);
  EXPECT_TRUE(ValueOf(Plain(batches, rows->schema()))->Equals(*TableOf({rows}, rows->schema())));
}

// What is wrong with a file does not depend on how it is read.
TEST_F(ParquetDictionaryTest, SaysTheSameOfDamagedFiles) {
  parquet::WriterProperties::Builder builder;
  builder.data_pagesize(300)->write_batch_size(50);
  WriteRows(Path("a.parquet"), &builder);
  const std::string whole = Bytes(Path("a.parquet"));
  const auto schema = SomeRows()->schema();
  std::mt19937_64 random(13);
  int damaged = 0;
  for (int round = 0; round < 300; ++round) {
    std::string bytes = whole;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << (random() % 8));
    auto out = ValueOf(Env::Default()->OpenWrite(Path("b.parquet")));
    ExpectOk(out->Write(bytes));
    ExpectOk(out->Close());
    const auto made = ParquetFormat()->Inspect(Env::Default(), Entry(Path("b.parquet")), Json::object(),
                                               Budget::Make(1 << 30)->root().get());
    if (!made.ok() || !made->schema->Equals(*schema)) continue;
    auto plain_request = Request(Path("b.parquet"), schema);
    plain_request.target_block_bytes = 4 << 10;
    auto encoding = Encoding(Path("b.parquet"));
    encoding.schema = schema;
    const auto expected = ReadAll(std::move(plain_request));
    const auto found = ReadAll(std::move(encoding));
    if (!expected.ok()) {
      ++damaged;
      continue;  // codes may be read of pages whose values nobody could read
    }
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_TRUE(ValueOf(Plain(*found, schema))->Equals(*ValueOf(Plain(*expected, schema)))) << round;
  }
  EXPECT_GT(damaged, 0);
}

}  // namespace
}  // namespace partita
