// Row groups that cannot satisfy a filter, by their statistics. Internal to the room.
#pragma once

#include "partita/expression/expression.h"
#include "partita/storage/parquet/file.h"

namespace partita {

// False only where no row of the group can satisfy the filter. May throw what libparquet throws.
bool GroupMaySatisfy(const ParquetFile& file, int row_group, const Expression& filter);

}  // namespace partita
