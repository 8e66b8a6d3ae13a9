// Columns of numbers and text that are no lists and in nothing else, decoded here: Arrow's reader visits each
// level and each value of them. Internal to the room.
#pragma once

#include <memory>
#include <optional>

#include "partita/storage/parquet/field.h"
#include "partita/storage/parquet/numbers.h"

namespace partita {

// How the values of a column chunk stand in its pages and in arrays of the column's type; text has no width.
// Nothing where FlatPageReader does not read them.
std::optional<NumberForm> FlatFormOf(const ColumnarFile& file, int row_group, int field);

// A reader of the column; what it cannot read it leaves to Arrow's, which tells what is wrong. Null where
// that is known beforehand.
std::unique_ptr<FieldReader> MakeFlatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                 int64_t first_row);

}  // namespace partita
