#include <arrow/util/compression.h>
#include <gtest/gtest.h>

#include "partita/storage/format_fixture.h"

namespace partita {
namespace {

class JsonlTest : public FormatFixture {
 protected:
  const Format* jsonl_ = JsonlFormat();
  std::shared_ptr<arrow::RecordBatch> Rows(const FileEntry& file, const Json& args = Json::object()) {
    auto schema = Inspect(jsonl_, file, args);
    EXPECT_TRUE(schema.ok()) << schema.status();
    const Read read = ReadFile(jsonl_, file, *schema, args);
    EXPECT_TRUE(read.status.ok()) << read.status;
    return read.Whole(*schema);
  }
  static std::string Compress(arrow::Compression::type type, std::string_view text) {
    auto codec = *arrow::util::Codec::Create(type);
    std::string out(static_cast<size_t>(codec->MaxCompressedLen(static_cast<int64_t>(text.size()), nullptr)),
                    '\0');
    const int64_t size =
        *codec->Compress(static_cast<int64_t>(text.size()), reinterpret_cast<const uint8_t*>(text.data()),
                         static_cast<int64_t>(out.size()), reinterpret_cast<uint8_t*>(out.data()));
    out.resize(static_cast<size_t>(size));
    return out;
  }
};

TEST_F(JsonlTest, GuessesTypesAndReads) {
  const FileEntry file =
      Put("t.jsonl",
          "{\"id\": 1, \"f\": 1, \"s\": \"a\\u00e9\\n\\ud83d\\ude00\", \"tags\": [\"x\", null], \"o\": "
          "{\"k\": true}}\r\n"
          "\n"
          "{\"s\": null, \"f\": 2.5, \"id\": -2, \"extra\": [], \"big\": 12345678901234567890, \"mix\": 1}\n"
          "{\"o\": {\"k\": null, \"j\": [1, 2]}, \"mix\": {\"a\": [1]}, \"nothing\": null}");
  const auto rows = Rows(file);
  EXPECT_EQ(rows->schema()->ToString(),
            "id: int64\nf: double\ns: string\ntags: list<item: string>\n"
            "o: struct<k: bool, j: list<item: int64>>\nextra: list<item: string>\nbig: string\nmix: "
            "string\nnothing: string");
  ASSERT_EQ(rows->num_rows(), 3);
  EXPECT_EQ((*rows->GetColumnByName("s")->GetScalar(0))->ToString(), "a\xC3\xA9\n\xF0\x9F\x98\x80");
  EXPECT_EQ((*rows->GetColumnByName("big")->GetScalar(1))->ToString(), "12345678901234567890");
  EXPECT_EQ((*rows->GetColumnByName("mix")->GetScalar(2))->ToString(), "{\"a\": [1]}");
  EXPECT_TRUE(rows->GetColumnByName("id")->IsNull(2));
}

TEST_F(JsonlTest, EverySplitGivesTheSameRows) {
  auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())});
  const std::string text =
      "{\"a\":1,\"b\":\"x\"}\n{\"a\":22}\r\n\n  \n{\"b\":\"long enough to cross\"}\n{\"a\":4}";
  ExpectSameRowsAtEverySplit(jsonl_, Put("t.jsonl", text), schema);
  ExpectSameRowsAtEverySplit(jsonl_, Put("u.jsonl", "\xEF\xBB\xBF" + text + "\n\n"), schema);
  auto lines = arrow::schema({arrow::field("text", arrow::utf8())});
  ExpectSameRowsAtEverySplit(TextFormat(), Put("t.txt", "one\n\n\ntwo\r\nthree"), lines);
}

