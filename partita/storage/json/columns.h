// Columns built from JSON values by schema, and the guess of a schema from JSON values. Internal to storage/.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/storage/json/reader.h"

namespace arrow {
class Array;
class DataType;
class Field;
class MemoryPool;
class Schema;
}  // namespace arrow

namespace partita {

class JsonColumn {
 public:
  virtual ~JsonColumn() = default;
  // Takes the next value. Data errors name the value and the type.
  virtual Status Append(JsonReader* reader, int depth) = 0;
  virtual Status AppendNull() = 0;
  virtual void Reset() = 0;
  virtual Result<std::shared_ptr<arrow::Array>> Finish() = 0;

  // Scalars (see CellParser; binary is read from base64; a value that is no string goes into a string column
  // as its JSON text), lists, structs and maps of them. Other types: user error.
  static Result<std::unique_ptr<JsonColumn>> Make(const std::shared_ptr<arrow::DataType>& type,
                                                  arrow::MemoryPool* pool, int depth = 0);
};

// The fields of an object: of a row, or of a struct. Fields that are absent are null, names that no field has
// are skipped.
class JsonFields {
 public:
  static Result<std::unique_ptr<JsonFields>> Make(const std::vector<std::shared_ptr<arrow::Field>>& fields,
                                                  arrow::MemoryPool* pool, int depth);
  Status Append(JsonReader* reader, int depth);
  Status AppendNulls();
  void Reset();
  Result<std::vector<std::shared_ptr<arrow::Array>>> Finish();

 private:
  int Find(std::string_view name);

  std::vector<std::string> names_;
  std::vector<std::unique_ptr<JsonColumn>> columns_;
  std::vector<uint64_t> seen_;  // in which row a field was last seen
  uint64_t row_ = 0;
  size_t expected_ = 0;  // where the next name is likely: writers keep an order
};

// Guesses the schema of objects: null < bool | int64 < double | list | struct; what disagrees, integers
// beyond int64, empty structs and what nests too deep are strings (their JSON text), and so are fields that
// are always null.
class JsonTypeGuess {
 public:
  JsonTypeGuess();
  ~JsonTypeGuess();
  JsonTypeGuess(JsonTypeGuess&&) noexcept;
  // Takes the next value.
  Status Add(JsonReader* reader, int depth);
  std::shared_ptr<arrow::DataType> type() const;
  // Of a guess that saw objects only: their fields, in order of first occurrence.
  std::vector<std::shared_ptr<arrow::Field>> fields() const;

 private:
  enum class Kind { kNone, kBool, kInt, kFloat, kString, kList, kStruct, kMixed };
  void Merge(Kind kind);
  Kind kind_ = Kind::kNone;
  std::vector<std::pair<std::string, std::unique_ptr<JsonTypeGuess>>> fields_;
  std::unique_ptr<JsonTypeGuess> element_;
};

}  // namespace partita
