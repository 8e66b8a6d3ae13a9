// Reads a fragment of a Parquet file in batches of about target_block_bytes. Internal to the room.
//
// Bounded: per column, one page (compressed, then decoded) and one batch are in memory, whatever the row
// group's size; of columns of large values only the batch, or one value (parquet_fat.h). Each top-level
// column is read by a FieldReader of its own, so that a refused allocation costs one column one seek and no
// row.
#pragma once

#include <memory>

#include "partita/storage/format.h"

namespace partita {

Result<std::unique_ptr<FragmentReader>> OpenParquetReader(ReadRequest request);

}  // namespace partita
