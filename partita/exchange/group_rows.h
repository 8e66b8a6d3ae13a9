// The rows of groups as they leave a hash exchange: numbered in their group, and only the first ones of each,
// as `reduce` says (GroupRows, pipeline/group_steps.h). It counts rows and holds none, so that a group may be
// larger than memory.
#pragma once

#include <memory>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

// `rows`: a partition of `exchange`, in its order, with their keys (SortedSourceInit::with_keys). All
// arguments but `rows` outlive the result.
Result<std::unique_ptr<Source>> MakeGroupRowsSource(const PlanExchange& exchange, const PlanSource& source,
                                                    std::unique_ptr<Source> rows,
                                                    const std::shared_ptr<BudgetPool>& pool);

}  // namespace partita
