// Columns of numbers: the same bytes however rows are batched, bit for bit what was written, and footers that
// tell the truth.
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/statistics.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

// About a fifth of them null, where they may be.
template <typename Builder>
std::shared_ptr<arrow::Array> Numbers(int64_t rows, bool nulls,
                                      const std::function<typename Builder::value_type(int64_t)>& value) {
  Builder builder;
  for (int64_t i = 0; i < rows; ++i)
    ExpectOk(nulls && i * 7919 % 5 == 0 ? builder.AppendNull() : builder.Append(value(i)));
  return ValueOf(builder.Finish());
}

template <typename T>
T As(const std::string& bytes) {
  T value;
  EXPECT_EQ(bytes.size(), sizeof(T));
  std::memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

using ParquetNumbersTest = ParquetTest;

TEST_F(ParquetNumbersTest, BytesDoNotDependOnBatches) {
  constexpr int64_t kRows = 50'000;
  std::mt19937_64 random(3);
  const arrow::ArrayVector columns = {
      Numbers<arrow::Int64Builder>(kRows, true, [&](int64_t) { return static_cast<int64_t>(random() % 70); }),
      Numbers<arrow::Int64Builder>(kRows, false, [](int64_t i) { return i * 1'000'003; }),
      // Its dictionary ends.
      Numbers<arrow::Int64Builder>(kRows, true, [](int64_t i) { return i < 2'000 ? i % 10 : i / 2; }),
      Numbers<arrow::Int32Builder>(kRows, true, [&](int64_t i) { return static_cast<int32_t>(i / 900); }),
      Numbers<arrow::DoubleBuilder>(kRows, true,
                                    [&](int64_t i) {
                                      const double some[] = {0.0, -0.0, NAN, INFINITY, 1e-300};
                                      return i % 3 == 0 ? some[random() % 5]
                                                        : static_cast<double>(random() % 30'000);
                                    }),
      Numbers<arrow::FloatBuilder>(kRows, false, [&](int64_t) { return static_cast<float>(random()) / 3; }),
      Numbers<arrow::Date32Builder>(kRows, true, [](int64_t i) { return static_cast<int32_t>(i % 400); }),
  };
  arrow::FieldVector fields;
  for (const auto& column : columns)
    fields.push_back(
        arrow::field("c" + std::to_string(fields.size()), column->type(), column->null_count() > 0));
  const auto rows = arrow::RecordBatch::Make(arrow::schema(fields), kRows, columns)->Slice(13, kRows - 20);
  for (const char* codec : {"none", "zstd"}) {
    for (const bool dictionary : {true, false}) {
      const Json args = {{"compression", codec}, {"row_group_size", 30'000}, {"dictionary", dictionary}};
      WriteBatches(Path("whole.parquet"), {rows}, args);
      const std::string whole = Bytes(Path("whole.parquet"));
      for (const int64_t longest : {20'000, 300}) {
        WriteBatches(Path("cut.parquet"), Cut(rows, static_cast<uint64_t>(longest), longest), args);
        EXPECT_TRUE(Bytes(Path("cut.parquet")) == whole) << longest;
      }
      const auto options = arrow::EqualOptions::Defaults().nans_equal(true).signed_zeros_equal(false);
      const auto expected = TableOf({rows}, rows->schema());
      const auto read = TableOf(ValueOf(ReadAll(Request(Path("whole.parquet")))), rows->schema());
      EXPECT_TRUE(read->Equals(*expected, options));
      auto reader = ValueOf(parquet::arrow::FileReader::Make(
          arrow::default_memory_pool(), parquet::ParquetFileReader::OpenFile(Path("whole.parquet"))));
      EXPECT_TRUE(ValueOf(reader->ReadTable())->Equals(*expected, options));
    }
  }
}

TEST_F(ParquetNumbersTest, TheFooterTellsWhatAChunkHas) {
  constexpr int64_t kRows = 3'000;
  const arrow::ArrayVector columns = {
      Numbers<arrow::Int64Builder>(kRows, true, [](int64_t i) { return 500 - i; }),
      Numbers<arrow::DoubleBuilder>(kRows, false, [](int64_t i) { return i % 2 == 0 ? NAN : 0.0; }),
      Numbers<arrow::DoubleBuilder>(kRows, false, [](int64_t) { return NAN; }),
      Numbers<arrow::Int32Builder>(kRows, false, [](int64_t i) { return static_cast<int32_t>(i % 7 - 3); }),
  };
  arrow::FieldVector fields;
  for (const auto& column : columns)
    fields.push_back(arrow::field("c" + std::to_string(fields.size()), column->type()));
  WriteBatches(Path("a.parquet"), {arrow::RecordBatch::Make(arrow::schema(fields), kRows, columns)});
  const auto reader = parquet::ParquetFileReader::OpenFile(Path("a.parquet"));
  const auto group = reader->metadata()->RowGroup(0);
  const auto integers = group->ColumnChunk(0)->statistics();
  ASSERT_TRUE(integers->HasMinMax());
  EXPECT_EQ(As<int64_t>(integers->EncodeMin()), 500 - (kRows - 1));
  EXPECT_EQ(As<int64_t>(integers->EncodeMax()), 499);  // the first one is null
  EXPECT_EQ(integers->null_count(), kRows / 5);
  // Zeros of both signs are equal, so a range with one has both.
  const auto zeros = group->ColumnChunk(1)->statistics();
  ASSERT_TRUE(zeros->HasMinMax());
  EXPECT_TRUE(std::signbit(As<double>(zeros->EncodeMin())));
  EXPECT_FALSE(std::signbit(As<double>(zeros->EncodeMax())));
  EXPECT_FALSE(group->ColumnChunk(2)->statistics()->HasMinMax());
  const auto small = group->ColumnChunk(3)->statistics();
  EXPECT_EQ(As<int32_t>(small->EncodeMin()), -3);
  EXPECT_EQ(As<int32_t>(small->EncodeMax()), 3);
  EXPECT_TRUE(group->ColumnChunk(3)->has_dictionary_page());
  EXPECT_FALSE(group->ColumnChunk(0)->has_dictionary_page());
}

}  // namespace
}  // namespace partita
