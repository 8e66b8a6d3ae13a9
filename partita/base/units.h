// Bytes, counts and durations as people write them. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

inline constexpr int64_t kKiB = 1024;
inline constexpr int64_t kMiB = 1024 * kKiB;
inline constexpr int64_t kGiB = 1024 * kMiB;

// "2GiB", "512 MiB", "1.5G", "100kB", "4096": binary units Ki/Mi/Gi/Ti (and K/M/G/T alone = binary), decimal kB/MB/GB/TB.
// Negative, NaN, overflow and unknown units are user errors.
Result<int64_t> ParseBytes(std::string_view text);
// "512 MiB", "1.50 GiB", "17 B": at most three significant digits.
std::string FormatBytes(int64_t bytes);
// "12,345"
std::string FormatCount(int64_t count);
// "1.2 s", "350 ms", "2 min 5 s", "3 h 10 min"
std::string FormatSeconds(double seconds);
// "10", "10s", "250ms", "2m" -> seconds. A plain number is seconds.
Result<double> ParseSeconds(std::string_view text);

}  // namespace partita
