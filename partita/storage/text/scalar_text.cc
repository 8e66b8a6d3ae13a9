#include "partita/storage/text/scalar_text.h"

#include <arrow/type.h>

#include <charconv>
#include <cmath>
#include <cstdio>

namespace partita {
namespace {

constexpr char kHexDigits[] = "0123456789abcdef";
constexpr char kBase64Digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

template <typename Integer>
void PutInteger(Integer value, TextSink* out) {
  char text[24];
  const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
  out->Append(std::string_view(text, static_cast<size_t>(end - text)));
}

template <typename Float>
void PutFloat(Float value, bool quoted, TextSink* out) {
  if (std::isfinite(value)) {
    char text[32];
    const auto end = std::to_chars(text, text + sizeof(text), value).ptr;
    const std::string_view digits(text, static_cast<size_t>(end - text));
    out->Append(digits);
    // Readers that guess types must see that this is no integer.
    if (digits.find_first_of(".en") == std::string_view::npos) out->Append(".0");
    return;
  }
  const std::string_view name = std::isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity";
  if (quoted) out->Append('"');
  out->Append(name);
  if (quoted) out->Append('"');
}

void WriteDigits(int64_t value, int width, TextSink* out) {
  char text[24];
  const int length = std::snprintf(text, sizeof(text), "%0*lld", width, static_cast<long long>(value));
  out->Append(std::string_view(text, static_cast<size_t>(length)));
}

}  // namespace

void WriteInteger(int64_t value, TextSink* out) { PutInteger(value, out); }
void WriteInteger(uint64_t value, TextSink* out) { PutInteger(value, out); }
void WriteFloat(float value, bool quoted, TextSink* out) { PutFloat(value, quoted, out); }
void WriteFloat(double value, bool quoted, TextSink* out) { PutFloat(value, quoted, out); }

void WriteBase64(std::string_view bytes, TextSink* out) {
  size_t i = 0;
  const auto byte = [&](size_t at) { return static_cast<uint32_t>(static_cast<unsigned char>(bytes[at])); };
  for (; i + 3 <= bytes.size(); i += 3) {
    const uint32_t group = byte(i) << 16 | byte(i + 1) << 8 | byte(i + 2);
    const char text[4] = {kBase64Digits[group >> 18], kBase64Digits[(group >> 12) & 63],
                          kBase64Digits[(group >> 6) & 63], kBase64Digits[group & 63]};
    out->Append(std::string_view(text, 4));
  }
  const size_t left = bytes.size() - i;
  if (left == 0) return;
  const uint32_t group = byte(i) << 16 | (left == 2 ? byte(i + 1) << 8 : 0);
  const char text[4] = {kBase64Digits[group >> 18], kBase64Digits[(group >> 12) & 63],
                        left == 2 ? kBase64Digits[(group >> 6) & 63] : '=', '='};
  out->Append(std::string_view(text, 4));
}

void WriteDate(int64_t days, TextSink* out) {
  // Days to civil date, after H. Hinnant's "chrono-compatible low-level date algorithms"; good for all of
  // int64 / 2.
  const int64_t z = days + 719468;
  const int64_t era = (z >= 0 ? z : z - 146096) / 146097;
  const int64_t day_of_era = z - era * 146097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
  const int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month_index = (5 * day_of_year + 2) / 153;
  const int64_t day = day_of_year - (153 * month_index + 2) / 5 + 1;
  const int64_t month = month_index < 10 ? month_index + 3 : month_index - 9;
  const int64_t year = year_of_era + era * 400 + (month <= 2);
  if (year < 0) out->Append('-');
  WriteDigits(year < 0 ? -year : year, 4, out);
  out->Append('-');
  WriteDigits(month, 2, out);
  out->Append('-');
  WriteDigits(day, 2, out);
}

UnitScale ScaleOf(arrow::TimeUnit::type unit) {
  switch (unit) {
    case arrow::TimeUnit::SECOND:
      return {1, 0};
    case arrow::TimeUnit::MILLI:
      return {1000, 3};
    case arrow::TimeUnit::MICRO:
      return {1000000, 6};
    case arrow::TimeUnit::NANO:
      break;
  }
  return {1000000000, 9};
}

void WriteTimeOfDay(int64_t value, UnitScale scale, TextSink* out) {
  const int64_t seconds = value / scale.per_second;
  WriteDigits(seconds / 3600, 2, out);
  out->Append(':');
  WriteDigits(seconds / 60 % 60, 2, out);
  out->Append(':');
  WriteDigits(seconds % 60, 2, out);
  if (scale.digits > 0) {
    out->Append('.');
    WriteDigits(value % scale.per_second, scale.digits, out);
  }
}

void WriteTimestamp(int64_t value, const arrow::TimestampType& type, TextSink* out) {
  const UnitScale scale = ScaleOf(type.unit());
  const int64_t per_day = 86400 * scale.per_second;
  int64_t days = value / per_day, rest = value % per_day;
  if (rest < 0) {
    rest += per_day;
    --days;
  }
  WriteDate(days, out);
  out->Append('T');
  WriteTimeOfDay(rest, scale, out);
  if (!type.timezone().empty()) out->Append('Z');
}

size_t Utf8SequenceLength(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](size_t i) { return i < text.size() && (at(i) & 0xC0) == 0x80; };
  if (text.empty()) return 0;
  const unsigned char first = at(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    if (!follows(1) || !follows(2)) return 0;
    if (first == 0xE0 && at(1) < 0xA0) return 0;   // overlong
    if (first == 0xED && at(1) >= 0xA0) return 0;  // surrogates
    return 3;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    if (!follows(1) || !follows(2) || !follows(3)) return 0;
    if (first == 0xF0 && at(1) < 0x90) return 0;
    if (first == 0xF4 && at(1) >= 0x90) return 0;
    return 4;
  }
  return 0;
}

void WriteJsonString(std::string_view text, TextSink* out) {
  out->Append('"');
  size_t plain = 0;  // begin of the run of bytes that need no escape
  for (size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\') {
      ++i;
      continue;
    }
    if (byte >= 0x80) {
      if (const size_t length = Utf8SequenceLength(text.substr(i)); length > 0) {
        i += length;
        continue;
      }
    }
    out->Append(text.substr(plain, i - plain));
    switch (byte) {
      case '"':
        out->Append("\\\"");
        break;
      case '\\':
        out->Append("\\\\");
        break;
      case '\n':
        out->Append("\\n");
        break;
      case '\r':
        out->Append("\\r");
        break;
      case '\t':
        out->Append("\\t");
        break;
      default:
        if (byte >= 0x80) {
          out->Append("\xEF\xBF\xBD");
        } else {
          const char escape[6] = {'\\', 'u', '0', '0', kHexDigits[byte >> 4], kHexDigits[byte & 15]};
          out->Append(std::string_view(escape, 6));
        }
    }
    plain = ++i;
  }
  out->Append(text.substr(plain));
  out->Append('"');
}

}  // namespace partita
