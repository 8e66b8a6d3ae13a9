#include <gtest/gtest.h>

#include "partita/storage/format_fixture.h"

namespace partita {
namespace {

class CsvTest : public FormatFixture {
 protected:
  const Format* csv_ = CsvFormat();
  std::shared_ptr<arrow::RecordBatch> Rows(const FileEntry& file, const Json& args = Json::object()) {
    auto schema = Inspect(csv_, file, args);
    EXPECT_TRUE(schema.ok()) << schema.status();
    const Read read = ReadFile(csv_, file, *schema, args);
    EXPECT_TRUE(read.status.ok()) << read.status;
    return read.Whole(*schema);
  }
};

TEST_F(CsvTest, GuessesTypesAndReads) {
  const FileEntry file = Put("t.csv",
                             "\xEF\xBB\xBFid,name,score,ok,day,at,none,big\r\n"
                             "1,ann,1.5,true,2024-01-31,2024-01-31 10:00:00,,12345678901234567890\r\n"
                             "\r\n"
                             "2,\"b,\"\"q\"\"\",3,false,2024-02-01,2024-01-31T10:00:00.5,NA,1\r\n"
                             "-3,,nan,true,NA,,,2");
  auto schema = *Inspect(csv_, file);
  EXPECT_EQ(schema->ToString(),
            "id: int64\nname: string\nscore: double\nok: bool\nday: date32[day]\nat: timestamp[us]\nnone: "
            "string\nbig: string");
  const auto rows = Rows(file);
  ASSERT_EQ(rows->num_rows(), 3);
  EXPECT_EQ((*rows->GetColumnByName("name")->GetScalar(1))->ToString(), "b,\"q\"");
  EXPECT_TRUE(rows->GetColumnByName("name")->IsNull(2));
  EXPECT_TRUE(rows->GetColumnByName("day")->IsNull(2));
  EXPECT_EQ((*rows->GetColumnByName("none")->GetScalar(1))->ToString(), "NA");
  EXPECT_EQ((*rows->GetColumnByName("id")->GetScalar(2))->ToString(), "-3");
}

TEST_F(CsvTest, Arguments) {
  const FileEntry file = Put("t.tsv", "# made by hand\nx;y\n'a;b';1\n'c';-\n");
  const Json args = {{"delimiter", ";"},
                     {"quote", "'"},
                     {"skip_rows", 1},
                     {"null_values", {"-"}},
                     {"column_types", {{"y", "float32"}}}};
  const auto rows = Rows(file, args);
  EXPECT_EQ(rows->schema()->ToString(), "x: string\ny: float");
  EXPECT_EQ((*rows->column(0)->GetScalar(0))->ToString(), "a;b");
  EXPECT_TRUE(rows->column(1)->IsNull(1));
  const FileEntry bare = Put("bare.csv", "1,a\n2,b\n");
  EXPECT_EQ(Rows(bare, {{"has_header", false}})->schema()->ToString(), "f0: int64\nf1: string");
  EXPECT_EQ(Rows(bare, {{"column_names", {"n", "s"}}})->num_rows(), 2);
  const FileEntry escaped = Put("esc.csv", "a,b\nx\\,y,\"q\\\"z\"\n");
  EXPECT_EQ((*Rows(escaped, {{"escape", "\\"}})->column(1)->GetScalar(0))->ToString(), "q\"z");
  auto wrong = Inspect(csv_, bare, {{"has_header", false}, {"column_types", {{"f9", "int64"}}}});
  EXPECT_EQ(KindOf(wrong.status()), ErrorKind::kUser);
  EXPECT_EQ(KindOf(Inspect(csv_, bare, {{"delimiter", "ab"}}).status()), ErrorKind::kUser);
}

TEST_F(CsvTest, EverySplitGivesTheSameRows) {
  const std::string text = "id,name\n1,a\n22,\"b,c\"\n\n333,\"\"\n4444,\n5,last";
  auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("name", arrow::utf8())});
  ExpectSameRowsAtEverySplit(csv_, Put("t.csv", text), schema);
  ExpectSameRowsAtEverySplit(csv_, Put("bom.csv", "\xEF\xBB\xBF" + text + "\n"), schema);
  ExpectSameRowsAtEverySplit(csv_, Put("skip.csv", "note\nother note\n" + text), schema, {{"skip_rows", 2}});
  auto bare = arrow::schema({arrow::field("f1", arrow::utf8())});
  ExpectSameRowsAtEverySplit(csv_, Put("bare.csv", "1,a\n2,b\n3,c\n"), bare, {{"has_header", false}});
}

