// A map_groups of native steps, as steps of the graph. Rows that a step sees one by one need no group: such
// steps stay what they are, before an exchange or behind it. What sees groups (sort, limit, with_row_index)
// becomes exchanges that bring the rows of each group together in the order that is asked for, and do the
// rest as the rows leave: nothing holds a group. Internal to the room.
//
// [filter, sort, limit, with_columns] is one exchange, with the filter before it. A second one is made only
// where the steps need it: for a sort of what a limit left, or a limit of what a filter left.
#pragma once

#include "partita/base/error.h"
#include "partita/compile/graph.h"

namespace partita::compile {

// The step that such an exchange is made of: {"by", "order", "rows": GroupRowsToJson}.
inline constexpr char kGroupRowsOp[] = "group_rows";

// Whether `step` is a map_groups of native steps.
bool IsGroupChain(const GraphStep& step);
// Adds its steps to the graph, the last of which gives its rows.
Status AddGroupChain(const GraphStep& step, Graph* graph);

}  // namespace partita::compile
