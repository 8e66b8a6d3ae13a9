// Columns that the file has in dictionary encoding, as indices and the dictionary they stand for: who groups
// or compares values then looks at each of them once. Internal to the room.
#pragma once

#include <memory>

#include "partita/storage/parquet/field.h"

namespace partita {

// A reader of the column that gives dictionary arrays (indices of 32 bits, none of them outside; one
// dictionary for the whole row group) or plain ones, as the file has it and as it pays. Null where that is
// known beforehand not to pay, or the column is not flat text or integers.
std::unique_ptr<FieldReader> MakeDictionaryFieldReader(std::shared_ptr<ColumnarFile> file, int row_group,
                                                       int field, int64_t first_row);

}  // namespace partita