TEST_F(JsonlTest, BadLinesAreNamedAndTheOthersAreRead) {
  const FileEntry file =
      Put("t.jsonl",
          "{\"a\":1}\n{\"a\":\n{\"a\":\"x\"}\n[1]\n{\"a\":1,\"a\":2}\n{\"a\":2} x\n{\"a\":01}\n"
          "{\"a\":3,}\n{\"b\":\"\\ud800\",\"a\":4}\n{\"a\":1.5}\n{\"a\":99999999999999999999}\n{\"a\":6}\n");
  const auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())});
  for (const int64_t block_bytes : {1, 20, 1000}) {
    const Read read = ReadFile(jsonl_, file, schema, Json::object(), block_bytes, true);
    ASSERT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.rows, 3);
    ASSERT_EQ(read.errors.size(), 9u);
    EXPECT_EQ(read.errors[1], "line 3: 'a': '\"x\"' is no int64");
    EXPECT_EQ(read.errors[3], "line 5: the name 'a' occurs twice in one object");
    const auto expected = ColumnOf<arrow::Int64Builder, int64_t>({1, 4, 6});
    EXPECT_TRUE(read.Whole(schema)->column(0)->Equals(expected));
  }
  const Read read = ReadFile(jsonl_, file, schema);
  EXPECT_EQ(DetailOf(read.status)->context.row, 1);
  EXPECT_NE(RenderError(read.status).find("t.jsonl"), std::string::npos);
  const FileEntry array = Put("a.json", "[{\"a\": 1}]\n");
  EXPECT_NE(RenderError(Inspect(jsonl_, array).status()).find("JSON array"), std::string::npos);
  const FileEntry deep = Put("deep.jsonl", "{\"a\":" + std::string(100000, '[') + "\n{\"a\":1}\n");
  EXPECT_EQ(Inspect(jsonl_, deep).ValueOrDie()->ToString(), "a: int64");
  EXPECT_EQ(ReadFile(jsonl_, deep, schema, Json::object(), 1000, true).errors.size(), 1u);
}

TEST_F(JsonlTest, EmptyFiles) {
  const FileEntry empty = Put("e.jsonl", "");
  EXPECT_EQ(KindOf(Inspect(jsonl_, empty).status()), ErrorKind::kData);
  EXPECT_EQ((*Inspect(jsonl_, empty, {{"column_types", {{"a", "int64"}}}}))->ToString(), "a: int64");
  const Read read = ReadFile(jsonl_, empty, arrow::schema({arrow::field("a", arrow::int64())}));
  EXPECT_TRUE(read.status.ok() && read.rows == 0);
  EXPECT_EQ(ReadFile(jsonl_, Put("c.jsonl", "{\"a\":1}\n{}\n"), arrow::schema(arrow::FieldVector())).rows, 2);
}

TEST_F(JsonlTest, CompressedFilesAreReadWhole) {
  std::string text;
  for (int i = 0; i < 5000; ++i) text += "{\"a\":" + std::to_string(i) + "}\n";
  const auto schema = arrow::schema({arrow::field("a", arrow::int64())});
  for (const auto& [name, type] :
       {std::pair("t.jsonl.gz", arrow::Compression::GZIP), {"t.jsonl.zst", arrow::Compression::ZSTD}}) {
    const std::string packed = Compress(type, text);
    // Two members one after the other, as cat makes them.
    EXPECT_EQ(ReadFile(jsonl_, Put(name, packed + packed), schema).rows, 10000) << name;
    const Read cut =
        ReadFile(jsonl_, Put(std::string("cut-") + name, packed.substr(0, packed.size() / 2)), schema);
    EXPECT_EQ(KindOf(cut.status), ErrorKind::kData) << name << cut.status;
    if (type == arrow::Compression::GZIP) {  // which has a checksum
      std::string damaged = packed;
      damaged[packed.size() / 2] ^= 0x55;
      EXPECT_FALSE(ReadFile(jsonl_, Put("bad.jsonl.gz", damaged), schema).status.ok());
    }
    const Read none = ReadFile(jsonl_, Put(std::string("none-") + name, "no compressed file"), schema);
    EXPECT_EQ(KindOf(none.status), ErrorKind::kData);
  }
}

TEST_F(JsonlTest, ABombStaysInTheBudget) {
  // 64 MiB of one line, in 64 KiB.
  const std::string bomb = Compress(arrow::Compression::GZIP, std::string(64 << 20, ' '));
  ASSERT_LT(bomb.size(), 100u << 10);
  const auto schema = arrow::schema({arrow::field("a", arrow::int64())});
  Fragment whole;
  whole.file = Put("bomb.jsonl.gz", bomb);
  auto budget = Budget::Make(8 << 20);
  const Read read = ReadFragment(jsonl_, whole, schema, Json::object(), 1 << 20, false, budget);
  EXPECT_TRUE(read.status.IsOutOfMemory()) << read.status;
  EXPECT_LE(budget->peak_bytes(), 8 << 20);
  // The same as lines is only long.
  std::string lines(16 << 20, ' ');
  for (size_t i = 99; i < lines.size(); i += 100) lines[i] = '\n';
  whole.file = Put("long.jsonl.gz", Compress(arrow::Compression::GZIP, lines + "{\"a\":1}\n"));
  const Read long_read = ReadFragment(jsonl_, whole, schema, Json::object(), 1 << 20, false, budget);
  EXPECT_TRUE(long_read.status.ok()) << long_read.status;
  EXPECT_EQ(long_read.rows, 1);
}

