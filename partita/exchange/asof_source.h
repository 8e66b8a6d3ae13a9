// What leaves two hash exchanges as an as-of join: partition p of both, ordered by (hash of the keys, column
// to order by, position), is merged side by side, and each left row leaves beside the nearest right row of
// its key. Semantics: pipeline/join.h (Asof). Rows leave in the order of the left side.
//
// Memory: the windows of two merges and the block that is being made, however many rows a key has.
#pragma once

#include "partita/exchange/join_source.h"

namespace partita {

// Of a source whose `reduce` has "asof". Exchanges are written with that column as
// SortedSinkInit::order_column.
Result<std::unique_ptr<Source>> MakeAsofSource(JoinSourceInit init);

}  // namespace partita
