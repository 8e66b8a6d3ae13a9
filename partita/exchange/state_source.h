// What leaves a hash exchange that carried states of groups: the groups, in the order of (hash, first row).
// Windows of rows come from the runs, ordered by the hash within a run alone. A table of the window's hashes
// finds which rows make one group, and only groups are put in order: of many runs with nearly the same groups
// far fewer than rows.
#pragma once

#include <memory>

#include "partita/exchange/group_states.h"
#include "partita/exchange/sorted_source.h"
#include "partita/operator/operator.h"

namespace partita {

// `windows`: a partition of states->exchange, the 64-bit hash behind its columns. One row a group, with the columns of
// `schema`. States of aggregates are claimed from `pool`. `states` outlives the result.
Result<std::unique_ptr<Source>> MakeStateSource(const GroupStates* states, std::shared_ptr<arrow::Schema> schema,
                                                SortedWindows windows, const std::shared_ptr<BudgetPool>& pool);

}  // namespace partita
