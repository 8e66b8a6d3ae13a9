// Columns of lists of one length, read without their levels. Internal to the room.
#pragma once

#include <memory>

#include "partita/storage/parquet/field.h"

namespace partita {

// A reader of the column, or null where it is not known to be of full fixed-size lists (or an extension of
// them) of numbers, in an encoding (plain, dictionary) and a codec that are known here. Elements that are
// null and lists of another length are found when they come: Arrow's reader then goes on at that row.
std::unique_ptr<FieldReader> MakeTensorFieldReader(std::shared_ptr<ColumnarFile> file, int row_group,
                                                   int field, int64_t first_row);

}  // namespace partita
