// Two inputs side by side, row by row: the same row range of both, their columns in one block.
#pragma once

#include <memory>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

// `source.reduce` is a join of kind zip; `left` and `right` give the columns of the exchanges, and as many
// rows.
Result<std::unique_ptr<Source>> MakeZipSource(const PlanSource& source, const PlanExchange& left_exchange,
                                              const PlanExchange& right_exchange,
                                              std::unique_ptr<Source> left, std::unique_ptr<Source> right);

}  // namespace partita
