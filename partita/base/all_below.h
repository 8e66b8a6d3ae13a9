// Whether many small numbers are all below a bound: indices, before something is looked up by them. Pure.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace partita {

// Of unsigned numbers. In vectors, since where all are below there is nothing to stop for.
template <typename T>
bool AllBelow(const T* numbers, size_t count, uint64_t bound) {
  static_assert(std::is_unsigned_v<T>);
  if (bound == 0) return count == 0;
  if (bound > std::numeric_limits<T>::max()) return true;
  typedef T Lanes __attribute__((vector_size(16)));
  constexpr size_t kLanes = sizeof(Lanes) / sizeof(T);
  const auto last = static_cast<T>(bound - 1);
  Lanes lasts = {}, above = {};
  lasts += last;
  size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes) {
    Lanes a, b;
    std::memcpy(&a, numbers + i, sizeof(a));
    std::memcpy(&b, numbers + i + kLanes, sizeof(b));
    above |= (Lanes)(a > lasts) | (Lanes)(b > lasts);
  }
  bool any = false;
  for (; i < count; ++i) any |= numbers[i] > last;
  for (size_t lane = 0; lane < kLanes; ++lane) any |= above[lane] != 0;
  return !any;
}

}  // namespace partita
