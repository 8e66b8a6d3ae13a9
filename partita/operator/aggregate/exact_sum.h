// Sums of doubles without rounding errors: the same bits in whatever order values come and states are merged.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>

namespace partita {

struct DoublePair {
  double hi = 0, lo = 0;
};

// a + b == hi + lo exactly, hi is the rounded sum (D. Knuth, The Art of Computer Programming 2, 4.2.2). lo is
// NaN where hi overflows. Only right where the compiler keeps the operations as they are written
// (-ffp-contract=off).
inline DoublePair TwoSum(double a, double b) {
  const double sum = a + b;
  const double b_part = sum - a;
  return {sum, (a - (sum - b_part)) + (b - b_part)};
}

// a * b == hi + lo exactly, unless it underflows or overflows.
inline DoublePair TwoProduct(double a, double b) {
  const double product = a * b;
  return {product, std::fma(a, b, -product)};
}

// The exact sum of any doubles, less than 2^63 of them: a fixed-point number as wide as the range of doubles,
// in digits of 32 bits that have room for carries (the small superaccumulator of R. Neal, "Fast exact
// summation using small and large superaccumulators", 2015).
class ExactSum {
 public:
  void Add(double x);
  void Merge(const ExactSum& other);
  // Correctly rounded: to nearest, ties to even; infinite past the range of doubles; zero is +0. Infinities
  // and NaN as IEEE has them.
  double Round() const;

 private:
  void Carry();

  static constexpr int kDigits = 68;
  static constexpr int kAddsBetweenCarries = 1000;  // each adds less than 2^53 to a digit
  std::array<int64_t, kDigits> digits_ = {};        // digit i counts 2^(32 i - 1074)
  int adds_left_ = kAddsBetweenCarries;
  double special_ = 0;  // the sum of what is not finite; 0: all is
};

}  // namespace partita
