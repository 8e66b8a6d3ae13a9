// sum, mean, var and std against brute force.
#include <arrow/compute/cast.h>
#include <gmock/gmock.h>

#include <bit>
#include <cmath>
#include <numeric>
#include <random>

#include "partita/operator/aggregate/exact_sum.h"
#include "partita/operator/aggregate/fixture.h"

namespace partita {
namespace {

using enum AggregateFunction;
using testing::HasSubstr;

std::vector<double> Doubles(const arrow::Array& array) {
  const auto& typed = static_cast<const arrow::DoubleArray&>(array);
  return {typed.raw_values(), typed.raw_values() + typed.length()};
}

ArrayPtr DoubleArray(const std::vector<double>& values) {
  arrow::DoubleBuilder builder;
  EXPECT_TRUE(builder.AppendValues(values).ok());
  return builder.Finish().ValueOrDie();
}

std::vector<uint64_t> Bits(const std::vector<double>& values) {
  std::vector<uint64_t> bits;
  for (const double value : values) bits.push_back(std::bit_cast<uint64_t>(value));
  return bits;
}

TEST(Sum, OfEachType) {
  const GroupList groups = {0, 0, 0, 1, 2, 2};
  const auto check = [&](AggregateFunction function, const TypePtr& input, const TypePtr& output,
                         const char* expected) {
    SCOPED_TRACE(input->ToString());
    const bool decimal = arrow::is_decimal(input->id());
    const auto column = Values(
        input, decimal ? R"(["1.50", "2.00", null, null, "7.00", "0.25"])" : "[1, 2, null, null, 100, 27]");
    ExpectEqual(*Values(output, expected), *Compute(function, column, groups, 4).ValueOrDie());
  };
  for (const auto& type : {arrow::int8(), arrow::int16(), arrow::int32(), arrow::int64()}) {
    check(kSum, type, arrow::int64(), "[3, null, 127, null]");
  }
  for (const auto& type : {arrow::uint8(), arrow::uint16(), arrow::uint32(), arrow::uint64()}) {
    check(kSum, type, arrow::uint64(), "[3, null, 127, null]");
    check(kMean, type, arrow::float64(), "[1.5, null, 63.5, null]");
    check(kVar, type, arrow::float64(), "[0.5, null, 2664.5, null]");
  }
  for (const auto& type : {arrow::float16(), arrow::float32(), arrow::float64()}) {
    check(kSum, type, arrow::float64(), "[3, null, 127, null]");
    check(kMean, type, arrow::float64(), "[1.5, null, 63.5, null]");
    check(kVar, type, arrow::float64(), "[0.5, null, 2664.5, null]");
  }
  for (const auto& type : {arrow::decimal32(8, 2), arrow::decimal64(12, 2), arrow::decimal128(20, 2)}) {
    check(kSum, type, arrow::decimal128(38, 2), R"(["3.50", null, "7.25", null])");
    check(kMean, type, arrow::float64(), "[1.75, null, 3.625, null]");
    check(kVar, type, arrow::float64(), "[0.125, null, 22.78125, null]");
  }
  check(kSum, arrow::decimal256(50, 2), arrow::decimal256(76, 2), R"(["3.50", null, "7.25", null])");
  check(kMean, arrow::decimal256(50, 2), arrow::float64(), "[1.75, null, 3.625, null]");
  check(kVar, arrow::decimal256(50, 2), arrow::float64(), "[0.125, null, 22.78125, null]");
}

TEST(Sum, OverflowIsADataErrorThatTheOrderOfRowsDoesNotChange) {
  const auto budget = Budget::Make(kMiB);
  const auto column = Values(arrow::int64(), "[9223372036854775807, 1, -1, 5]");
  auto sum = New(kSum, arrow::int64(), budget->root());
  ASSERT_TRUE(sum->Update(column->Slice(0, 2).get(), GroupList{0, 0}, 2).ok());
  const auto status = sum->Finish(2, budget->root().get()).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_THAT(status.message(), HasSubstr("int64"));
  ASSERT_TRUE(sum->Update(column->Slice(2, 2).get(), GroupList{0, 1}, 2).ok())
      << "on the way nothing overflows";
  ExpectEqual(*Values(arrow::int64(), "[9223372036854775807, 5]"),
              *sum->Finish(2, budget->root().get()).ValueOrDie());

  EXPECT_FALSE(Compute(kSum, Values(arrow::uint64(), "[18446744073709551615, 1]"), {0, 0}, 1).ok());
  ExpectEqual(*Values(arrow::uint64(), "[18446744073709551615]"),
              *Compute(kSum, Values(arrow::uint64(), "[18446744073709551614, 1]"), {0, 0}, 1).ValueOrDie());
  const std::string nines128(38, '9'), nines256(76, '9');
  for (const auto& [type, nines] :
       {std::pair(arrow::decimal128(38, 0), nines128), std::pair(arrow::decimal256(76, 0), nines256)}) {
    const auto values = Values(type, "[\"" + nines + "\", \"" + nines + "\", \"-" + nines + "\", \"1\"]");
    EXPECT_EQ(KindOf(Compute(kSum, values->Slice(0, 2), {0, 0}, 1).status()), ErrorKind::kData);
    EXPECT_FALSE(Compute(kSum, values, {0, 0, 0, 0}, 1).ok()) << "one past 9…9";
    ExpectEqual(*values->Slice(0, 1), *Compute(kSum, values->Slice(0, 3), {0, 0, 0}, 1).ValueOrDie());
  }
}

// Many rows of few groups are added up in another way than few rows are.
TEST(Sum, OfManyRowsOfFewGroupsIsThatOfRowsInPieces) {
  constexpr int64_t kRows = 70'000, kPiece = 20;
  constexpr uint32_t kGroups = 6;
  std::mt19937_64 random(9);
  const auto budget = Budget::Make(16 * kMiB);
  for (const auto& type :
       {arrow::int8(), arrow::uint8(), arrow::int16(), arrow::uint16(), arrow::int32(), arrow::uint32()}) {
    for (const bool extreme : {false, true}) {
      SCOPED_TRACE(type->ToString());
      std::shared_ptr<arrow::Buffer> data = arrow::AllocateBuffer(kRows * type->byte_width()).ValueOrDie();
      std::generate_n(data->mutable_data(), data->size(), [&] { return static_cast<uint8_t>(random()); });
      if (extreme) std::fill_n(data->mutable_data(), data->size(), uint8_t{0xFF});
      const auto column = arrow::MakeArray(arrow::ArrayData::Make(type, kRows, {nullptr, data}, 0));
      GroupList groups(kRows);
      for (auto& group : groups) group = static_cast<uint32_t>(extreme ? 1 : random() % (kGroups - 1));
      for (const auto function : {kSum, kMean, kVar}) {
        auto pieces = New(function, type, budget->root());
        for (int64_t row = 0; row < kRows; row += kPiece) {
          const std::span<const uint32_t> some(groups.data() + row, kPiece);
          ASSERT_TRUE(pieces->Update(column->Slice(row, kPiece).get(), some, kGroups).ok());
        }
        ExpectEqual(*pieces->Finish(kGroups, budget->root().get()).ValueOrDie(),
                    *Compute(function, column, groups, kGroups).ValueOrDie());
      }
    }
  }
}

// Rows of random groups in random orders and updates against one ExactSum a group.
TEST(Sum, OfFloatsIsExactInEveryOrder) {
  std::mt19937_64 random(7);
  struct Kind {
    const char* name;
    std::function<double()> draw;
  };
  std::uniform_real_distribution<double> unit(0, 1);
  std::normal_distribution<double> normal(0, 1);
  const std::vector<Kind> kinds = {
      {"uniform", [&] { return unit(random); }},
      {"normal", [&] { return normal(random) * 1e6 + 0.1; }},
      {"wide", [&] { return std::ldexp(normal(random), static_cast<int>(random() % 2000) - 1000); }},
      {"cancelling",
       [&] { return (random() % 2 ? 1e300 : -1e300) * (1 + static_cast<double>(random() % 3)); }},
      {"subnormal", [&] { return std::ldexp(static_cast<double>(random() % 1000) - 500, -1074); }},
      {"huge", [&] { return (random() % 2 ? 1 : -1) * std::numeric_limits<double>::max() * unit(random); }},
  };
  for (const auto& kind : kinds) {
    SCOPED_TRACE(kind.name);
    constexpr uint32_t kGroups = 23;
    std::vector<double> values;
    GroupList groups;
    for (int i = 0; i < 20000; ++i) {
      values.push_back(kind.draw());
      groups.push_back(static_cast<uint32_t>(random() % (kGroups - 1)));
    }
    std::vector<double> sums, means;
    for (uint32_t g = 0; g < kGroups; ++g) {
      ExactSum sum;
      int64_t count = 0;
      for (size_t i = 0; i < values.size(); ++i) {
        if (groups[i] != g) continue;
        sum.Add(values[i]);
        ++count;
      }
      sums.push_back(sum.Round());
      means.push_back(count == 0 ? 0 : sum.Round() / static_cast<double>(count));
    }
    std::vector<std::vector<uint64_t>> variances;
    for (int order = 0; order < 4; ++order) {
      std::vector<size_t> rows(values.size());
      std::iota(rows.begin(), rows.end(), 0);
      if (order == 1) std::shuffle(rows.begin(), rows.end(), random);
      if (order == 2)
        std::sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
      if (order == 3)
        std::stable_sort(rows.begin(), rows.end(), [&](size_t a, size_t b) { return groups[a] < groups[b]; });
      const auto budget = Budget::Make(256 * kMiB);
      std::vector<std::unique_ptr<Aggregate>> aggregates;
      for (const auto function : {kSum, kMean, kVar})
        aggregates.push_back(New(function, arrow::float64(), budget->root()));
      for (size_t begin = 0; begin < rows.size();) {
        const size_t end = std::min(rows.size(), begin + 1 + random() % 3000);
        std::vector<double> some;
        GroupList some_groups;
        for (size_t i = begin; i < end; ++i) {
          some.push_back(values[rows[i]]);
          some_groups.push_back(groups[rows[i]]);
        }
        const auto column = DoubleArray(some);
        for (auto& aggregate : aggregates)
          ASSERT_TRUE(aggregate->Update(column.get(), some_groups, kGroups).ok());
        begin = end;
      }
      std::vector<std::vector<double>> results;
      for (auto& aggregate : aggregates) {
        // In parts: a front first.
        auto front = Doubles(*aggregate->Finish(5, budget->root().get()).ValueOrDie());
        const auto back = Doubles(*aggregate->Finish(kGroups - 5, budget->root().get()).ValueOrDie());
        front.insert(front.end(), back.begin(), back.end());
        results.push_back(front);
      }
      EXPECT_EQ(Bits(results[0]), Bits(sums));
      EXPECT_EQ(Bits(results[1]), Bits(means));
      variances.push_back(Bits(results[2]));
      EXPECT_EQ(variances.back(), variances.front());
    }
  }
}

TEST(Sum, InfinitiesAndNaN) {
  const auto column =
      Values(arrow::float64(), "[Inf, 1, Inf, -Inf, NaN, 2, 3, -Inf, 1e308, 1e308, 1e308, -1e308]");
  const GroupList groups = {0, 0, 1, 1, 2, 2, 3, 4, 5, 5, 6, 6};
  ExpectEqual(*Values(arrow::float64(), "[Inf, NaN, NaN, 3, -Inf, Inf, 0]"),
              *Compute(kSum, column, groups, 7).ValueOrDie());
  ExpectEqual(*Values(arrow::float64(), "[Inf, NaN, NaN, 3, -Inf, Inf, 0]"),
              *Compute(kMean, column, groups, 7).ValueOrDie());
  ExpectEqual(*Values(arrow::float64(), "[NaN, NaN, NaN, null, null, NaN, NaN]"),
              *Compute(kVar, column, groups, 7).ValueOrDie());
}

TEST(Variance, NothingCancels) {
  const auto var = [](const ArrayPtr& column) {
    const GroupList groups(static_cast<size_t>(column->length()), 0);
    return Doubles(*Compute(kVar, column, groups, 1).ValueOrDie())[0];
  };
  EXPECT_EQ(var(DoubleArray(std::vector<double>(1000, 0.1))), 0) << "of equal values it is zero, not nearly";
  EXPECT_EQ(var(DoubleArray({1e15, 1e15 + 1, 1e15 + 2})), 1);
  EXPECT_EQ(var(DoubleArray({-1e150, 1e150})), 2 * (1e150 * 1e150));
  EXPECT_NEAR(var(DoubleArray({1e-150, 3e-150})) / 2e-300, 1, 1e-15);
  EXPECT_EQ(var(Values(arrow::int64(), "[9223372036854775806, 9223372036854775807]")), 0.5);
  EXPECT_EQ(var(Values(arrow::uint64(), "[18446744073709551614, 18446744073709551615]")), 0.5);
  EXPECT_EQ(var(Values(arrow::int64(), "[-9223372036854775808, -9223372036854775807]")), 0.5);
  const auto column = DoubleArray({2, 4, 4, 4, 5, 5, 7, 9});
  EXPECT_EQ(Doubles(*Compute(kStd, column, GroupList(8, 0), 1).ValueOrDie())[0], std::sqrt(32.0 / 7));
}

TEST(Variance, EqualsTwoPasses) {
  std::mt19937_64 random(9);
  std::normal_distribution<double> normal(3, 5);
  for (int round = 0; round < 50; ++round) {
    std::vector<double> values;
    for (uint64_t i = 2 + random() % 500; i > 0; --i) values.push_back(normal(random));
    long double mean = 0, squares = 0;
    for (const double value : values) mean += value;
    mean /= static_cast<long double>(values.size());
    for (const double value : values) squares += (value - mean) * (value - mean);
    const auto expected = static_cast<double>(squares / static_cast<long double>(values.size() - 1));
    const auto result = Compute(kVar, DoubleArray(values), GroupList(values.size(), 0), 1).ValueOrDie();
    EXPECT_NEAR(Doubles(*result)[0] / expected, 1, 1e-15);
  }
}

TEST(Mean, OfIntegersAndDecimalsIsRoundedOnce) {
  const auto mean = [](const TypePtr& type, const char* json, size_t rows) {
    return Doubles(*Compute(kMean, Values(type, json), GroupList(rows, 0), 1).ValueOrDie())[0];
  };
  EXPECT_EQ(mean(arrow::int64(), "[9223372036854775807, 9223372036854775807, 9223372036854775807]", 3),
            0x1p63);
  EXPECT_EQ(mean(arrow::uint64(), "[18446744073709551615, 1]", 2), 0x1p63);
  EXPECT_EQ(mean(arrow::decimal128(38, 20), R"(["0.10000000000000000000", "0.20000000000000000000"])", 2),
            0.15);
  EXPECT_EQ(
      mean(arrow::decimal256(76, 0), R"(["-1", "100000000000000000000000000000000000000000000000000"])", 2),
      5e49);
}

}  // namespace
}  // namespace partita
