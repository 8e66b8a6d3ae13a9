// What a hash exchange carries where the stage behind it makes groups of the rows: not rows but the states of
// groups, so that equal keys meet on the writing side already. A matter of the plan alone: writers and
// readers agree.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/operator/aggregate/aggregate.h"
#include "partita/plan/plan.h"

namespace partita {

class BudgetPool;

struct GroupStates {
  struct Function {
    AggregateSpec spec;
    AggregateInput input;
    int first_state = 0, states = 0;  // columns of exchange.schema
  };

  std::vector<int> keys;  // columns of the rows
  std::vector<Function> functions;
  PlanExchange exchange;  // of the states: the key columns, then states

  // Key columns that no function reads.
  std::vector<std::string> KeysAlone() const;
  Result<std::unique_ptr<Aggregate>> Make(const Function& function, std::shared_ptr<BudgetPool> pool) const;
};

// Null where rows are carried as they are: nobody aggregates, or with a function that cannot combine.
Result<std::unique_ptr<GroupStates>> GroupStatesOf(const Plan& plan, int exchange,
                                                   const std::shared_ptr<BudgetPool>& pool);

}  // namespace partita
