// How large the rows of a step are at most, as far as the snapshot tells. Internal to the room.
#pragma once

#include <cstdint>
#include <vector>

#include "partita/compile/bind.h"
#include "partita/compile/graph.h"
#include "partita/dataset/snapshot.h"

namespace partita::compile {

// A right side of at most so many logical bytes is worth holding in memory instead of exchanging both sides.
// Part of what a join gives (its order follows from it), so it is never changed lightly.
inline constexpr int64_t kBroadcastBytes = 16 << 20;

// -1: not known.
struct TableSize {
  int64_t rows = -1;
  int64_t bytes = -1;  // logical
};
TableSize SizeAtMost(const Graph& graph, const std::vector<BoundStep>& bound, const Snapshot& snapshot,
                     int step);

}  // namespace partita::compile