TEST_F(JsonlTest, AllTypesComeBack) {
  std::shared_ptr<arrow::RecordBatch> batch;
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  const auto add = [&](const std::string& name, const std::shared_ptr<arrow::Array>& array) {
    fields.push_back(arrow::field(name, array->type()));
    arrays.push_back(array);
  };
  add("bool", ColumnOf<arrow::BooleanBuilder, bool>({true, false, std::nullopt}));
  add("int64", ColumnOf<arrow::Int64Builder, int64_t>({INT64_MIN, INT64_MAX, std::nullopt}));
  add("uint64", ColumnOf<arrow::UInt64Builder, uint64_t>({UINT64_MAX, 0, std::nullopt}));
  add("float",
      ColumnOf<arrow::FloatBuilder, float>({0.1f, -std::numeric_limits<float>::infinity(), std::nullopt}));
  add("double", ColumnOf<arrow::DoubleBuilder, double>({0.1 + 0.2, 5e-324, -0.0}));
  add("string", ColumnOf<arrow::StringBuilder, std::string>(
                    {"\x01\"\\\t\xF0\x9F\x98\x80", std::string("\0", 1), std::nullopt}));
  add("binary", ColumnOf<arrow::BinaryBuilder, std::string>({"\xFF\xFE", "abcd", std::nullopt}));
  add("date", ColumnOf<arrow::Date32Builder, int32_t>({-1, 19000, std::nullopt}));
  for (const auto& [name, scalar_type, text] :
       std::vector<std::tuple<std::string, std::shared_ptr<arrow::DataType>, std::string>>{
           {"ts", arrow::timestamp(arrow::TimeUnit::NANO), "1969-12-31 23:59:59.000000001"},
           {"utc", arrow::timestamp(arrow::TimeUnit::MILLI, "Europe/Berlin"), "2024-02-29T12:00:00.250"},
           {"time", arrow::time64(arrow::TimeUnit::MICRO), "23:59:59.000001"},
           {"large", arrow::large_utf8(), "word"}}) {
    auto scalar = *arrow::Scalar::Parse(scalar_type, text);
    add(name, *arrow::MakeArrayFromScalar(*scalar, 3));
  }
  add("decimal", *arrow::MakeArrayFromScalar(
                     arrow::Decimal128Scalar(arrow::Decimal128(-123456700), arrow::decimal128(20, 4)), 3));
  {
    arrow::MemoryPool* pool = arrow::default_memory_pool();
    auto items = std::make_shared<arrow::Int64Builder>(pool);
    arrow::MapBuilder map(pool, std::make_shared<arrow::StringBuilder>(pool), items);
    arrow::ListBuilder list(pool, std::make_shared<arrow::Int32Builder>(pool));
    for (int i = 0; i < 3; ++i) {
      if (i == 1) {
        ASSERT_TRUE(map.AppendNull().ok() && list.AppendNull().ok());
        continue;
      }
      ASSERT_TRUE(map.Append().ok() && list.Append().ok());
      for (int j = 0; j < i; ++j) {
        ASSERT_TRUE(
            static_cast<arrow::StringBuilder*>(map.key_builder())->Append("k" + std::to_string(j)).ok());
        ASSERT_TRUE(items->Append(j).ok());
        ASSERT_TRUE(static_cast<arrow::Int32Builder*>(list.value_builder())->Append(j).ok());
      }
    }
    add("map", *map.Finish());
    add("list", *list.Finish());
    add("struct", *arrow::StructArray::Make({arrays[0], arrays.back()}, std::vector<std::string>{"x", "y"}));
  }
  batch = arrow::RecordBatch::Make(arrow::schema(fields), 3, arrays);
  const std::string text = *Write(jsonl_, {batch});
  EXPECT_EQ(*Write(jsonl_, {batch->Slice(0, 2), batch->Slice(2)}), text);
  const Read read = ReadFile(jsonl_, Put("t.jsonl", text), batch->schema());
  ASSERT_TRUE(read.status.ok()) << read.status << "\n" << text;
  const auto again = read.Whole(batch->schema());
  for (int i = 0; i < batch->num_columns(); ++i) {
    EXPECT_TRUE(again->column(i)->Equals(batch->column(i), arrow::EqualOptions().signed_zeros_equal(false)))
        << batch->schema()->field(i)->ToString() << "\n"
        << again->column(i)->ToString() << "\n"
        << text;
  }
}

