#include "partita/base/units.h"

#include <array>
#include <charconv>
#include <cmath>
#include <limits>

namespace partita {
namespace {

// A number split from its unit: digits are exact, because a double loses bytes beyond 2^53.
struct Quantity {
  __int128 mantissa = 0;  // value = mantissa / scale
  __int128 scale = 1;
  std::string unit;  // lower case, without spaces around
};

constexpr int kMaxDigits = 19;  // mantissa < 10^19, times a unit of 2^40 or 10^12, fits 128 bits

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

// [digits][.digits][spaces][letters]; false where the text has another form.
bool SplitQuantity(std::string_view text, Quantity* out) {
  text = Trim(text);
  size_t i = 0;
  int digits = 0, significant = 0;
  bool in_fraction = false;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.' && !in_fraction) {
      in_fraction = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    ++digits;
    if (significant > 0 || c != '0') ++significant;
    // Beyond this many digits a fraction cannot matter; an integer part that long overflows below.
    if (in_fraction &&
        (significant > kMaxDigits || out->scale > static_cast<__int128>(1'000'000'000'000'000)))
      continue;
    if (significant > kMaxDigits) return false;
    out->mantissa = out->mantissa * 10 + (c - '0');
    if (in_fraction) out->scale *= 10;
  }
  if (digits == 0) return false;
  for (const char c : Trim(text.substr(i))) {
    if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))) return false;
    out->unit += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return true;
}

// Bytes of a unit in lower case, or 0.
int64_t UnitBytes(std::string_view unit) {
  if (unit.empty() || unit == "b") return 1;
  static constexpr std::string_view kPrefixes = "kmgt";
  const size_t power = kPrefixes.find(unit[0]);
  if (power == std::string_view::npos) return 0;
  const std::string_view rest = unit.substr(1);
  if (rest.empty() || rest == "i" || rest == "ib") return int64_t{1} << (10 * (power + 1));
  if (rest != "b") return 0;
  int64_t bytes = 1000;
  for (size_t i = 0; i < power; ++i) bytes *= 1000;
  return bytes;
}

std::string Fixed(double value, int decimals) {
  // to_chars, not printf: the decimal point must not follow the process's locale.
  std::array<char, 64> buffer;
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, decimals);
  return std::string(buffer.data(), end.ptr);
}

// "3 h 10 min": two neighbouring units.
std::string TwoUnits(int64_t big, const char* big_unit, int64_t small, const char* small_unit) {
  return std::to_string(big) + " " + big_unit + " " + std::to_string(small) + " " + small_unit;
}

}  // namespace

Result<int64_t> ParseBytes(std::string_view text) {
  static constexpr char kHint[] = "write a size like 2GiB, 512 MiB, 1.5G, 100kB or 4096";
  const auto fail = [&](const char* why) {
    return UserError("'" + std::string(text.substr(0, 64)) + "' is not a size in bytes: " + why, kHint);
  };
  const std::string_view trimmed = Trim(text);
  if (!trimmed.empty() && trimmed.front() == '-') return fail("it is negative");
  Quantity quantity;
  if (!SplitQuantity(text, &quantity)) return fail("a number and a unit are expected");
  const int64_t unit = UnitBytes(quantity.unit);
  if (unit == 0) return fail("the unit is unknown");
  if (unit == 1 && quantity.mantissa % quantity.scale != 0) return fail("a byte cannot be divided");
  const __int128 bytes = quantity.mantissa * unit / quantity.scale;
  if (bytes > std::numeric_limits<int64_t>::max()) return fail("it is too large");
  return static_cast<int64_t>(bytes);
}

std::string FormatBytes(int64_t bytes) {
  static constexpr std::array<const char*, 7> kUnits = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  const std::string sign = bytes < 0 ? "-" : "";
  const uint64_t magnitude = bytes < 0 ? 0 - static_cast<uint64_t>(bytes) : static_cast<uint64_t>(bytes);
  size_t unit = 0;
  double value = static_cast<double>(magnitude);
  // 999.5 and not 1024: a fourth digit belongs to the next unit.
  while (value >= 999.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  if (value == std::floor(value)) decimals = 0;
  return sign + Fixed(value, decimals) + " " + kUnits[unit];
}

std::string FormatCount(int64_t count) {
  const std::string digits = std::to_string(count);
  const size_t first = count < 0 ? 1 : 0;
  std::string out;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > first && (digits.size() - i) % 3 == 0) out += ',';
    out += digits[i];
  }
  return out;
}

std::string FormatSeconds(double seconds) {
  if (!std::isfinite(seconds)) return "unknown";
  if (seconds < 0) return "-" + FormatSeconds(-seconds);
  if (seconds == 0) return "0 s";
  const double ms = seconds * 1000;
  if (ms < 0.01) return "<0.01 ms";
  if (ms < 0.995) return Fixed(ms, 2) + " ms";
  if (ms < 999.5) return Fixed(ms, 0) + " ms";
  if (seconds < 59.95) return Fixed(seconds, 1) + " s";
  if (seconds > 1e15) return "unknown";
  const auto whole = static_cast<int64_t>(std::llround(seconds));
  if (whole < 3600) return TwoUnits(whole / 60, "min", whole % 60, "s");
  const int64_t minutes = whole / 60;
  if (minutes < 24 * 60) return TwoUnits(minutes / 60, "h", minutes % 60, "min");
  return TwoUnits(minutes / (24 * 60), "d", minutes / 60 % 24, "h");
}

Result<double> ParseSeconds(std::string_view text) {
  static constexpr char kHint[] = "write a duration like 10, 10s, 250ms, 2m or 1h";
  Quantity quantity;
  const auto fail = [&](const char* why) {
    return UserError("'" + std::string(text.substr(0, 64)) + "' is not a duration: " + why, kHint);
  };
  const std::string_view trimmed = Trim(text);
  if (!trimmed.empty() && trimmed.front() == '-') return fail("it is negative");
  if (!SplitQuantity(text, &quantity)) return fail("a number and a unit are expected");
  double unit = 0;
  if (quantity.unit.empty() || quantity.unit == "s") unit = 1;
  if (quantity.unit == "us") unit = 1e-6;
  if (quantity.unit == "ms") unit = 1e-3;
  if (quantity.unit == "m" || quantity.unit == "min") unit = 60;
  if (quantity.unit == "h") unit = 3600;
  if (quantity.unit == "d") unit = 86400;
  if (unit == 0) return fail("the unit is unknown");
  return static_cast<double>(quantity.mantissa) / static_cast<double>(quantity.scale) * unit;
}

}  // namespace partita
