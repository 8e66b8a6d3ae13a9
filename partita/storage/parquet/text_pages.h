// The pages of a column chunk of texts, made without libparquet's encoder. Internal to the room.
//
// Texts are indices of a dictionary while that is short, and plain from there on. They come as values or as
// indices of any dictionary, and whether they do changes no byte: codes are given in the order in which texts
// come, so that of an index it is enough to remember which code its text has. Nothing is hashed but texts
// that are seen for the first time in a dictionary. Pages are of version 1, as libparquet makes them; those
// of indices wait here until the dictionary is known, which stands before them.
#pragma once

#include <arrow/array.h>
#include <parquet/column_page.h>
#include <parquet/column_writer.h>
#include <parquet/properties.h>
#include <parquet/statistics.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "partita/storage/parquet/text_codes.h"

namespace partita {

// Texts as they may stand in an array: values, or indices of a dictionary of them.
bool IsText(const arrow::DataType& type);
bool IsTextCodes(const arrow::DataType& type);
// What indices stand for; other arrays as they are.
Result<std::shared_ptr<arrow::Array>> ValuesOf(std::shared_ptr<arrow::Array> array, arrow::MemoryPool* pool);

// The least and the greatest of texts, by their bytes.
class TextRange {
 public:
  // `prefix`: its first eight bytes as a number, the first leading, zeros behind its end.
  void Add(std::string_view text, uint64_t prefix) {
    if (any_ && prefix > least_prefix_ && prefix < greatest_prefix_) return;
    Compare(text, prefix);
  }
  void Add(std::string_view text);
  bool any() const { return any_; }
  const std::string& least() const { return least_; }
  const std::string& greatest() const { return greatest_; }

 private:
  void Compare(std::string_view text, uint64_t prefix);

  bool any_ = false;
  uint64_t least_prefix_ = 0, greatest_prefix_ = 0;
  std::string least_, greatest_;
};

class TextPages {
 public:
  // Pages go to `pager`. All of them outlive it.
  TextPages(const parquet::ColumnDescriptor* descr, const parquet::WriterProperties* properties,
            parquet::PageWriter* pager, arrow::MemoryPool* pool);

  // Rows of a type above. May throw what libparquet throws, as all calls.
  Status Add(const arrow::Array& texts);
  // What comes next is plain. Without rows before it the chunk has no dictionary.
  Status EndDictionary();
  // Once all rows are there.
  Status Finish();
  int64_t nulls() const { return nulls_; }
  const TextRange& range() const { return range_; }

 private:
  template <typename Rows>
  Status AddRows(const Rows& rows);
  template <typename Texts>
  Status AddIndices(const arrow::DictionaryArray& texts);
  template <typename Rows>
  Status AddCodes(const Rows& rows, int64_t begin, int64_t end);
  template <typename Rows>
  Status AddPlain(const Rows& rows, int64_t begin, int64_t end);
  template <typename Rows>
  Status CodeOf(const Rows& rows, int64_t row, uint32_t* code);
  Status Know(const std::shared_ptr<arrow::ArrayData>& dictionary);
  Status AddNull();
  bool PageIsFull() const;
  Status EndPage();
  uint8_t* PutLevels(uint8_t* out) const;

  const parquet::ColumnDescriptor* descr_;
  const parquet::WriterProperties* properties_;
  parquet::PageWriter* pager_;
  arrow::MemoryPool* pool_;
  const bool nullable_;
  std::optional<TextCodes> codes_;  // none: what comes is plain
  // Of the dictionary that rows come with: the code of each entry that was met.
  std::shared_ptr<arrow::ArrayData> known_;
  arrow::TypedBufferBuilder<uint32_t> code_of_;
  // The open page: the texts of rows that are there, as codes or plain, and which are, once one is not.
  arrow::TypedBufferBuilder<uint32_t> present_;
  arrow::BufferBuilder plain_;
  arrow::TypedBufferBuilder<uint32_t> levels_;
  int64_t page_rows_ = 0;
  bool page_has_nulls_ = false;
  int64_t nulls_ = 0;
  TextRange range_;
  std::shared_ptr<arrow::ResizableBuffer> scratch_, compressed_;
  std::vector<parquet::DataPageV1> pages_;  // of indices
};

}  // namespace partita
