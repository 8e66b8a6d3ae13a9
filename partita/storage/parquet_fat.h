// Columns of fat values: one value at a time, its bytes a slice of the decoded page. Internal to the room.
//
// libparquet copies each value out of its page and keeps the page beside it; here a PLAIN page of one value,
// [levels][4-byte length][bytes], becomes the array's data buffer as it is. Peak: the page compressed and
// decoded while it is opened, then the decoded page alone.
#pragma once

#include <memory>

#include "partita/storage/parquet_field.h"

namespace partita {

// From this average size on a column is read value by value.
inline constexpr int64_t kFatReadBytes = 1 << 20;

// A reader of the column, or null where it is not a flat string or binary column of fat values in an encoding
// known here (plain or dictionary). Each Read returns one row.
std::unique_ptr<FieldReader> MakeFatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                int64_t first_row, int64_t fat_bytes = kFatReadBytes);

}  // namespace partita
