// What all image steps share: walk the rows of a column of encoded bytes, make new columns, leave bad rows
// out, emit in pieces.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/operator/operator.h"

namespace arrow {
class Array;
class Buffer;
class DataType;
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

// User error unless `column` holds bytes: binary, large_binary, binary_view, or the string types.
Status CheckBytesColumn(const arrow::Schema& schema, std::string_view column);

// A column of bytes of any layout. The array must outlive it.
class BytesColumn {
 public:
  // `array` has a type that CheckBytesColumn accepts.
  explicit BytesColumn(const arrow::Array& array) : array_(array) {}
  // nullopt: null.
  std::optional<std::string_view> At(int64_t row) const;

 private:
  const arrow::Array& array_;
};

// Collects buffers into one binary array: of one row without a copy.
class BinaryCollector {
 public:
  void Append(std::shared_ptr<arrow::Buffer> value);
  void AppendNull();
  int64_t bytes() const { return bytes_; }
  Result<std::shared_ptr<arrow::Array>> Finish(arrow::MemoryPool* pool);

 private:
  std::vector<std::shared_ptr<arrow::Buffer>> values_;  // null pointer: null
  int64_t bytes_ = 0;
};

// Makes the new columns of some rows of one block. One thread.
class ImageRowMaker {
 public:
  virtual ~ImageRowMaker() = default;
  // Adds one row from the image (nullopt: null). false: the row is dropped. After an error the row is not
  // added.
  virtual Result<bool> Append(int64_t row, std::optional<std::string_view> image) = 0;
  virtual int64_t bytes() const = 0;  // of the rows added
  // The columns, in the order of the step's names; starts afresh.
  virtual Result<std::vector<std::shared_ptr<arrow::Array>>> Finish() = 0;
};

struct ImageStep {
  std::string image_column;
  std::vector<std::string> made;  // names of the columns that the maker makes
  std::function<Result<std::unique_ptr<ImageRowMaker>>(const arrow::RecordBatch& batch, BudgetPool* pool)>
      new_maker;
};

std::unique_ptr<Transform> MakeImageTransform(ImageStep step, std::shared_ptr<arrow::Schema> output);

// `input` with `fields` in the place of those of the same name, else at the end.
struct NewColumn {
  std::string name;
  std::shared_ptr<arrow::DataType> type;
};
Result<std::shared_ptr<arrow::Schema>> WithColumns(const arrow::Schema& input,
                                                   const std::vector<NewColumn>& columns);

}  // namespace partita
