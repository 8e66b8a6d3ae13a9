// Where the batches of Python functions end when it is not their number of rows that counts.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/memory/budget.h"
#include "partita/operator/operator.h"

namespace partita {

// A batch ends before the row that would take it past `bytes` logical bytes; a larger row is one of its own.
std::unique_ptr<BatchCutter> CutByBytes(int64_t bytes);

// Groups of rows with equal keys, which stand together as a hash exchange leaves them: a batch ends behind a
// group once it has `rows` rows. Rows in another order are a user error. `schema` has all `keys`.
Result<std::unique_ptr<BatchCutter>> CutByGroups(const arrow::Schema& schema,
                                                 const std::vector<std::string>& keys, int64_t rows,
                                                 std::shared_ptr<BudgetPool> pool);

struct Groups {
  Block rows;                   // with the rows of each group together, groups by their first row
  std::vector<int64_t> starts;  // of each group
};
// The groups of a batch that CutByGroups cut.
Result<Groups> FindGroups(Block block, const std::vector<std::string>& keys, arrow::MemoryPool* pool);

}  // namespace partita
