#include "partita/operator/aggregate/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <limits>
#include <random>
#include <vector>

namespace partita {
namespace {

constexpr double kMax = std::numeric_limits<double>::max();
constexpr double kLeast = std::numeric_limits<double>::denorm_min();
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

double Sum(const std::vector<double>& values) {
  ExactSum sum;
  for (const double value : values) sum.Add(value);
  return sum.Round();
}

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

// Any finite double: sign, exponent and mantissa are random.
double AnyDouble(std::mt19937_64& random) {
  for (;;) {
    const auto value = std::bit_cast<double>(random());
    if (std::isfinite(value)) return value;
  }
}

TEST(ExactSum, RoundsOnceToNearestTiesToEven) {
  const double half_ulp = std::ldexp(1.0, -53);
  EXPECT_EQ(Sum({}), 0);
  EXPECT_FALSE(std::signbit(Sum({-0.0, -0.0})));
  EXPECT_FALSE(std::signbit(Sum({1.5, -1.5})));
  EXPECT_EQ(Sum({1, half_ulp}), 1);
  EXPECT_EQ(Sum({1, half_ulp, kLeast}), 1 + 2 * half_ulp);
  EXPECT_EQ(Sum({-1, -half_ulp, -kLeast}), -1 - 2 * half_ulp);
  EXPECT_EQ(Sum({1, half_ulp, -kLeast}), 1);
  EXPECT_EQ(Sum({1 + 2 * half_ulp, half_ulp}), 1 + 4 * half_ulp) << "the tie goes to the even one";
  EXPECT_EQ(Sum({kLeast, kLeast, kLeast}), 3 * kLeast);
  EXPECT_EQ(Sum({std::numeric_limits<double>::min(), -kLeast}), std::numeric_limits<double>::min() - kLeast);
}

TEST(ExactSum, NothingCancelsAndNothingOverflowsOnTheWay) {
  EXPECT_EQ(Sum({1e308, 1, -1e308}), 1);
  EXPECT_EQ(Sum({kMax, kMax, kMax, -kMax, -kMax, kLeast}), kMax);
  EXPECT_EQ(Sum({kMax, kMax, -kMax, -kMax, kLeast}), kLeast);
  EXPECT_EQ(Sum({kMax, kMax}), kInfinity);
  EXPECT_EQ(Sum({-kMax, -kMax}), -kInfinity);
  EXPECT_EQ(Sum({kMax, std::ldexp(1.0, 969)}), kMax);
  EXPECT_EQ(Sum({kMax, std::ldexp(1.0, 970)}), kInfinity);
}

TEST(ExactSum, InfinitiesAndNaN) {
  EXPECT_EQ(Sum({1, kInfinity, -kMax}), kInfinity);
  EXPECT_EQ(Sum({-kInfinity, 1, -kInfinity}), -kInfinity);
  EXPECT_EQ(Bits(Sum({kInfinity, -kInfinity})), Bits(kNaN)) << "one NaN, whatever the machine makes of it";
  EXPECT_EQ(Bits(Sum({1, -kNaN})), Bits(kNaN));
}

TEST(ExactSum, MillionsOfEqualValues) {
  ExactSum sum;
  for (int i = 0; i < 3'000'000; ++i) sum.Add(0.1);
  EXPECT_EQ(sum.Round(), 0.1 * 3e6) << "one product rounds once too";
  for (int i = 0; i < 3'000'000; ++i) sum.Add(-0.1);
  EXPECT_EQ(sum.Round(), 0);
  sum.Add(-kLeast);
  EXPECT_EQ(sum.Round(), -kLeast);
}

// Integers over 2^60, so that the true sum is a 128-bit integer.
TEST(ExactSum, EqualsIntegerArithmetic) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 2000; ++round) {
    ExactSum sum;
    __int128 truth = 0;
    const int bits = 1 + static_cast<int>(random() % 62);
    for (int i = 0; i < 40; ++i) {
      const auto mantissa = static_cast<int64_t>(random() >> (64 - std::min(bits, 53)));
      const int shift = static_cast<int>(random() % 60);
      const int64_t value = random() % 2 ? mantissa : -mantissa;
      truth += static_cast<__int128>(value) << shift;
      sum.Add(std::ldexp(static_cast<double>(value), shift - 60));
    }
    EXPECT_EQ(sum.Round(), std::ldexp(static_cast<double>(truth), -60));
  }
}

TEST(ExactSum, TheOrderOfValuesAndOfMergesDoesNotMatter) {
  std::mt19937_64 random(2);
  for (int round = 0; round < 200; ++round) {
    std::vector<double> values;
    for (int i = 0; i < 300; ++i) values.push_back(AnyDouble(random));
    if (round % 2) {  // nearly everything cancels
      for (size_t i = 0; i < 299; ++i) values.push_back(-values[i]);
    }
    const double expected = Sum(values);
    if (round % 2) {
      EXPECT_EQ(expected, values[299]);
    }
    std::shuffle(values.begin(), values.end(), random);
    std::vector<ExactSum> parts(1 + random() % 9);
    for (const double value : values) parts[random() % parts.size()].Add(value);
    ExactSum merged;
    for (const auto& part : parts) merged.Merge(part);
    EXPECT_EQ(Bits(merged.Round()), Bits(expected));
  }
}

TEST(ExactSum, MergesManyStates) {
  ExactSum one, many;
  one.Add(-kMax);
  one.Add(0.5);
  for (int i = 0; i < 5000; ++i) many.Merge(one);
  for (int i = 0; i < 5000; ++i) many.Add(kMax);
  EXPECT_EQ(many.Round(), 2500);
  one.Add(-kInfinity);
  many.Merge(one);
  EXPECT_EQ(many.Round(), -kInfinity);
}

}  // namespace
}  // namespace partita