TEST_F(CsvTest, SplitsCoverTheFile) {
  const FileEntry file = Put("t.csv", "a\n" + std::string(100, '1') + "\n");
  const auto fragments = *csv_->Split(file, nullptr, Json::object(), 10);
  ASSERT_EQ(fragments.size(), 11u);
  EXPECT_EQ(fragments.front().begin, 0);
  EXPECT_EQ(fragments.back().end, file.size_bytes);
  for (size_t i = 1; i < fragments.size(); ++i) EXPECT_EQ(fragments[i].begin, fragments[i - 1].end);
  EXPECT_EQ(csv_->Split(file, nullptr, {{"newlines_in_values", true}}, 10)->size(), 1u);
  FileEntry packed = file;
  packed.location += ".gz";
  EXPECT_EQ(csv_->Split(packed, nullptr, Json::object(), 10)->size(), 1u);
}

TEST_F(CsvTest, NewlinesInValues) {
  const FileEntry file = Put("t.csv", "a,b\n\"x\ny\",1\n\"\"\"\n\",2\n");
  const Json args = {{"newlines_in_values", true}};
  const auto schema = *Inspect(csv_, file, args);
  for (const int64_t block_bytes : {1, 7, 16, 1000}) {
    const Read read = ReadFile(csv_, file, schema, args, block_bytes);
    ASSERT_TRUE(read.status.ok()) << read.status;
    const auto rows = read.Whole(schema);
    ASSERT_EQ(rows->num_rows(), 2);
    EXPECT_EQ((*rows->column(0)->GetScalar(0))->ToString(), "x\ny");
    EXPECT_EQ((*rows->column(0)->GetScalar(1))->ToString(), "\"\n");
  }
  // Without the argument the same error comes for any block size.
  for (const int64_t block_bytes : {1, 1000}) {
    const Read read = ReadFile(csv_, file, schema, Json::object(), block_bytes);
    EXPECT_EQ(KindOf(read.status), ErrorKind::kData);
    EXPECT_NE(RenderError(read.status).find("newlines_in_values"), std::string::npos)
        << RenderError(read.status);
    EXPECT_NE(RenderError(read.status).find("line 2"), std::string::npos) << RenderError(read.status);
  }
}

TEST_F(CsvTest, BadRowsAreNamedAndTheOthersAreRead) {
  const FileEntry file = Put("t.csv", "a,b\n1,2\n3\n4,x\n\n5,6\n\"7\"8,9\n10,11\n");
  const auto schema = arrow::schema({arrow::field("a", arrow::int64()), arrow::field("b", arrow::int64())});
  for (const int64_t block_bytes : {1, 8, 1000}) {
    const Read read = ReadFile(csv_, file, schema, Json::object(), block_bytes, /*skip_bad=*/true);
    ASSERT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.rows, 3);
    EXPECT_EQ(read.error_rows, (std::vector<int64_t>{1, 2, 4}));
    ASSERT_EQ(read.errors.size(), 3u);
    EXPECT_EQ(read.errors[0].substr(0, 7), "line 3:");
    EXPECT_EQ(read.errors[1], "line 4: column 'b': 'x' is no int64");
    EXPECT_EQ(read.errors[2].substr(0, 7), "line 7:");
  }
  // In a range that begins later, the line is still the file's.
  Fragment range;
  range.file = file;
  range.range = Fragment::Range::kBytes;
  range.begin = 9;
  range.end = file.size_bytes;
  EXPECT_EQ(ReadFragment(csv_, range, schema, Json::object(), 1000, true).errors.at(0),
            "line 4: column 'b': 'x' is no int64");
}

