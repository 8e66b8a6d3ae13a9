// Writes one Parquet file. Internal to the room.
//
// Same rows, schema and arguments, same bytes, however the rows were batched: row groups and the units handed
// to the encoder are cut by rows and logical bytes, counted from the start of the row group (parquet_cut.h);
// everything that libparquet decides (pages, dictionary fallback) follows from the units.
//
// Memory: the encoded pages of the open row group are in memory, and go to the spill folder when memory is
// short (parquet_pages.h); a value of kFatValueBytes and more is a page of its own that is compressed as a
// stream (parquet_chunk.h).
#pragma once

#include <memory>

#include "partita/storage/format.h"

namespace partita {

Result<std::unique_ptr<FileWriter>> OpenParquetWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                      WriteRequest request);

}  // namespace partita
