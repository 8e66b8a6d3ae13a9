#include <arrow/api.h>
#include <gtest/gtest.h>

#include <random>

#include "partita/expression/expression.h"
#include "partita/expression/test_rows.h"

namespace partita {
namespace {

std::shared_ptr<arrow::Schema> Columns() {
  return arrow::schema({arrow::field("i", arrow::int32()), arrow::field("x", arrow::float64()),
                        arrow::field("s", arrow::utf8()), arrow::field("f", arrow::boolean()),
                        arrow::field("t", arrow::timestamp(arrow::TimeUnit::MICRO)),
                        arrow::field("n", arrow::int64()), arrow::field("unknown", arrow::int64())});
}

std::vector<ColumnRange> Ranges() {
  auto time = [](const char* text) {
    return *arrow::Scalar::Parse(arrow::timestamp(arrow::TimeUnit::MICRO), text);
  };
  return {{"i", arrow::MakeScalar(10), arrow::MakeScalar(20), false, false},
          {"x", arrow::MakeScalar(1.0), arrow::MakeScalar(1.0), true, false},
          {"s", arrow::MakeScalar("b"), arrow::MakeScalar("dog"), true, false},
          {"f", arrow::MakeScalar(false), arrow::MakeScalar(false), true, false},
          {"t", time("2024-01-01"), time("2024-12-31"), true, false},
          {"n", nullptr, nullptr, true, true}};
}

TEST(MaySatisfy, Table) {
  const std::vector<std::pair<std::string, bool>> cases = {
      {"i > 20", false},
      {"i > 19", true},
      {"i >= 21", false},
      {"i < 10", false},
      {"i <= 10", true},
      {"i = 9", false},
      {"i = 15", true},
      {"i = 21", false},
      {"21 = i", false},
      {"20 < i", false},
      {"20 <= i", true},
      {"i != 15", true},
      {"i between 1 and 9", false},
      {"i between 1 and 10", true},
      {"i in (1, 2, 30)", false},
      {"i in (1, 11)", true},
      {"i in (null)", false},
      {"i in (1, 2.5)", true},
      {"i is null", false},
      {"i is not null", true},
      {"i = null", false},
      {"i > 1000000000000", true},  // does not fit the column: nothing is claimed
      {"i > 20.0", false},
      {"i = 15.5", true},
      {"i > 19.5", true},
      {"i > 100 and unknown = 1", false},
      {"i > 100 or unknown = 1", true},
      {"i > 100 or i < 0", false},
      {"not i > 100", true},
      {"not (i < 100)", true},
      {"i + 1 > 100", true},
      {"abs(i) > 100", true},
      {"unknown > 5", true},
      {"missing > 5", true},
      {"unknown is null", true},
      {"x > 1", false},
      {"x >= 1", true},
      {"x != 1.0", true},
      {"x = 2", false},
      {"not x = 1.0", true},
      {"x > cast('nan' as float64)", true},
      {"x is null", true},
      {"s > 'dog'", false},
      {"s > 'dof'", true},
      {"s = 'apple'", false},
      {"s = 'cat'", true},
      {"s = 'zoo'", false},
      {"starts_with(s, 'a')", false},
      {"starts_with(s, 'do')", true},
      {"starts_with(s, 'dox')", false},
      {"starts_with(s, 'b')", true},
      {"starts_with(s, 'A', true)", true},
      {"s like 'a%'", true},
      {"s != 'b'", true},
      {"f", false},
      {"f = true", false},
      {"not f", true},
      {"f = false", true},
      {"t > '2025-01-01'", false},
      {"t >= '2024-06-01'", true},
      {"t < timestamp '2023-01-01 00:00:00'", false},
      {"n is null", true},
      {"n is not null", false},
      {"n = 5", false},
      {"n != 5", false},
      {"true", true},
      {"false", false},
      {"null", false},
      {"i > 5 and false", false}};
  for (const auto& [text, expected] : cases) {
    const auto predicate = Expression::Parse(text);
    ASSERT_TRUE(predicate.ok()) << predicate.status();
    EXPECT_EQ(MaySatisfy(*predicate, *Columns(), Ranges()), expected) << text;
  }
}

TEST(MaySatisfy, UnusableStatisticsClaimNothing) {
  const auto schema = Columns();
  const auto predicate = *Expression::Parse("i > 100");
  EXPECT_TRUE(MaySatisfy(predicate, *schema, {{"i", nullptr, nullptr, true, false}}));
  EXPECT_TRUE(
      MaySatisfy(predicate, *schema, {{"i", arrow::MakeScalar("a"), arrow::MakeScalar("b"), true, false}}));
  EXPECT_TRUE(MaySatisfy(*Expression::Parse("x > 100"), *schema,
                         {{"x", arrow::MakeScalar(NAN), arrow::MakeScalar(NAN), true, false}}));
  EXPECT_TRUE(MaySatisfy(Expression(), *schema, {}));
}

// What is pruned never has a row that satisfies: random ranges of random rows against evaluation.
TEST(MaySatisfy, IsSoundOnRandomRows) {
  std::mt19937 random(11);
  const auto schema = arrow::schema({arrow::field("i", arrow::int64()), arrow::field("x", arrow::float64())});
  auto predicate = [&](auto&& self, int depth) -> std::string {
    const char* column = random() % 2 ? "i" : "x";
    const char* comparisons[] = {"=", "!=", "<", "<=", ">", ">="};
    switch (depth > 2 ? random() % 4 : random() % 7) {
      case 0:
        return std::string(column) + " is null";
      case 1:
        return std::string(column) + " in (" + std::to_string(random() % 9) + ", " +
               std::to_string(random() % 9) + ")";
      case 2:
      case 3:
        return std::string(column) + " " + comparisons[random() % 6] + " " + std::to_string(random() % 9) +
               (random() % 2 ? ".5" : "");
      case 4:
        return "not (" + self(self, depth + 1) + ")";
      case 5:
        return "(" + self(self, depth + 1) + " and " + self(self, depth + 1) + ")";
      default:
        return "(" + self(self, depth + 1) + " or " + self(self, depth + 1) + ")";
    }
  };
  int pruned = 0;
  for (int round = 0; round < 600; ++round) {
    arrow::Int64Builder ints;
    arrow::DoubleBuilder floats;
    const int64_t base = random() % 9;
    int64_t low = 100, high = -100;
    double float_low = 100, float_high = -100;
    bool int_nulls = false, float_nulls = false;
    for (int row = 0; row < 3; ++row) {
      if (random() % 5 == 0) {
        ASSERT_TRUE(ints.AppendNull().ok());
        int_nulls = true;
      } else {
        const int64_t value = base + random() % 2;
        ASSERT_TRUE(ints.Append(value).ok());
        low = std::min(low, value);
        high = std::max(high, value);
      }
      const auto kind = random() % 6;
      if (kind == 0) {
        ASSERT_TRUE(floats.AppendNull().ok());
        float_nulls = true;
      } else if (kind == 1) {
        ASSERT_TRUE(floats.Append(NAN).ok());  // not in min and max, as in Parquet
      } else {
        const double value = base + 0.5 * (random() % 3);
        ASSERT_TRUE(floats.Append(value).ok());
        float_low = std::min(float_low, value);
        float_high = std::max(float_high, value);
      }
    }
    const auto rows = arrow::RecordBatch::Make(schema, 3, {*ints.Finish(), *floats.Finish()});
    std::vector<ColumnRange> ranges(2);
    ranges[0] = {"i", nullptr, nullptr, int_nulls, low > high};
    if (low <= high) ranges[0].min = arrow::MakeScalar(low), ranges[0].max = arrow::MakeScalar(high);
    ranges[1] = {"x", nullptr, nullptr, float_nulls, false};
    if (float_low <= float_high)
      ranges[1].min = arrow::MakeScalar(float_low), ranges[1].max = arrow::MakeScalar(float_high);
    const auto expression = *Expression::Parse(predicate(predicate, 0));
    if (MaySatisfy(expression, *schema, ranges)) continue;
    ++pruned;
    const auto bound = BoundExpression::Bind(expression, schema);
    ASSERT_TRUE(bound.ok()) << expression.ToString() << bound.status();
    const auto result = *(*bound)->Evaluate(*rows, arrow::default_memory_pool());
    EXPECT_EQ(static_cast<const arrow::BooleanArray&>(*result).true_count(), 0)
        << expression.ToString() << "\n"
        << rows->ToString();
  }
  EXPECT_GT(pruned, 50);
}

}  // namespace
}  // namespace partita
