// Whether many small numbers are all below a bound: indices, before something is looked up by them. Pure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace partita {

// Of unsigned numbers of up to 32 bits. Told by signs, as the simplest vectors tell: a number below 2^31 has
// none, and what is left from it to the last one below the bound has none. In blocks of a constant size,
// which the compiler turns into vectors.
template <typename T>
bool AllBelow(const T* numbers, size_t count, uint64_t bound) {
  static_assert(sizeof(T) <= sizeof(uint32_t) && T(-1) > T(0));
  constexpr uint32_t kSign = uint32_t{1} << 31;
  if (bound == 0 || bound > kSign)
    return std::all_of(numbers, numbers + count, [&](T number) { return number < bound; });
  const auto last = static_cast<uint32_t>(bound - 1);
  constexpr size_t kBlock = 32;
  uint32_t signs[kBlock] = {};
  size_t i = 0;
  for (; i + kBlock <= count; i += kBlock) {
    T block[kBlock];
    std::memcpy(block, numbers + i, sizeof(block));
    for (size_t j = 0; j < kBlock; ++j) signs[j] |= block[j] | (last - block[j]);
  }
  for (; i < count; ++i) signs[0] |= numbers[i] | (last - numbers[i]);
  uint32_t any = 0;
  for (const uint32_t sign : signs) any |= sign;
  return (any & kSign) == 0;
}

}  // namespace partita
