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

// Columns of text that go from the scan of `stage` to a sorted exchange which does not look at them; its runs
// hold texts. `order_column`: by which it orders beside its keys, -1: none.
std::vector<std::string> CodedColumns(const PlanStage& stage, const PlanExchange& exchange, int order_column);

// Whether all that is joined with the rows of this exchange, each in a table of the stages that use them,
// goes to files that take texts as indices.
bool MayCodeTable(const Plan& plan, int exchange);

}  // namespace partita
