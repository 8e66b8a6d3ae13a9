// The Parquet format as its users see it: round trips, inspection, splits, projection, types, filters.
#include <arrow/compute/cast.h>
#include <gmock/gmock.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include <fstream>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

// One column of each kind, `rows` rows with nulls.
std::shared_ptr<arrow::RecordBatch> EveryType(int64_t rows) {
  arrow::FieldVector fields;
  arrow::ArrayVector columns;
  const auto ints = Ints(rows, [](int64_t i) { return i % 100; });
  auto add = [&](const std::string& name, std::shared_ptr<arrow::Array> array) {
    fields.push_back(arrow::field(name, array->type()));
    columns.push_back(std::move(array));
  };
  auto cast = [&](const std::shared_ptr<arrow::DataType>& type) {
    return ValueOf(arrow::compute::Cast(*ints, type));
  };
  for (const auto& type :
       {arrow::int8(), arrow::int16(), arrow::int32(), arrow::int64(), arrow::uint8(), arrow::uint16(),
        arrow::uint32(), arrow::uint64(), arrow::float32(), arrow::float64(), arrow::boolean(),
        arrow::timestamp(arrow::TimeUnit::MICRO), arrow::timestamp(arrow::TimeUnit::NANO, "UTC"),
        arrow::duration(arrow::TimeUnit::MICRO), arrow::time64(arrow::TimeUnit::MICRO),
        arrow::decimal128(30, 3), arrow::decimal256(50, 3)}) {
    add(type->ToString(), cast(type));
  }
  add("date32", ValueOf(ValueOf(arrow::compute::Cast(*ints, arrow::int32()))->View(arrow::date32())));
  const auto text =
      Strings(rows, [](int64_t i) { return i % 5 == 0 ? "\x01null" : "text " + std::to_string(i % 17); });
  add("string", text);
  for (const auto& type : {arrow::large_utf8(), arrow::binary(), arrow::large_binary(), arrow::utf8_view()}) {
    add(type->ToString(), ValueOf(arrow::compute::Cast(*text, type)));
  }
  add("dictionary", ValueOf(arrow::compute::Cast(*text, arrow::dictionary(arrow::int32(), arrow::utf8()))));
  add("null", ValueOf(arrow::MakeArrayOfNull(arrow::null(), rows)));

  arrow::Int32Builder offsets;
  for (int64_t i = 0; i <= rows; ++i) (void)offsets.Append(static_cast<int32_t>(i * i / (2 * rows + 1)));
  const auto offset_array = ValueOf(offsets.Finish());
  add("list", ValueOf(arrow::ListArray::FromArrays(*offset_array, *text)));
  add("map", ValueOf(arrow::MapArray::FromArrays(offset_array, ints, text)));
  add("struct", ValueOf(arrow::StructArray::Make({ints, text, columns[columns.size() - 2]},
                                                 std::vector<std::string>{"a", "b", "c"})));
  add("fixed",
      ValueOf(arrow::FixedSizeListArray::FromArrays(Ints(rows * 3, [](int64_t i) { return i; }), 3)));
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows, std::move(columns));
}

std::shared_ptr<arrow::RecordBatch> Numbers(int64_t rows) {
  auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("name", arrow::utf8())});
  return arrow::RecordBatch::Make(schema, rows,
                                  {Ints(rows, [](int64_t i) { return i; }),
                                   Strings(rows, [](int64_t i) { return "name " + std::to_string(i); })});
}

void WriteWithArrow(
    const std::string& path, const arrow::RecordBatch& rows, int64_t group_rows,
    std::shared_ptr<parquet::WriterProperties> properties = parquet::default_writer_properties()) {
  auto out = ValueOf(Env::Default()->OpenWrite(path));
  auto table = ValueOf(arrow::Table::FromRecordBatches(
      {arrow::RecordBatch::Make(rows.schema(), rows.num_rows(), rows.columns())}));
  ExpectOk(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, group_rows, properties));
  ExpectOk(out->Close());
}

TEST_F(ParquetTest, EveryTypeComesBack) {
  for (const int64_t rows : {1, 10, 3000}) {
    const auto batch = EveryType(rows);
    for (const char* codec : {"none", "snappy", "gzip", "zstd", "lz4", "brotli"}) {
      WriteBatches(Path("t.parquet"), Cut(batch, 7, 1000),
                   {{"compression", codec}, {"row_group_size", 1000}});
      const auto info = Inspect(Path("t.parquet"));
      EXPECT_TRUE(info.schema->Equals(*batch->schema(), false)) << info.schema->ToString();
      EXPECT_EQ(info.num_rows, rows);
      EXPECT_EQ(info.units.size(), static_cast<size_t>((rows + 999) / 1000));
      const auto read = TableOf(ValueOf(ReadAll(Request(Path("t.parquet")))), info.schema);
      ExpectOk(read->ValidateFull());
      const auto wrote = TableOf({batch}, batch->schema());
      for (int c = 0; c < wrote->num_columns(); ++c) {
        // Dictionaries of batches differ in what they number, not in values.
        auto left = read->column(c), right = wrote->column(c);
        if (left->type()->id() == arrow::Type::DICTIONARY) {
          left = ValueOf(arrow::compute::Cast(left, arrow::utf8())).chunked_array();
          right = ValueOf(arrow::compute::Cast(right, arrow::utf8())).chunked_array();
        }
        EXPECT_TRUE(left->Equals(*right)) << codec << " " << wrote->field(c)->ToString();
      }
    }
  }
}

