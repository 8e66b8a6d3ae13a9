// The pages of a chunk of a flat column, made without libparquet's encoder, and what makers of them share.
// Internal to the room.
//
// Values are indices of a dictionary while that is short, and plain from there on. Pages are of version 1, as
// libparquet makes them; those of indices wait until the dictionary is known, which stands before them. Least
// and greatest values are those of the chunk; pages have none of their own.
#pragma once

#include <arrow/array.h>
#include <arrow/buffer_builder.h>
#include <parquet/column_page.h>
#include <parquet/column_writer.h>
#include <parquet/properties.h>
#include <parquet/statistics.h>

#include <memory>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace partita {

// The pages of texts (text_pages.h) or numbers (number_pages.h) of one chunk. All may throw what libparquet
// throws.
class FlatPages {
 public:
  virtual ~FlatPages() = default;

  // Rows, of a type that the maker knows.
  virtual Status Add(const arrow::Array& rows) = 0;
  // What comes next is plain. Without rows before it the chunk has no dictionary.
  virtual Status EndDictionary() = 0;
  // Once all rows are there.
  virtual Status Finish() = 0;
  virtual int64_t nulls() const = 0;
  // The least and the greatest value, where there are any.
  virtual void SetRange(parquet::EncodedStatistics* statistics) const = 0;
};

// Puts levels and values together to pages.
class PageMaker {
 public:
  // Pages go to `pager`. All of them outlive it.
  PageMaker(const parquet::ColumnDescriptor* descr, const parquet::WriterProperties* properties,
            parquet::PageWriter* pager, arrow::MemoryPool* pool);

  // Rows are added, and pages looked at, in steps of so many. Part of the format of our files.
  static constexpr int64_t kStepRows = 1 << 10;
  Status StartStep(int64_t rows) { return has_nulls_ ? levels_.Reserve(rows) : Status::OK(); }
  void AddPresent() {
    if (has_nulls_) levels_.UnsafeAppend(1);
    ++rows_;
  }
  void AddPresent(int64_t rows) {
    if (has_nulls_) levels_.UnsafeAppend(rows, uint32_t{1});
    rows_ += rows;
  }
  Status AddNull();

  int64_t rows() const { return rows_; }  // of the open page
  int64_t nulls() const { return nulls_; }
  // With so many bytes of values.
  bool IsFull(int64_t bytes) const {
    return rows_ >= properties_->max_rows_per_page() || bytes >= properties_->data_pagesize();
  }
  bool IsFullDictionary(int64_t bytes) const { return bytes >= properties_->dictionary_pagesize_limit(); }

  // End the open page, if it has rows. One of indices waits for WriteDictionary.
  Status EndIndices(const uint32_t* codes, int64_t count, uint32_t entries);
  Status EndPlain(const uint8_t* values, int64_t bytes);
  // Writes the dictionary and the pages that wait for it; nothing where none does. Whether it did.
  bool WriteDictionary(std::string_view plain, uint32_t entries);

 private:
  Result<uint8_t*> StartPage(int64_t most_value_bytes);
  Result<parquet::DataPageV1> EndPage(const uint8_t* end, parquet::Encoding::type encoding, bool is_kept);

  const parquet::ColumnDescriptor* descr_;
  const parquet::WriterProperties* properties_;
  parquet::PageWriter* pager_;
  arrow::MemoryPool* pool_;
  const bool nullable_;
  int64_t rows_ = 0;
  bool has_nulls_ = false;                      // the open page
  arrow::TypedBufferBuilder<uint32_t> levels_;  // then: which rows are there
  int64_t nulls_ = 0;
  std::shared_ptr<arrow::ResizableBuffer> scratch_, compressed_;
  std::vector<parquet::DataPageV1> kept_;
};

// How many bits the indices of a dictionary take.
int IndexBits(uint32_t entries);

}  // namespace partita
