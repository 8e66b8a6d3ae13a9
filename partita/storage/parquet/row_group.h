// Puts encoded column chunks together to row groups and a file. Internal to the room.
//
// Columns go to the ChunkWriters of the open row group: full lists of one length as they are
// (tensor_chunk.h), flat columns of texts and numbers as their values (flat_pages.h), all others as the
// levels and values that Arrow's writer makes of them (lane.h). What the chunks encode is written out when
// the group ends.
#pragma once

#include <arrow/io/interfaces.h>
#include <parquet/arrow/writer.h>

#include <memory>

#include "partita/storage/parquet/options.h"
#include "partita/storage/parquet/pages.h"

namespace partita {

class ParquetFileEncoder {
 public:
  virtual ~ParquetFileEncoder() = default;

  // `schema` is what readers are told (ARROW:schema), `dense_schema` what is handed in. Everything outlives
  // the encoder.
  static Result<std::unique_ptr<ParquetFileEncoder>> Open(arrow::io::OutputStream* stream,
                                                          const arrow::Schema& schema,
                                                          std::shared_ptr<arrow::Schema> dense_schema,
                                                          const ParquetOptions& options,
                                                          arrow::MemoryPool* pool, PageStage* stage);

  // Rows of the open row group; opens one.
  virtual Status WriteUnit(const arrow::RecordBatch& rows) = 0;
  virtual Status EndRowGroup() = 0;  // nothing where none is open
  virtual Status Finish() = 0;       // the footer
  // Pages in memory, and how to get rid of them.
  virtual int64_t memory_bytes() const = 0;
  virtual Status Stage() = 0;
};

}  // namespace partita
