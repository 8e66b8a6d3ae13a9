#include "partita/block/select_rows.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <random>

#include "partita/block/block.h"
#include "partita/memory/budget.h"

namespace partita {
namespace {

constexpr int64_t kRows = 60;
using ArrayPtr = std::shared_ptr<arrow::Array>;

// kRows values of every shape: inline, long (a view into a buffer), null.
ArrayPtr Texts(const std::shared_ptr<arrow::DataType>& type, int64_t rows = kRows) {
  std::unique_ptr<arrow::ArrayBuilder> builder;
  EXPECT_TRUE(arrow::MakeBuilder(arrow::default_memory_pool(), type, &builder).ok());
  for (int64_t i = 0; i < rows; ++i) {
    const std::string text =
        i % 3 == 0 ? std::to_string(i) : std::string(20 + i, static_cast<char>('a' + i % 26));
    const auto scalar = arrow::MakeScalar(type, arrow::Buffer::FromString(text));
    EXPECT_TRUE((i % 7 == 5 ? builder->AppendNull() : builder->AppendScalar(**scalar)).ok());
  }
  return builder->Finish().ValueOrDie();
}

// Runs of three rows; every fourth is null where `values` are.
ArrayPtr Repeated(const ArrayPtr& values, const std::shared_ptr<arrow::DataType>& end_type = arrow::int32()) {
  std::unique_ptr<arrow::ArrayBuilder> ends;
  EXPECT_TRUE(arrow::MakeBuilder(arrow::default_memory_pool(), end_type, &ends).ok());
  for (int64_t i = 1; i <= values->length(); ++i) {
    EXPECT_TRUE(ends->AppendScalar(*arrow::MakeScalar(end_type, 3 * i).ValueOrDie()).ok());
  }
  return arrow::RunEndEncodedArray::Make(3 * values->length(), ends->Finish().ValueOrDie(), values)
      .ValueOrDie();
}

ArrayPtr Offsets(std::vector<int32_t> values) {
  arrow::Int32Builder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

// Lists of 0 to 3 of `values`, which has at least 90 rows.
ArrayPtr Lists(const ArrayPtr& values) {
  std::vector<int32_t> offsets{0};
  for (int i = 0; i < kRows; ++i) offsets.push_back(offsets.back() + i % 4);
  return arrow::ListArray::FromArrays(*Offsets(offsets), *values).ValueOrDie();
}

ArrayPtr Nullable(ArrayPtr array) {
  auto data = array->data()->Copy();
  auto bits = arrow::AllocateEmptyBitmap(array->length()).ValueOrDie();
  for (int64_t i = 0; i < array->length(); ++i) {
    if (i % 5 != 2) bits->mutable_data()[i / 8] |= static_cast<uint8_t>(1 << (i % 8));
  }
  data->buffers[0] = std::move(bits);
  data->null_count = arrow::kUnknownNullCount;
  return arrow::MakeArray(data);
}

std::vector<std::pair<std::string, ArrayPtr>> Columns() {
  const auto views = Texts(arrow::utf8_view(), 90);
  arrow::StringViewBuilder keys;
  for (int i = 0; i < 90; ++i)
    EXPECT_TRUE(keys.Append("a key that is too long to be inline " + std::to_string(i)).ok());
  const auto view_keys = keys.Finish().ValueOrDie();
  const auto runs = Repeated(Texts(arrow::utf8(), 30));
  const auto run_views = Repeated(Texts(arrow::binary_view(), 30), arrow::int16());
  std::vector<std::pair<std::string, ArrayPtr>> columns = {
      {"string", Texts(arrow::utf8())},
      {"string_view", Texts(arrow::utf8_view())},
      {"binary_view", Texts(arrow::binary_view())},
      {"runs", runs->Slice(0, kRows)},
      {"runs16", Repeated(Texts(arrow::utf8(), 20), arrow::int16())},
      {"runs64 of views", Repeated(Texts(arrow::utf8_view(), 20), arrow::int64())},
      {"runs, sliced", runs->Slice(17, kRows)},
      {"runs of views, sliced", run_views->Slice(29, kRows)},
      {"list of views", Lists(views)},
      {"nullable list of views", Nullable(Lists(views))},
      {"list of runs", Lists(runs)},
      {"list of sliced runs", Nullable(Lists(Repeated(views)->Slice(5, 200)))},
      {"list of struct of runs and views",
       Nullable(
           Lists(arrow::StructArray::Make({runs, views}, std::vector<std::string>{"r", "v"}).ValueOrDie()))},
      {"struct", Nullable(arrow::StructArray::Make({runs->Slice(7, kRows), views->Slice(3, kRows)},
                                                   std::vector<std::string>{"r", "v"})
                              .ValueOrDie())},
      {"fixed-size list of views",
       Nullable(arrow::FixedSizeListArray::FromArrays(Texts(arrow::utf8_view(), 2 * kRows), 2).ValueOrDie())},
      {"fixed-size list of runs",
       Nullable(arrow::FixedSizeListArray::FromArrays(Repeated(Texts(arrow::utf8(), 40)), 2).ValueOrDie())},
      {"map", arrow::MapArray::FromArrays(std::static_pointer_cast<arrow::ListArray>(Lists(views))->offsets(),
                                          view_keys, views)
                  .ValueOrDie()},
  };
  std::vector<int8_t> codes;
  for (int i = 0; i < kRows; ++i) codes.push_back(static_cast<int8_t>(i % 2));
  arrow::Int8Builder code_builder;
  EXPECT_TRUE(code_builder.AppendValues(codes).ok());
  columns.emplace_back("sparse union",
                       arrow::SparseUnionArray::Make(*code_builder.Finish().ValueOrDie(),
                                                     {views->Slice(2, kRows), runs->Slice(4, kRows)})
                           .ValueOrDie());
  EXPECT_TRUE(code_builder.AppendValues(codes).ok());
  std::vector<int32_t> places;
  for (int i = 0; i < kRows; ++i) places.push_back(i / 2);
  columns.emplace_back("dense union",
                       arrow::DenseUnionArray::Make(*code_builder.Finish().ValueOrDie(), *Offsets(places),
                                                    {views->Slice(2, kRows), runs->Slice(4, kRows)})
                           .ValueOrDie());
  return columns;
}

// Arrow's own scalars judge: row by row, the result is what the mask left.
void ExpectSelected(const std::string& name, const ArrayPtr& column, const std::vector<int>& mask) {
  SCOPED_TRACE(name);
  ASSERT_EQ(column->length(), static_cast<int64_t>(mask.size()));
  arrow::BooleanBuilder builder;
  std::vector<int64_t> kept;
  for (size_t i = 0; i < mask.size(); ++i) {
    ASSERT_TRUE((mask[i] < 0 ? builder.AppendNull() : builder.Append(mask[i] != 0)).ok());
    if (mask[i] > 0) kept.push_back(static_cast<int64_t>(i));
  }
  auto bits = std::static_pointer_cast<arrow::BooleanArray>(builder.Finish().ValueOrDie());
  auto budget = Budget::Make(64 << 20);
  const auto batch = arrow::RecordBatch::Make(arrow::schema({arrow::field("x", column->type())}),
                                              column->length(), {column});
  auto selected = SelectRows(*batch, bits, budget->root().get());
  ASSERT_TRUE(selected.ok()) << selected.status().ToString();
  ASSERT_TRUE((*selected)->ValidateFull().ok()) << (*selected)->ValidateFull().ToString();
  ASSERT_TRUE((*selected)->schema()->Equals(*batch->schema()));
  const auto got = (*selected)->column(0);
  ASSERT_EQ(got->length(), static_cast<int64_t>(kept.size()));
  for (size_t i = 0; i < kept.size(); ++i) {
    const auto want = column->GetScalar(kept[i]).ValueOrDie();
    const auto have = got->GetScalar(static_cast<int64_t>(i)).ValueOrDie();
    ASSERT_TRUE(have->Equals(*want)) << "row " << i << ": " << have->ToString() << ", not "
                                     << want->ToString();
  }
}

TEST(SelectRows, EveryTypeByRandomMasks) {
  std::mt19937 random(7);
  for (const auto& [name, column] : Columns()) {
    for (int round = 0; round < 12; ++round) {
      const int64_t from = round == 0 ? 0 : static_cast<int64_t>(random() % kRows);
      const int64_t rows = round == 0 ? kRows : static_cast<int64_t>(random() % (kRows - from + 1));
      std::vector<int> mask;
      for (int64_t i = 0; i < rows; ++i)
        mask.push_back(static_cast<int>(random() % (1 + round % 3 + 1)) - (round % 4 == 0));
      ExpectSelected(name + ", round " + std::to_string(round), column->Slice(from, rows), mask);
    }
    ExpectSelected(name + ", none", column, std::vector<int>(kRows, 0));
    ExpectSelected(name + ", all", column, std::vector<int>(kRows, 1));
  }
}

TEST(SelectRows, RunsStayRuns) {
  const auto runs = Repeated(Texts(arrow::utf8(), 30));
  arrow::BooleanBuilder builder;
  for (int64_t i = 0; i < runs->length(); ++i) ASSERT_TRUE(builder.Append(i % 3 != 1).ok());
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("x", runs->type())}), runs->length(), {runs});
  const auto selected =
      SelectRows(*batch, std::static_pointer_cast<arrow::BooleanArray>(builder.Finish().ValueOrDie()),
                 arrow::default_memory_pool())
          .ValueOrDie();
  EXPECT_EQ(std::static_pointer_cast<arrow::RunEndEncodedArray>(selected->column(0))->values()->length(), 30);
}

TEST(SelectRows, AFewViewsDoNotKeepAllTextAlive) {
  arrow::StringViewBuilder builder;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(builder.Append(std::string(1000, 'x')).ok());
  const auto column = builder.Finish().ValueOrDie();
  arrow::BooleanBuilder mask;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(mask.Append(i == 500).ok());
  const auto batch =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("x", column->type())}), 1000, {column});
  const auto selected =
      SelectRows(*batch, std::static_pointer_cast<arrow::BooleanArray>(mask.Finish().ValueOrDie()),
                 arrow::default_memory_pool())
          .ValueOrDie();
  EXPECT_EQ(selected->num_rows(), 1);
  EXPECT_LT(BufferBytes(*selected), 64 << 10);
}

}  // namespace
}  // namespace partita
