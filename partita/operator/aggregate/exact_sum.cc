#include "partita/operator/aggregate/exact_sum.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace partita {
namespace {

constexpr int kMantissaBits = 53;
constexpr int kLeastExponent = -1074;  // of the least subnormal
constexpr int64_t kDigitMask = 0xffffffff;

using Uint128 = unsigned __int128;

int BitWidth(Uint128 value) {
  const auto high = static_cast<uint64_t>(value >> 64);
  return high != 0 ? 64 + std::bit_width(high) : std::bit_width(static_cast<uint64_t>(value));
}

}  // namespace

void ExactSum::Add(double x) {
  const auto bits = std::bit_cast<uint64_t>(x);
  const auto exponent = static_cast<int>((bits >> 52) & 0x7ff);
  if (exponent == 0x7ff) {
    special_ += x;
    return;
  }
  uint64_t mantissa = bits & ((uint64_t{1} << 52) - 1);
  if (exponent != 0) mantissa |= uint64_t{1} << 52;
  const int shift = std::max(exponent, 1) - 1;
  auto* digit = &digits_[static_cast<size_t>(shift / 32)];
  const auto low = static_cast<int64_t>(mantissa << (shift % 32)) & kDigitMask;
  const auto high = static_cast<int64_t>(mantissa >> (32 - shift % 32));
  if (bits >> 63) {
    digit[0] -= low;
    digit[1] -= high;
  } else {
    digit[0] += low;
    digit[1] += high;
  }
  if (--adds_left_ == 0) Carry();
}

// All digits but the last in [0, 2^32); the last has the sign.
void ExactSum::Carry() {
  int64_t carry = 0;
  for (size_t i = 0; i + 1 < kDigits; ++i) {
    const int64_t value = digits_[i] + carry;
    carry = value >> 32;
    digits_[i] = value & kDigitMask;
  }
  digits_[kDigits - 1] += carry;
  adds_left_ = kAddsBetweenCarries;
}

void ExactSum::Merge(const ExactSum& other) {
  ExactSum addend = other;
  addend.Carry();
  Carry();
  for (size_t i = 0; i < kDigits; ++i) digits_[i] += addend.digits_[i];
  --adds_left_;
  if (addend.special_ != 0) special_ += addend.special_;
}

double ExactSum::Round() const {
  if (special_ != 0) return std::isnan(special_) ? std::numeric_limits<double>::quiet_NaN() : special_;
  ExactSum sum = *this;
  sum.Carry();
  const bool negative = sum.digits_.back() < 0;
  if (negative) {
    for (auto& digit : sum.digits_) digit = -digit;
    sum.Carry();
  }
  int top = kDigits - 1;
  while (top >= 0 && sum.digits_[static_cast<size_t>(top)] == 0) --top;
  if (top < 0) return 0;
  // The three leading digits hold more bits than a mantissa; of the others only matters whether they are
  // zero.
  const int bottom = std::max(top - 2, 0);
  Uint128 leading = 0;
  for (int i = top; i >= bottom; --i)
    leading = leading << 32 | static_cast<uint64_t>(sum.digits_[static_cast<size_t>(i)]);
  const bool rest = std::any_of(sum.digits_.begin(), sum.digits_.begin() + bottom,
                                [](int64_t digit) { return digit != 0; });
  const int dropped = std::max(BitWidth(leading) - kMantissaBits, 0);
  auto mantissa = static_cast<uint64_t>(leading >> dropped);
  if (dropped > 0) {
    const Uint128 half = Uint128{1} << (dropped - 1);
    const Uint128 remainder = leading & ((half << 1) - 1);
    if (remainder > half || (remainder == half && (rest || (mantissa & 1)))) ++mantissa;
  }
  const double magnitude = std::ldexp(static_cast<double>(mantissa), dropped + 32 * bottom + kLeastExponent);
  return negative ? -magnitude : magnitude;
}

}  // namespace partita
