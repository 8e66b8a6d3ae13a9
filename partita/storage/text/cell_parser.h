// One column built from text values: what CSV cells and JSON scalars share. Internal to storage/.
#pragma once

#include <memory>
#include <string_view>

#include "partita/base/error.h"

namespace arrow {
class Array;
class DataType;
class MemoryPool;
}  // namespace arrow

namespace partita {

// Numbers are decimal ("+1", "1e3", "nan", "inf" for floats); bool is true/false/1/0 in any case; dates,
// times and timestamps are ISO 8601 (a timestamp with an offset is read as UTC; one without, in a zoned
// column, is taken as UTC); durations are integers of their unit; decimals keep their scale; strings must be
// valid UTF-8; binary is the bytes themselves.
class CellParser {
 public:
  virtual ~CellParser() = default;
  // A data error names the value and the type, not the column.
  virtual Status Append(std::string_view text) = 0;
  virtual Status AppendNull() = 0;
  virtual void Reset() = 0;
  virtual Result<std::shared_ptr<arrow::Array>> Finish() = 0;

  // A user error for types that have no text form (lists, structs, unions, dictionaries).
  static Result<std::unique_ptr<CellParser>> Make(const std::shared_ptr<arrow::DataType>& type,
                                                  arrow::MemoryPool* pool);
};

// Guesses the type of a column from its values' text: null < bool | int64 < double | date32 < timestamp[us] |
// string.
class CellTypeGuess {
 public:
  void Add(std::string_view text);
  // Null-only columns are strings.
  std::shared_ptr<arrow::DataType> type() const;

 private:
  enum class Kind { kNone, kBool, kInt, kFloat, kDate, kTimestamp, kZonedTimestamp, kString };
  static Kind KindOfText(std::string_view text);
  Kind kind_ = Kind::kNone;
};

std::string_view TrimSpaces(std::string_view text);

}  // namespace partita
