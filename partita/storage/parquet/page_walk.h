// The pages of one column chunk, header by header: whoever streams or skips their bodies starts here.
// Internal to the room.
#pragma once

#include <parquet/metadata.h>
#include <parquet/schema.h>

#include <memory>
#include <optional>

#include "partita/storage/parquet/field.h"
#include "partita/storage/parquet/inflate.h"
#include "partita/storage/parquet/page_header.h"

namespace partita {

// Whether all values of the chunk are plain or in its dictionary.
bool KnowsEncodings(const parquet::ColumnChunkMetaData& chunk);

class PageWalk {
 public:
  // May throw what libparquet throws.
  PageWalk(std::shared_ptr<ColumnarFile> file, int row_group, int column, int64_t window_bytes);

  // The header of the next page, checked against the chunk: the input stands at the page's body, its range
  // ends with it. The same page until it is passed. nullopt: the chunk ends here.
  Result<std::optional<PageHeader>> Next();
  // Goes on behind the page, however much of it was read.
  void Pass(const PageHeader& header);
  // Begins anew, and lets go of the window.
  void Close();

  WindowedInput* input() { return input_.get(); }
  const parquet::ColumnChunkMetaData& chunk() const { return *chunk_; }
  const parquet::ColumnDescriptor& descr() const { return *descr_; }
  int64_t rows() const { return group_->num_rows(); }  // of the row group

 private:
  Result<PageHeader> ReadHeader();

  std::shared_ptr<ColumnarFile> file_;
  std::unique_ptr<parquet::RowGroupMetaData> group_;
  std::unique_ptr<parquet::ColumnChunkMetaData> chunk_;
  const parquet::ColumnDescriptor* descr_;
  const int64_t window_bytes_;
  std::unique_ptr<WindowedInput> input_;
  int64_t next_ = -1, end_ = 0;  // the next page and the end of the chunk, in the file
  int64_t values_passed_ = 0;
};

}  // namespace partita
