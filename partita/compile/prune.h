// Columns, filters and limits pushed to the sources. Internal to the room.
#pragma once

#include "partita/compile/draft.h"

namespace partita::compile {

// Columns that no output and no step needs are not read, not computed and not exchanged.
Status PruneColumns(Draft* draft);

// Filters above a source become its hint (the filter stays), limits the number of rows it must give.
Status PushFilters(Draft* draft);
void PushLimits(Draft* draft);

}  // namespace partita::compile
