// The pages of one column chunk without repetition, a page at a time in memory: which rows are there, and the
// values or indices of those that are. Internal to the room.
//
// Pages without nulls, which most are, are told by one look at their levels; nothing is decoded of those.
// Indices and plain numbers go to their place in the array in runs, never one by one.
#pragma once

#include <arrow/buffer.h>

#include <memory>
#include <string_view>

#include "partita/storage/parquet/numbers.h"
#include "partita/storage/parquet/page_walk.h"
#include "partita/storage/parquet/runs.h"

namespace partita {

// Which of some rows are there, as the bitmap of an array.
class Presence {
 public:
  Presence(int64_t rows, arrow::MemoryPool* pool) : rows_(rows), pool_(pool) {}

  Status AddAll(int64_t rows);
  // Levels of one bit.
  Status Add(RunReader* levels, int64_t rows);

  int64_t rows() const { return done_; }  // that were added
  int64_t nulls() const { return nulls_; }
  const uint8_t* bits() const { return bits_->data(); }                   // where there are nulls
  std::shared_ptr<arrow::Buffer> TakeBits() { return std::move(bits_); }  // null: all rows are there

 private:
  Status MakeBits();

  const int64_t rows_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::Buffer> bits_;
  int64_t done_ = 0, nulls_ = 0;
};

// After a failure it is of no use until it was closed. May throw what libparquet throws.
class FlatPageReader {
 public:
  // Of numbers, or of text where the form has no width.
  FlatPageReader(std::shared_ptr<ColumnarFile> file, int row_group, int column, NumberForm form);

  // Goes to a row at or behind the next one. Pages before it are not read.
  Status SkipTo(int64_t row);
  // Opens the page of the next row, where none is open.
  Status Open();
  // Begins anew, and lets go of memory.
  void Close();

  // Of the open page.
  int64_t rows_left() const { return page_.rows; }
  bool indexed() const { return page_.indexed; }
  // Takes so many rows, and tells how many of them are there: their values must be read next.
  Result<int64_t> Take(int64_t rows, Presence* presence);
  Status ReadNumbers(int64_t count, uint8_t* out);
  Status ReadIndices(int64_t count, uint32_t* out);  // where indexed; all are in the dictionary
  // Plain text: lengths of 4 bytes and what they are of. Who reads some of it says how much.
  std::string_view text() const { return page_.values; }
  void AdvanceText(int64_t bytes) { page_.values.remove_prefix(static_cast<size_t>(bytes)); }

  // Of the chunk; empty before its first page was opened. The values as buffers of an array: numbers, or
  // offsets of 32 bits and text.
  int64_t dictionary_size() const { return dictionary_size_; }
  const std::shared_ptr<arrow::Buffer>& dictionary_values() const { return dictionary_values_; }
  const std::shared_ptr<arrow::Buffer>& dictionary_offsets() const { return dictionary_offsets_; }
  int64_t longest_text() const { return longest_text_; }

 private:
  struct Page {
    int64_t rows = 0;   // left
    bool whole = true;  // no nulls
    RunReader levels;   // otherwise
    bool indexed = false;
    int index_width = 0;
    RunReader indices;
    std::string_view values;  // plain ones, what is left
  };

  Status NextPage();
  Result<std::string_view> ReadBody(int64_t size_bytes, bool compressed);
  Status OpenData(const PageHeader& header);
  Status OpenIndices(Page* page);
  Status OpenDictionary(const PageHeader& header);
  Status OpenTextDictionary(std::string_view values, int64_t count);
  Status SkipValues(int64_t count);
  bool is_text() const { return form_.width == 0; }

  std::shared_ptr<ColumnarFile> file_;
  PageWalk walk_;
  const NumberForm form_;
  int64_t row_ = 0;  // the next one
  int64_t wanted_ = 0;
  Page page_;
  std::shared_ptr<arrow::ResizableBuffer> levels_, body_;
  bool has_dictionary_ = false;
  int64_t dictionary_size_ = 0, longest_text_ = 0;
  std::shared_ptr<arrow::Buffer> dictionary_values_, dictionary_offsets_;
};

}  // namespace partita
