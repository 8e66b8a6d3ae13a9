#include "partita/runs/row_key.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace partita {
namespace {

template <typename Builder, typename T>
std::shared_ptr<arrow::Array> ArrayOf(const std::vector<std::optional<T>>& values) {
  Builder builder;
  for (const auto& value : values) {
    EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
  }
  return builder.Finish().ValueOrDie();
}

RowKeys KeysOf(const std::vector<std::shared_ptr<arrow::Array>>& columns, bool descending = false,
               bool nulls_first = false) {
  arrow::FieldVector fields;
  std::vector<KeyColumn> keys;
  for (size_t i = 0; i < columns.size(); ++i) {
    fields.push_back(arrow::field("c" + std::to_string(i), columns[i]->type()));
    keys.push_back({static_cast<int>(i), descending, nulls_first});
  }
  auto schema = arrow::schema(fields);
  auto batch = arrow::RecordBatch::Make(schema, columns[0]->length(), columns);
  return KeyEncoder::Make(*schema, keys)
      .ValueOrDie()
      .Encode(*batch, arrow::default_memory_pool())
      .ValueOrDie();
}

// Places of rows in key order.
std::vector<int64_t> OrderOf(const RowKeys& keys) {
  std::vector<int64_t> order(static_cast<size_t>(keys.rows));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return CompareKeys(keys, a, keys, b) < 0; });
  return order;
}

TEST(RowKey, NumbersCompareByValue) {
  const auto column = ArrayOf<arrow::Int64Builder, int64_t>({5, -1, std::nullopt, INT64_MIN, INT64_MAX, 0});
  EXPECT_EQ(OrderOf(KeysOf({column})), (std::vector<int64_t>{3, 1, 5, 0, 4, 2}));
  EXPECT_EQ(OrderOf(KeysOf({column}, true)), (std::vector<int64_t>{4, 0, 5, 1, 3, 2}));
  EXPECT_EQ(OrderOf(KeysOf({column}, true, true)), (std::vector<int64_t>{2, 4, 0, 5, 1, 3}));
}

TEST(RowKey, FloatsHaveOneZeroAndOneNan) {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const auto keys = KeysOf(
      {ArrayOf<arrow::DoubleBuilder, double>({nan, -0.0, 0.0, -inf, inf, std::copysign(nan, -1), -1e-300})});
  EXPECT_EQ(OrderOf(keys), (std::vector<int64_t>{3, 6, 1, 2, 4, 0, 5}));
  EXPECT_EQ(CompareKeys(keys, 1, keys, 2), 0);
  EXPECT_EQ(CompareKeys(keys, 0, keys, 5), 0);
}

TEST(RowKey, TextComparesByBytesAndPrefixesComeFirst) {
  const std::string zero("a\0b", 3), zero_end("a\0", 2);
  const auto column = ArrayOf<arrow::StringBuilder, std::string>(
      {"b", "a", zero, "", zero_end, "a much longer text than sixteen bytes",
       "a much longer text than sixteen bytes!", std::nullopt});
  EXPECT_EQ(OrderOf(KeysOf({column})), (std::vector<int64_t>{3, 1, 4, 2, 5, 6, 0, 7}));
  EXPECT_EQ(OrderOf(KeysOf({column}, true)), (std::vector<int64_t>{0, 6, 5, 2, 4, 1, 3, 7}));
}

TEST(RowKey, SeveralColumnsCompareInTurn) {
  const auto text = ArrayOf<arrow::StringBuilder, std::string>({"a", "a", "ab", "", "a"});
  const auto number = ArrayOf<arrow::Int32Builder, int32_t>({2, std::nullopt, 0, 9, 1});
  EXPECT_EQ(OrderOf(KeysOf({text, number})), (std::vector<int64_t>{3, 4, 0, 1, 2}));
}

TEST(RowKey, KeysOfDifferentBatchesAgree) {
  // One batch has only short encodings, the other long ones too: hashes and comparisons are the same.
  const auto a = KeysOf({ArrayOf<arrow::StringBuilder, std::string>({"x", "yy"})});
  const auto b = KeysOf(
      {ArrayOf<arrow::StringBuilder, std::string>({"x", "this one is longer than sixteen bytes", "yy"})});
  EXPECT_EQ(CompareKeys(a, 0, b, 0), 0);
  EXPECT_EQ(CompareKeys(a, 1, b, 2), 0);
  EXPECT_LT(CompareKeys(a, 0, b, 2), 0);
  const auto ha = HashKeys(a, arrow::default_memory_pool()).ValueOrDie(),
             hb = HashKeys(b, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_EQ(ha.prefix(0), hb.prefix(0));
  EXPECT_EQ(ha.prefix(1), hb.prefix(2));
  EXPECT_NE(ha.prefix(0), hb.prefix(1));
}

TEST(RowKey, DictionariesAreTheirValues) {
  const auto plain = ArrayOf<arrow::StringBuilder, std::string>({"b", "a", std::nullopt, "c"});
  arrow::StringDictionaryBuilder builder;
  for (const char* text : {"b", "a"}) ASSERT_TRUE(builder.Append(text).ok());
  ASSERT_TRUE(builder.AppendNull().ok());
  ASSERT_TRUE(builder.Append("c").ok());
  const auto keys = KeysOf({plain}), coded = KeysOf({builder.Finish().ValueOrDie()});
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(CompareKeys(keys, i, coded, i), 0) << i;
}

TEST(RowKey, DecimalsCompareByValue) {
  arrow::Decimal128Builder builder(arrow::decimal128(20, 2));
  for (int64_t v : {5, -5, 0, -500, 500}) ASSERT_TRUE(builder.Append(arrow::Decimal128(v)).ok());
  EXPECT_EQ(OrderOf(KeysOf({builder.Finish().ValueOrDie()})), (std::vector<int64_t>{3, 1, 2, 0, 4}));
}

TEST(RowKey, NestedColumnsAreRefused) {
  const auto schema = arrow::schema({arrow::field("l", arrow::list(arrow::int32()))});
  const auto made = KeyEncoder::Make(*schema, {{0, false, false}});
  ASSERT_FALSE(made.ok());
  EXPECT_EQ(KindOf(made.status()), ErrorKind::kUser);
}

}  // namespace
}  // namespace partita
