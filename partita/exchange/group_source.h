// What leaves a hash exchange of rows as groups: rows with equal keys stand together there (but for collisions
// of the hash), so distinct, and a group_by that cannot combine (see state_source.h), need one pass and the
// memory of the groups that are open.
#pragma once

#include <memory>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

// `rows`: a partition of `exchange`, in its order, with their keys (SortedSourceInit::with_keys).
// `source.reduce` says what becomes of each group; one row a group (none, for distinct with keep "none" and
// several rows) in the order of their first rows. States of aggregates are claimed from `pool`. All arguments
// but `rows` outlive the result.
Result<std::unique_ptr<Source>> MakeGroupSource(const PlanExchange& exchange, const PlanSource& source,
                                                std::unique_ptr<Source> rows,
                                                const std::shared_ptr<BudgetPool>& pool);

}  // namespace partita
