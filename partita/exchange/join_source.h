// The join of two hash exchanges, partition by partition: both come in the order of their keys' hash, so one
// pass over each is enough. What is held is one block of each side and the right rows of one hash.
#pragma once

#include <memory>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

// `left` and `right`: the same partition of both exchanges, in their order. `source.reduce` says how they
// join; its schema is what comes out, in the order (hash of key, left position, right position); right rows
// without a left one (right and full joins) come behind the left rows of their hash. `source` and the
// exchanges outlive the result.
Result<std::unique_ptr<Source>> MakeJoinSource(const PlanSource& source, const PlanExchange& left_exchange,
                                               const PlanExchange& right_exchange,
                                               std::unique_ptr<Source> left, std::unique_ptr<Source> right);

}  // namespace partita
