// Arrow's writer over some of a file's columns: it turns them, nested ones too, into levels and values, and
// hands these to the chunks of the open row group. Internal to the room.
//
// Not all columns go this way (tensor_chunk.h), and it knows only whole files: each lane is one.
#pragma once

#include <parquet/arrow/writer.h>
#include <parquet/column_writer.h>

#include <memory>
#include <vector>

#include "partita/base/error.h"

namespace partita {

class ArrowLane {
 public:
  // May throw what libparquet throws, as all calls.
  static Result<std::unique_ptr<ArrowLane>> Open(std::shared_ptr<arrow::Schema> schema,
                                                 std::shared_ptr<parquet::WriterProperties> properties,
                                                 arrow::MemoryPool* pool);
  ~ArrowLane();

  // Rows go to these from now on: one for each leaf, borrowed.
  Status StartGroup(std::vector<parquet::ColumnWriter*> chunks);
  // A batch of the schema.
  Status Write(const arrow::RecordBatch& rows) { return writer_->WriteRecordBatch(rows); }
  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }

 private:
  class File;
  ArrowLane() = default;

  std::shared_ptr<arrow::Schema> schema_;
  File* file_ = nullptr;  // owned by writer_
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

}  // namespace partita