TEST_F(CsvTest, EmptyFilesAndMissingColumns) {
  const auto schema = arrow::schema({arrow::field("a", arrow::int64())});
  const FileEntry empty = Put("empty.csv", "");
  EXPECT_EQ(KindOf(Inspect(csv_, empty).status()), ErrorKind::kData);
  EXPECT_EQ(ReadFile(csv_, empty, schema).rows, 0);
  EXPECT_TRUE(ReadFile(csv_, empty, schema).status.ok());
  const FileEntry header = Put("header.csv", "a,b\n");
  EXPECT_EQ(Rows(header)->num_rows(), 0);
  const Read read = ReadFile(csv_, Put("other.csv", "x\n1\n"), schema, Json::object(), 100, true);
  EXPECT_EQ(KindOf(read.status), ErrorKind::kData);
  EXPECT_NE(RenderError(read.status).find("other.csv"), std::string::npos);
  // No column at all: rows are still counted.
  EXPECT_EQ(ReadFile(csv_, Put("n.csv", "a\n1\n2\n"), arrow::schema(arrow::FieldVector())).rows, 2);
}

TEST_F(CsvTest, LittleMemoryGivesTheSameRowsOrAClearRefusal) {
  std::string text = "a,b\n";
  for (int i = 0; i < 20000; ++i) text += std::to_string(i) + ",some text that repeats\n";
  const FileEntry file = Put("t.csv", text);
  const auto schema = *Inspect(csv_, file);
  const auto expected = ReadFile(csv_, file, schema).Whole(schema);
  Fragment whole;
  whole.file = file;
  auto budget = Budget::Make(4 << 20);
  const Read read = ReadFragment(csv_, whole, schema, Json::object(), 64 << 10, false, budget);
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_TRUE(read.Whole(schema)->Equals(*expected));
  // Each refused allocation in turn: tried again, nothing lost.
  for (int64_t nth = 1; nth < 60; ++nth) {
    ReadRequest request;
    request.fragment = whole;
    request.schema = schema;
    request.env = Env::Default();
    auto fresh = Budget::Make(64 << 20);
    request.pool = fresh->root();
    request.target_block_bytes = 300 << 10;
    auto reader = csv_->OpenReader(std::move(request));
    ASSERT_TRUE(reader.ok()) << reader.status();
    fresh->FailNthAllocation(nth);
    int64_t rows = 0;
    while (true) {
      auto batch = (*reader)->Next();
      if (batch.status().IsOutOfMemory()) continue;
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (!*batch) break;
      EXPECT_EQ((*batch)->first_row, rows);
      rows += (*batch)->batch->num_rows();
    }
    EXPECT_EQ(rows, 20000);
  }
  const FileEntry fat = Put("fat.csv", "a\n" + std::string(8 << 20, 'x') + "\n");
  whole.file = fat;
  const Read refused = ReadFragment(csv_, whole, arrow::schema({arrow::field("a", arrow::utf8())}),
                                    Json::object(), 1 << 20, false, Budget::Make(4 << 20));
  EXPECT_TRUE(refused.status.IsOutOfMemory()) << refused.status;
  EXPECT_NE(RenderError(refused.status).find("fat.csv"), std::string::npos);
}

TEST_F(CsvTest, WritesWhatItReads) {
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("n", arrow::int64()), arrow::field("a \"b\"", arrow::utf8()),
                     arrow::field("f", arrow::float64()), arrow::field("bytes", arrow::binary())}),
      3,
      {ColumnOf<arrow::Int64Builder, int64_t>({1, std::nullopt, -3}),
       ColumnOf<arrow::StringBuilder, std::string>({"x,\"y\"", "", std::nullopt}),
       ColumnOf<arrow::DoubleBuilder, double>({0.1, 2.0, std::nullopt}),
       ColumnOf<arrow::BinaryBuilder, std::string>({"hi", std::string(), std::nullopt})});
  const std::string text = *Write(csv_, {batch});
  EXPECT_EQ(text,
            "n,\"a \"\"b\"\"\",f,bytes\n"
            "1,\"x,\"\"y\"\"\",0.1,aGk=\n"
            ",\"\",2.0,\"\"\n"
            "-3,,,\n");
  EXPECT_EQ(*Write(csv_, {batch->Slice(0, 1), batch->Slice(1)}), text);
  const auto again = Rows(Put("again.csv", text));
  EXPECT_TRUE(again->column(1)->Equals(batch->column(1)));
  EXPECT_TRUE(again->column(2)->Equals(batch->column(2)));
  // A cell longer than any window.
  auto fat =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("s", arrow::utf8())}), 1,
                               {ColumnOf<arrow::StringBuilder, std::string>({std::string(700000, '"')})});
  EXPECT_TRUE(Rows(Put("fat.csv", *Write(csv_, {fat})))->Equals(*fat));
}

}  // namespace
}  // namespace partita
