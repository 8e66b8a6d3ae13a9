// Columns and types of every step. Internal to the room.
#pragma once

#include <memory>
#include <vector>

#include "partita/compile/compile.h"
#include "partita/compile/graph.h"

namespace partita::compile {

struct BoundStep {
  std::shared_ptr<arrow::Schema> output;  // sinks: their input's
  StepBinding binding;                    // transforms
};

// One entry a step of the graph. Errors name the step, and its line where it came from a file.
Result<std::vector<BoundStep>> Bind(const Graph& graph, const Snapshot& snapshot);

// Whether a step's reads are inside its input and what it passes on agrees with it: what pruning relies on.
Status CheckBinding(const StepSpec& spec, const StepBinding& binding, const arrow::Schema& input);

}  // namespace partita::compile
