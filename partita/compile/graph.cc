#include "partita/compile/graph.h"

#include <algorithm>
#include <map>
#include <utility>

#include "partita/block/schema.h"
#include "partita/compile/group_chain.h"
#include "partita/pipeline/group_steps.h"

namespace partita::compile {
namespace {

Status CheckInputCount(const GraphStep& step) {
  const size_t count = step.inputs.size();
  const std::string op = "'" + step.spec->name + "'";
  if (step.is(StepKind::kSource)) {
    if (count != 0) return UserError(op + " is a source and takes no input", "remove its `input`");
    return Status::OK();
  }
  if (count == 0)
    return UserError(op + " has no input", "put a source step, such as read_parquet, before it");
  if (step.spec->takes_pair()) {
    if (count == 2) return Status::OK();
    return UserError(op + " takes two inputs, it was given " + std::to_string(count),
                     "name the left and the right one in its `input`");
  }
  if (count > 1 && step.spec->name != kUnionOp) {
    return UserError(op + " takes one input, it was given " + std::to_string(count),
                     "put a union step before it");
  }
  return Status::OK();
}

Result<GraphStep> ResolveStep(const PipelineStep& declared, const std::vector<GraphStep>& before,
                              const std::map<std::string, int>& by_name) {
  GraphStep step;
  step.declared = &declared;
  step.spec = FindStep(declared.op);
  if (step.spec == nullptr) return UnknownStep(declared.op);
  if (step.spec->name == kRowIndexOp) {
    return UserError("with_row_index numbers the rows of a group: it stands inside map_groups alone",
                     "write map_groups: {by: [k], steps: [with_row_index]}");
  }
  if (declared.name.empty()) return UserError("a '" + declared.op + "' step has no name");
  if (by_name.count(declared.name) > 0) {
    return UserError("two steps are named '" + declared.name + "'", "give each step its own `name`");
  }
  ARROW_RETURN_NOT_OK(CheckOnError(declared.op, declared.on_error));
  ARROW_ASSIGN_OR_RAISE(step.args, NormaliseArgs(*step.spec, declared.args));
  for (const auto& input : declared.inputs) {
    auto found = by_name.find(input);
    if (found == by_name.end()) {
      std::vector<std::string> names;
      for (const auto& [name, index] : by_name) names.push_back(name);
      const std::string nearest = NearestName(input, names);
      return UserError("there is no step '" + input + "' before it",
                       nearest.empty() ? "an input must be the name of an earlier step"
                                       : "did you mean '" + nearest + "'?");
    }
    if (before[found->second].is(StepKind::kSink)) {
      return UserError("its input '" + input + "' is a sink, which passes no rows on",
                       "take the input of '" + input + "' instead");
    }
    step.inputs.push_back(found->second);
  }
  ARROW_RETURN_NOT_OK(CheckInputCount(step));
  return step;
}

void MarkReaching(std::vector<GraphStep>* steps) {
  for (auto step = steps->rbegin(); step != steps->rend(); ++step) {
    if (step->is(StepKind::kSink)) step->reaches_sink = true;
    if (!step->reaches_sink) continue;
    for (int input : step->inputs) (*steps)[input].reaches_sink = true;
  }
}

}  // namespace

Result<Graph> MakeGraph(const Pipeline& pipeline) {
  Graph graph;
  std::map<std::string, int> by_name;
  graph.steps.reserve(pipeline.steps.size());
  for (const auto& declared : pipeline.steps) {
    auto step = ResolveStep(declared, graph.steps, by_name);
    if (!step.ok()) return AtStep(step.status(), declared);
    if (IsGroupChain(*step)) {
      ARROW_RETURN_NOT_OK(AtStep(AddGroupChain(*step, &graph), declared));
    } else {
      graph.steps.push_back(*std::move(step));
    }
    by_name[declared.name] = static_cast<int>(graph.steps.size()) - 1;
    graph.ends.push_back(static_cast<int>(graph.steps.size()) - 1);
  }
  MarkReaching(&graph.steps);
  return graph;
}

Status AtStep(Status status, const PipelineStep& step) {
  if (status.ok()) return status;
  if (step.line > 0 && status.message().rfind("line ", 0) != 0) {
    std::string where = "line " + std::to_string(step.line);
    if (step.column > 0) where += ", column " + std::to_string(step.column);
    status = Status(status.code(), where + ": " + status.message(), status.detail());
  }
  ErrorContext context;
  context.step = step.name.empty() ? step.op : step.name;
  return WithContext(std::move(status), std::move(context));
}

Result<int64_t> ExactRows(const GraphStep& sink) {
  ARROW_ASSIGN_OR_RAISE(bool exact, GetBoolOr(sink.args, "exact", false));
  if (!exact) return 0;
  for (const char* key : {"rows_per_shard", "rows_per_file"}) {
    ARROW_ASSIGN_OR_RAISE(int64_t rows, GetIntOr(sink.args, key, 0));
    if (rows > 0) return rows;
  }
  const bool shards = sink.spec->FindArg("rows_per_shard") != nullptr;
  const std::string arg = shards ? "rows_per_shard" : "rows_per_file";
  return UserError("`exact: true` needs to know how many rows a file has", "set `" + arg + "` too");
}

}  // namespace partita::compile
