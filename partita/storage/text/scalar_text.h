// Scalars as text, the same on every host: what the JSON and CSV writers are made of. Internal to storage/.
#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>
#include <string_view>

#include "partita/storage/text/text_sink.h"

namespace partita {

void WriteInteger(int64_t value, TextSink* out);
void WriteInteger(uint64_t value, TextSink* out);
// The shortest text that reads back, with ".0" when it is whole; NaN, Infinity, -Infinity, in quotes when
// `quoted`.
void WriteFloat(float value, bool quoted, TextSink* out);
void WriteFloat(double value, bool quoted, TextSink* out);
void WriteBase64(std::string_view bytes, TextSink* out);

// ISO 8601, without quotes. Fractions have the digits of the unit.
struct UnitScale {
  int64_t per_second;
  int digits;
};
UnitScale ScaleOf(arrow::TimeUnit::type unit);
void WriteDate(int64_t days_since_epoch, TextSink* out);
void WriteTimeOfDay(int64_t value, UnitScale scale, TextSink* out);
void WriteTimestamp(int64_t value, const arrow::TimestampType& type, TextSink* out);

// A JSON string with its quotes; control characters, quotes and backslashes escaped, invalid UTF-8 replaced.
void WriteJsonString(std::string_view text, TextSink* out);
// The length of the valid UTF-8 sequence at the front of `text`, or 0.
size_t Utf8SequenceLength(std::string_view text);

}  // namespace partita
