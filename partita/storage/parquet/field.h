// Reads one top-level column of one row group, rows in order, a few at a time. Internal to the room.
#pragma once

#include <parquet/arrow/reader.h>

#include <memory>

#include "partita/storage/parquet/chunk_stream.h"

namespace partita {

class FieldReader {
 public:
  virtual ~FieldReader() = default;
  // At least one row, about `rows`. After a failure the reader is where it was: it may be called again (with
  // fewer rows).
  virtual Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) = 0;
  // It holds little, and to open it again at its row would decode much of a page again.
  virtual bool inside_page() const { return false; }
};

// A file as libparquet's readers of whole columns see it; shared by the fields of all row groups.
struct ColumnarFile {
  std::shared_ptr<ParquetFile> file;
  ParquetPages* pages = nullptr;  // owned by `reader`
  std::unique_ptr<parquet::arrow::FileReader> reader;
  int64_t window_bytes = 0;
  arrow::MemoryPool* pool = nullptr;
};
Result<std::shared_ptr<ColumnarFile>> OpenColumnar(std::shared_ptr<ParquetFile> file, int64_t window_bytes,
                                                   arrow::MemoryPool* pool);

// The leaves of a top-level column.
std::vector<int> LeavesOf(const parquet::arrow::SchemaField& field);

// Any column, through libparquet. In memory: a decoded page, its compressed bytes while it is opened, a
// dictionary, and the rows asked for.
std::unique_ptr<FieldReader> MakePageFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                 int64_t first_row);

}  // namespace partita
