// Which columns may pass a stage as indices of dictionaries, as its source has them: those that nothing looks
// at before a Parquet file takes them, whose bytes are the same then. Follows from the plan alone, and is no
// part of it. Pure.
#pragma once

#include <string>
#include <vector>

#include "partita/plan/plan.h"

namespace partita {

// Columns of text that go from the scan of `stage` to its file.
std::vector<std::string> CodedColumns(const Plan& plan, const PlanStage& stage);

// Whether all that is joined with the rows of this exchange, each in a table of the stages that use them, goes
// to files that take texts as indices.
bool MayCodeTable(const Plan& plan, int exchange);

}  // namespace partita
