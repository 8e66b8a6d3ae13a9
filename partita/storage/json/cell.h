// Arrow values as JSON text, and their plain text form: what the JSONL, WebDataset and CSV writers share.
// Internal to storage/.
//
//   null null    bool true/false    integers exact    floats shortest that reads back; "NaN", "Infinity",
//   "-Infinity" (strings) decimals a number with all digits of their scale    strings as they are (invalid
//   UTF-8: U+FFFD)    binary base64 date "2024-01-31"    time "12:30:00.000001"    timestamp
//   "2024-01-31T12:30:00.000001", with "Z" when it has a zone (UTC) duration an integer of its unit    list
//   [..]    struct {..}, fields in schema order    map {..} in entry order, keys as strings; [[k, v], ..]
//   when keys are no strings    dictionary, run-end encoded, union, extension: the value they stand for
//
// Fractions of seconds have the digits of the unit (0, 3, 6, 9), so equal types give equal widths.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "partita/base/error.h"
#include "partita/storage/text/text_sink.h"

namespace arrow {
class Array;
}

namespace partita {

// Writes the values of one array. Holds a reference to it; made once per batch and column, so that a cell
// costs one virtual call and no allocation.
class JsonCellWriter {
 public:
  virtual ~JsonCellWriter() = default;
  // The value as JSON; null as `null`.
  virtual void Write(int64_t row, TextSink* out) const = 0;
  // The value as plain text: strings without quotes, binary as its bytes, all else as JSON without quotes.
  // Not for nulls.
  virtual void WriteText(int64_t row, TextSink* out) const { Write(row, out); }
  // As WriteText, but binary as base64: for a file that is text. Not for nulls.
  virtual void WriteCell(int64_t row, TextSink* out) const { WriteText(row, out); }
  virtual bool IsNull(int64_t row) const = 0;

  static Result<std::unique_ptr<JsonCellWriter>> Make(const std::shared_ptr<arrow::Array>& array);
};

}  // namespace partita
