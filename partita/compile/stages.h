// Paths from sources to sinks become stage trees. Internal to the room.
//
// A step's rows are the rows of its flows, one after the other; a flow is a node of a stage. A source is one
// flow; a transform adds a node to each flow of its input; a union concatenates the flows of its inputs; an
// exchange makes one flow of them all. Because a step's flows are found once and used by all its users, paths
// that share a prefix share its nodes: each step runs once a source. A join either makes a stage of two exchanges,
// or is a node of each flow of its left input, which looks rows up in an exchange.
#pragma once

#include "partita/compile/draft.h"

namespace partita::compile {

// Stages that write an exchange come before those that read it.
Result<Draft> BuildStages(const Graph& graph, const std::vector<BoundStep>& bound, const Snapshot& snapshot);

}  // namespace partita::compile
