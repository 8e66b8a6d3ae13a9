// Columns of large values, cut out of their pages while these are decompressed. Internal to the room.
//
// libparquet holds a page twice, compressed and decoded, before it looks at a value; and a page has as many
// values as its writer's batch: 1.25 GiB for ten rows of 128 MiB is what common writers make. Here a page is
// read through a small window (parquet_inflate.h) and each value is decompressed straight to its place in the
// array. Peak: the array and the windows.
#pragma once

#include <memory>

#include "partita/storage/parquet/field.h"

namespace partita {

// From this average size on a column's values are cut out of the stream. A common writer looks at its page's
// size once in 1,024 values: these are pages of 16 MiB.
inline constexpr int64_t kFatReadBytes = 16 << 10;

// A reader of the column, or null where it is not a flat column of large strings or binaries in an encoding
// (plain, dictionary) and a codec that are known here. A value of more than its share of `rows` average ones
// comes alone.
std::unique_ptr<FieldReader> MakeFatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                int64_t first_row, int64_t fat_bytes = kFatReadBytes);

}  // namespace partita
