// Counts and sums of many rows of few groups. Private to the aggregates.
//
// The state of a group is read and written again for each of its rows. Where the groups are few, those of
// neighbouring rows are the same ones again and again, and each row waits for the one before it: here each of
// four rows has states of its own, of one word, and all of them are added up at the end.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>

namespace partita {

inline constexpr size_t kFewGroups = 512;

// Whether so many rows are worth it.
inline bool AreFew(size_t num_groups, size_t rows) {
  return num_groups <= kFewGroups && rows >= 8 * num_groups;
}

// Calls add(group, sum, count) for the groups that have any of the rows. T: integers of up to 32 bits. All
// groups are less than num_groups, which are few.
template <typename T, typename Add>
void AddFewGroups(const T* values, std::span<const uint32_t> groups, size_t num_groups, Add add) {
  static_assert(sizeof(T) <= 4);
  constexpr size_t kLanes = 4;
  constexpr size_t kMostRows = size_t{1} << 15;  // at once: counts above, and sums below, have room in a word
  constexpr int kCountBit = 48;
  constexpr int64_t kLeast = std::numeric_limits<T>::min();  // values are counted from it: no sum is negative
  const auto word = [&](size_t row) {
    return (uint64_t{1} << kCountBit) + static_cast<uint64_t>(static_cast<int64_t>(values[row]) - kLeast);
  };
  std::array<std::array<uint64_t, kFewGroups>, kLanes> lanes;
  for (size_t begin = 0; begin < groups.size(); begin += kMostRows) {
    for (auto& lane : lanes) std::memset(lane.data(), 0, num_groups * sizeof(uint64_t));
    const size_t end = std::min(groups.size(), begin + kMostRows);
    size_t row = begin;
    for (; row + kLanes <= end; row += kLanes) {
#pragma GCC unroll 4
      for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane][groups[row + lane]] += word(row + lane);
    }
    for (; row < end; ++row) lanes[0][groups[row]] += word(row);
    for (size_t group = 0; group < num_groups; ++group) {
      uint64_t all = 0;
      for (const auto& lane : lanes) all += lane[group];
      const auto count = static_cast<int64_t>(all >> kCountBit);
      if (count == 0) continue;
      const auto sum = static_cast<int64_t>(all & ((uint64_t{1} << kCountBit) - 1));
      add(static_cast<uint32_t>(group), sum + count * kLeast, count);
    }
  }
}

}  // namespace partita
