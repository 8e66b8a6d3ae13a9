// Sums of integers that cannot overflow.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdio>

#include "partita/operator/aggregate/exact_sum.h"

namespace partita {

// The 128-bit integer of two limbs, the lower one first.
inline __int128 SignedPair(const uint64_t* limbs) {
  return static_cast<__int128>(static_cast<unsigned __int128>(limbs[1]) << 64 | limbs[0]);
}

// A signed integer of 64 * kLimbs bits, two's complement, the lowest limb first.
template <int kLimbs>
struct WideInteger {
  uint64_t limbs[kLimbs];

  // Adds an integer of up to so many limbs.
  template <int kAddend>
  void Add(const uint64_t* addend) {
    const uint64_t sign = static_cast<int64_t>(addend[kAddend - 1]) < 0 ? ~uint64_t{0} : 0;
    unsigned __int128 carry = 0;
    for (int i = 0; i < kLimbs; ++i) {
      carry += static_cast<unsigned __int128>(limbs[i]) + (i < kAddend ? addend[i] : sign);
      limbs[i] = static_cast<uint64_t>(carry);
      carry >>= 64;
    }
  }

  // Whether the value fits into the lowest limbs.
  bool FitsIn(int count) const {
    const uint64_t sign = static_cast<int64_t>(limbs[count - 1]) < 0 ? ~uint64_t{0} : 0;
    for (int i = count; i < kLimbs; ++i) {
      if (limbs[i] != sign) return false;
    }
    return true;
  }

  ExactSum ToExactSum() const {
    ExactSum sum;
    for (int i = 0; i < 2 * kLimbs; ++i) {
      const auto digit = static_cast<uint32_t>(limbs[i / 2] >> (32 * (i % 2)));
      const bool highest = i == 2 * kLimbs - 1;  // it has the sign
      sum.Add(std::ldexp(
          highest ? static_cast<double>(static_cast<int32_t>(digit)) : static_cast<double>(digit), 32 * i));
    }
    return sum;
  }
};

// Correctly rounded.
inline double PowerOfTen(int exponent) {
  char text[16];
  const int size = std::snprintf(text, sizeof(text), "1e%d", exponent);
  double value = 0;
  std::from_chars(text, text + size, value);
  return value;
}

}  // namespace partita
