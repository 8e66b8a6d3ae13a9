// Paths from sources to sinks become stage trees. Internal to the room.
//
// A step's rows are the rows of its flows, one after the other; a flow is a node of a stage. A source is one
// flow; a transform adds a node to each flow of its input; a union concatenates the flows of its inputs; an
// exchange makes one flow of them all. Because a step's flows are found once and used by all its users, paths
// that share a prefix share its nodes: each step runs once a source.
#pragma once

#include "partita/compile/draft.h"

namespace partita::compile {

Result<Draft> BuildStages(const Graph& graph, const std::vector<BoundStep>& bound);

}  // namespace partita::compile