TEST_F(ParquetTest, NoRowsAndNoColumns) {
  const auto none = Numbers(0);
  WriteBatches(Path("empty.parquet"), {none});
  EXPECT_EQ(Inspect(Path("empty.parquet")).num_rows, 0);
  EXPECT_TRUE(Inspect(Path("empty.parquet")).schema->Equals(*none->schema()));
  EXPECT_TRUE(ValueOf(ReadAll(Request(Path("empty.parquet")))).empty());

  WriteBatches(Path("t.parquet"), {Numbers(200'000)});
  int64_t rows = 0;
  for (const auto& batch :
       ValueOf(ReadAll(Request(Path("t.parquet"), arrow::schema(arrow::FieldVector{}))))) {
    rows += batch->num_rows();
  }
  EXPECT_EQ(rows, 200'000);
}

TEST_F(ParquetTest, AnArrowFileIsReadInAnyColumnOrder) {
  const auto batch = EveryType(1000);
  WriteWithArrow(Path("t.parquet"), *batch, 300);
  auto wanted = arrow::schema(
      {batch->schema()->field(5), batch->schema()->GetFieldByName("struct"), batch->schema()->field(0)});
  std::vector<int64_t> first_rows;
  const auto batches = ValueOf(ReadAll(Request(Path("t.parquet"), wanted), &first_rows));
  const auto read = TableOf(batches, wanted);
  EXPECT_TRUE(read->column(0)->Equals(arrow::ChunkedArray(batch->column(5))));
  EXPECT_TRUE(read->column(1)->Equals(arrow::ChunkedArray(batch->GetColumnByName("struct"))));
  int64_t row = 0;
  for (size_t i = 0; i < batches.size(); ++i) {
    EXPECT_EQ(first_rows[i], row);
    row += batches[i]->num_rows();
  }
  EXPECT_EQ(row, 1000);
}

TEST_F(ParquetTest, SplitsByUnitsAndByRows) {
  WriteBatches(Path("t.parquet"), {Numbers(10'000)}, {{"row_group_size", 1000}});
  const auto info = Inspect(Path("t.parquet"));
  const auto entry = Entry(Path("t.parquet"));
  EXPECT_EQ(ValueOf(ParquetFormat()->Split(entry, nullptr, Json::object(), 1 << 30)).size(), 1u);
  for (const auto& [args, target] :
       std::vector<std::pair<Json, int64_t>>{{Json::object(), entry.size_bytes / 3},
                                             {Json::object(), 1},
                                             {{{"rows_per_partition", 777}}, 1 << 30}}) {
    const auto fragments = ValueOf(ParquetFormat()->Split(entry, &info, args, target));
    EXPECT_GT(fragments.size(), 2u);
    int64_t row = 0;
    for (const auto& fragment : fragments) {
      auto request = Request(Path("t.parquet"));
      request.fragment = ValueOf(Fragment::FromJson(fragment.ToJson()));
      std::vector<int64_t> first_rows;
      const auto batches = ValueOf(ReadAll(std::move(request), &first_rows));
      ASSERT_FALSE(batches.empty());
      EXPECT_EQ(first_rows[0], 0);  // ordinals count from the fragment's first row
      for (const auto& batch : batches) {
        EXPECT_EQ(static_cast<const arrow::Int64Array&>(*batch->column(0)).Value(0), row);
        row += batch->num_rows();
      }
      if (args.contains("rows_per_partition") && row < 10'000) {
        EXPECT_EQ(row % 777, 0);
      }
    }
    EXPECT_EQ(row, 10'000);
  }
}

TEST_F(ParquetTest, ALimitStopsEarly) {
  WriteBatches(Path("t.parquet"), {Numbers(500'000)}, {{"row_group_size", 50'000}});
  auto request = Request(Path("t.parquet"));
  request.max_rows = 5;
  auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
  const auto first = ValueOf(reader->Next());
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->batch->num_rows(), 5);
  EXPECT_FALSE(ValueOf(reader->Next()).has_value());
  EXPECT_LT(reader->bytes_read(), 300 << 10);
}

TEST_F(ParquetTest, RowGroupsThatCannotMatchAreNotRead) {
  WriteBatches(Path("t.parquet"), {Numbers(10'000)}, {{"row_group_size", 1000}});
  auto request = Request(Path("t.parquet"));
  request.filter = ValueOf(Expression::Parse("id >= 4500 and id < 5200"));
  std::vector<int64_t> first_rows;
  const auto batches = ValueOf(ReadAll(std::move(request), &first_rows));
  int64_t rows = 0;
  for (const auto& batch : batches) rows += batch->num_rows();
  EXPECT_EQ(rows, 2000);
  EXPECT_EQ(first_rows.at(0), 4000);  // as if nothing had been skipped
}

TEST_F(ParquetTest, DeclaredTypesWinWhereNothingIsLost) {
  auto schema = arrow::schema({arrow::field("id", arrow::int32()), arrow::field("name", arrow::utf8())});
  const auto rows = Numbers(100);
  WriteBatches(
      Path("t.parquet"),
      {arrow::RecordBatch::Make(
          schema, 100, {ValueOf(arrow::compute::Cast(*rows->column(0), arrow::int32())), rows->column(1)})});
  auto wide = arrow::schema({arrow::field("name", arrow::large_utf8()), arrow::field("id", arrow::int64())});
  const auto read = TableOf(ValueOf(ReadAll(Request(Path("t.parquet"), wide))), wide);
  EXPECT_TRUE(read->column(1)->Equals(arrow::ChunkedArray(rows->column(0))));

  auto narrow = arrow::schema({arrow::field("id", arrow::int8())});
  EXPECT_TRUE(ReadAll(Request(Path("t.parquet"), narrow)).ok());  // 0 to 99 fit
  WriteBatches(Path("large.parquet"), {Numbers(1000)});
  const auto lost = ReadAll(Request(Path("large.parquet"), narrow)).status();
  EXPECT_EQ(KindOf(lost), ErrorKind::kData);
  EXPECT_THAT(lost.ToString(), ::testing::AllOf(::testing::HasSubstr("'id'"), ::testing::HasSubstr("int64"),
                                                ::testing::HasSubstr("int8")));

  const auto other =
      ReadAll(Request(Path("t.parquet"), arrow::schema({arrow::field("id", arrow::utf8())}))).status();
  EXPECT_EQ(KindOf(other), ErrorKind::kData);
  const auto missing =
      ReadAll(Request(Path("t.parquet"), arrow::schema({arrow::field("nam", arrow::utf8())}))).status();
  EXPECT_EQ(KindOf(missing), ErrorKind::kData);
  EXPECT_THAT(missing.ToString(), ::testing::HasSubstr("'name'"));
}

TEST_F(ParquetTest, BadArgumentsAreTheUsersErrors) {
  const auto pool = Budget::Make(1 << 30)->root();
  auto status_of = [&](const Json& args) {
    WriteRequest request;
    request.schema = Numbers(0)->schema();
    request.args = &args;
    request.pool = pool;
    request.env = Env::Default();
    return ParquetFormat()
        ->OpenWriter(ValueOf(Env::Default()->OpenWrite(Path("t.parquet"))), std::move(request))
        .status();
  };
  EXPECT_EQ(KindOf(status_of({{"compression", "lzma"}})), ErrorKind::kUser);
  EXPECT_EQ(KindOf(status_of({{"row_group_size", 0}})), ErrorKind::kUser);
  EXPECT_EQ(KindOf(status_of({{"compression", "snappy"}, {"compression_level", 3}})), ErrorKind::kUser);
  EXPECT_EQ(KindOf(status_of({{"compression", "zstd"}, {"compression_level", 99}})), ErrorKind::kUser);
  EXPECT_TRUE(
      status_of({{"compression", nullptr}, {"row_group_bytes", "1MiB"}, {"dictionary", nullptr}}).ok());
}

TEST_F(ParquetTest, NotAParquetFile) {
  for (const std::string& bytes :
       {std::string(), std::string("PAR1PAR1"), std::string(100, 'x'),
        std::string("PAR1\xff\xff\xff\x7fPAR1"), std::string("PAR1aaaa\x04\0\0\0PAR1", 16)}) {
    std::ofstream(Path("x.parquet")) << bytes;
    const auto status = ParquetFormat()
                            ->Inspect(Env::Default(), Entry(Path("x.parquet")), Json::object(),
                                      Budget::Make(1 << 30)->root().get())
                            .status();
    EXPECT_EQ(KindOf(status), ErrorKind::kData) << status.ToString();
    EXPECT_THAT(RenderError(status), ::testing::HasSubstr("x.parquet"));
  }
}

}  // namespace
}  // namespace partita
