// The values of one column chunk, one after the other, while its pages are decompressed. Internal to the
// room.
#pragma once

#include <parquet/column_reader.h>

#include <memory>
#include <vector>

#include "partita/storage/parquet/field.h"
#include "partita/storage/parquet/page_walk.h"

namespace partita {

// Whatever is refused memory may be called again; any other failure is final. May throw what libparquet
// throws.
class FatPages {
 public:
  FatPages(std::shared_ptr<ColumnarFile> file, int row_group, int column);

  // The next value that is taken is that of `row`, or one behind it. Pages before it are not read.
  Status SkipTo(int64_t row);
  // Opens the next value: the calls below are about it.
  Status Locate();
  bool valid() const { return value_.valid; }
  int64_t value_bytes() const { return value_.size; }
  // The value's bytes; goes on to the next one.
  Status Take(uint8_t* out);

  int64_t row() const { return row_; }                  // of the next value
  int64_t values_left() const { return page_.values; }  // in the open page
  int64_t average_bytes() const;
  bool nullable() const { return descr_->max_definition_level() > 0; }
  // Within a page: to come here again costs what is before it in the page.
  bool inside() const { return page_.values > 0 && page_.taken > 0; }
  void Close();

 private:
  struct Page {
    int64_t values = 0;  // left
    int64_t taken = 0;
    int64_t bytes = 0;  // left, decoded
    std::unique_ptr<PageInflater> body;
    bool indexed = false;
    int index_width = 0;
    std::shared_ptr<arrow::Buffer> level_bytes, index_bytes;
    std::unique_ptr<parquet::LevelDecoder> levels, indices;
  };
  struct Value {
    bool valid = false;
    int64_t size = 0;
    int64_t dictionary_offset = -1;  // where it is in the dictionary; -1: next in the page
  };

  Status NextPage();
  Status OpenBody(const PageHeader& header, int64_t size_bytes, bool compressed, Page* page);
  Status OpenData(const PageHeader& header);
  Status OpenLevels(const PageHeader& header, Page* page);
  Status OpenIndices(const PageHeader& header, Page* page);
  Status OpenDictionary(const PageHeader& header);
  Result<Value> NextValue();
  Result<int64_t> NextLength();

  std::shared_ptr<ColumnarFile> file_;
  PageWalk walk_;
  const parquet::ColumnDescriptor* descr_;
  const int64_t fixed_bytes_;  // of each value; -1: each says so

  int64_t row_ = 0;
  int64_t wanted_row_ = 0;
  Page page_;
  bool located_ = false;
  Value value_;

  std::shared_ptr<arrow::Buffer> dictionary_;
  std::vector<Value> dictionary_values_;
};

}  // namespace partita
