// The pipeline as a graph: each step with its spec, normalised arguments and inputs by index. Internal to the
// room.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"

namespace partita::compile {

struct GraphStep {
  const PipelineStep* declared = nullptr;  // lives in the pipeline
  const StepSpec* spec = nullptr;
  Json args = Json::object();  // normalised
  std::vector<int> inputs;     // indices of earlier steps
  // Some sink takes its rows. Other steps are checked, but are no part of the plan.
  bool reaches_sink = false;
  // Columns that it must pass on as they are: rows are grouped by them further down (compile/group_chain.h).
  std::vector<std::string> passes_on = {};

  bool is(StepKind kind) const { return spec->kind == kind; }
};

struct Graph {
  std::vector<GraphStep> steps;  // in pipeline order: inputs first
  std::vector<int> ends;         // by step of the pipeline: which of `steps` gives its rows
  std::vector<std::shared_ptr<const PipelineStep>> made;  // that steps declare which stand inside another
};

// Checks the structure: known ops, unique names, inputs that exist and come first, the right number of them.
// The graph points into the pipeline.
Result<Graph> MakeGraph(const Pipeline& pipeline);

// Says which step, and where it stands in the file if it came from one.
Status AtStep(Status status, const PipelineStep& step);

// Steps that compile treats by name, since they are about partitions and order, not about rows.
inline constexpr char kUnionOp[] = "union";
inline constexpr char kLimitOp[] = "limit";
inline constexpr char kCollectOp[] = "collect";
inline constexpr char kSampleOp[] = "sample";
inline constexpr char kLocalShuffleOp[] = "local_shuffle";
inline constexpr char kJoinOp[] = "join";
inline constexpr char kZipOp[] = "zip";
inline constexpr char kAsofOp[] = "join_asof";

// A sink's `exact`: files of exactly so many rows across partitions. 0: not asked for.
Result<int64_t> ExactRows(const GraphStep& sink);

}  // namespace partita::compile
