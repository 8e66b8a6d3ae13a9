// Pages of full lists of one length, made without libparquet's encoder. Internal to the room.
//
// Their levels follow from the schema, and elements stand in a page as they stand in the array: a page of
// version 2, [repetition][definition][values], is one copy. Elements of a byte are indices of a dictionary of
// all 256 bytes, as Parquet's smallest number has four. No statistics but the null count are kept of
// elements, and pages that compress by less than a tenth stay as they are.
#pragma once

#include <arrow/type_fwd.h>
#include <arrow/util/compression.h>

#include <memory>
#include <optional>
#include <string>

#include "partita/base/error.h"
#include "partita/storage/parquet/pages.h"

namespace partita {

struct TensorLayout {
  int64_t length = 0;    // of each list, > 0
  int width = 0;         // of an element in the array
  int stored_width = 0;  // and in the page: larger where the element is widened to Parquet's 32 bits
  bool is_signed = false;
  bool indexed = false;  // elements are indices of a dictionary of all bytes

  int64_t list_bytes() const { return length * stored_width; }
};

// How a column's lists are stored, nullopt where Arrow's writer does it: nested lists, other elements than
// numbers, and integers of more than a byte if they may have a dictionary. Part of the format of our files.
std::optional<TensorLayout> TensorLayoutOf(const arrow::DataType& type, bool dictionary);

// `rows` (of the type above, or an extension of it) as elements; null where a list or an element is null.
std::shared_ptr<arrow::Array> FullElements(const arrow::Array& rows);

// What an indexed page's indices stand for: 256 numbers of 32 bits.
Result<std::shared_ptr<arrow::Buffer>> ByteDictionary(bool is_signed, arrow::MemoryPool* pool);

// The open page of a chunk.
class TensorPage {
 public:
  // A page has as many lists as bring it to `page_bytes`.
  TensorPage(const TensorLayout& layout, int64_t page_bytes, int16_t definition, arrow::MemoryPool* pool);

  const TensorLayout& layout() const { return layout_; }
  int64_t lists() const { return lists_; }
  int64_t values() const { return lists_ * layout_.length; }
  bool full() const { return lists_ == most_lists_; }
  // Takes up to `lists` lists, as many as fit; how many.
  Result<int64_t> Add(const uint8_t* elements, int64_t lists);
  // The levels of the lists: those of repetition, then those of definition.
  std::string Levels(int32_t* repetition_bytes, int32_t* definition_bytes);
  // The values as they stand in the page. The page is empty then.
  Result<std::shared_ptr<arrow::Buffer>> Take();

 private:
  Status Grow(int64_t bytes);

  const TensorLayout layout_;
  const int16_t definition_;
  arrow::MemoryPool* pool_;
  int64_t most_lists_;
  int64_t lists_ = 0;
  std::shared_ptr<arrow::ResizableBuffer> buffer_;
  std::string starts_;  // of starts_lists_ lists
  int64_t starts_lists_ = -1;
};

}  // namespace partita