TEST_F(JsonlTest, WritesFixedText) {
  auto floats =
      ColumnOf<arrow::DoubleBuilder, double>({1.0, 1e300, std::numeric_limits<double>::quiet_NaN()});
  auto strings = ColumnOf<arrow::StringBuilder, std::string>({"a\xFFz", "\x7f", std::nullopt});
  auto words =
      *arrow::DictionaryArray::FromArrays(ColumnOf<arrow::Int8Builder, int8_t>({1, std::nullopt, 0}),
                                          ColumnOf<arrow::StringBuilder, std::string>({"no", "yes"}));
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("f", arrow::float64()), arrow::field("s\"", arrow::utf8()),
                     arrow::field("d", words->type())}),
      3, {floats, strings, words});
  EXPECT_EQ(*Write(jsonl_, {batch}),
            "{\"f\":1.0,\"s\\\"\":\"a\xEF\xBF\xBDz\",\"d\":\"yes\"}\n"
            "{\"f\":1e+300,\"s\\\"\":\"\x7f\",\"d\":null}\n"
            "{\"f\":\"NaN\",\"s\\\"\":null,\"d\":\"no\"}\n");
  EXPECT_NE(Write(jsonl_, {batch}, {{"skip_nulls", true}})->find("{\"f\":\"NaN\",\"d\":\"no\"}\n"),
            std::string::npos);
}

TEST_F(JsonlTest, TextLines) {
  const auto schema = arrow::schema({arrow::field("text", arrow::utf8())});
  const FileEntry file = Put("t.txt", "a\n\nb\xFF\nc\r\n");
  EXPECT_EQ(ReadFile(TextFormat(), file, schema, {{"on_invalid", "replace"}}).rows, 4);
  EXPECT_EQ(
      ReadFile(TextFormat(), file, schema, {{"on_invalid", "replace"}, {"drop_empty_lines", true}}).rows, 3);
  const Read read = ReadFile(TextFormat(), file, schema, Json::object(), 100, true);
  EXPECT_EQ(read.error_rows, (std::vector<int64_t>{2}));
  EXPECT_EQ(ReadFile(TextFormat(), Put("e.txt", ""), schema).rows, 0);
  EXPECT_EQ(ReadFile(TextFormat(), file, arrow::schema({arrow::field("text", arrow::binary())})).rows, 4);
}

TEST_F(JsonlTest, FilesAsRows) {
  const Format* files = FilesFormat();
  const FileEntry file = Put("x.bin", std::string("\0\1\2", 3));
  const auto schema = *Inspect(files, file);
  const auto rows = ReadFile(files, file, schema).Whole(schema);
  ASSERT_EQ(rows->num_rows(), 1);
  EXPECT_EQ((*rows->GetColumnByName("size")->GetScalar(0))->ToString(), "3");
  EXPECT_EQ(static_cast<const arrow::BinaryArray&>(*rows->GetColumnByName("bytes")).GetView(0),
            std::string_view("\0\1\2", 3));
  EXPECT_FALSE(rows->GetColumnByName("modified")->IsNull(0));
  // Without `bytes` the file is not opened: it may even be gone.
  std::filesystem::remove(Path("x.bin"));
  EXPECT_EQ(ReadFile(files, file, arrow::schema({schema->field(0)})).rows, 1);
  EXPECT_EQ(KindOf(ReadFile(files, file, schema).status), ErrorKind::kEnvironment);
  Fragment whole;
  whole.file = Put("big.bin", std::string(8 << 20, 'x'));
  const Read refused =
      ReadFragment(files, whole, schema, Json::object(), 1 << 20, false, Budget::Make(4 << 20));
  EXPECT_TRUE(refused.status.IsOutOfMemory());
  EXPECT_NE(RenderError(refused.status).find("big.bin"), std::string::npos) << RenderError(refused.status);
}

}  // namespace
}  // namespace partita
