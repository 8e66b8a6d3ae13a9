#include "partita/compile/compile.h"

#include <arrow/type.h>

#include <algorithm>
#include <map>
#include <utility>

#include "partita/compile/prune.h"
#include "partita/compile/stages.h"

namespace partita {
namespace {

using compile::AtStep;
using compile::Draft;
using compile::DraftNode;
using compile::DraftStage;
using compile::Graph;
using compile::GraphStep;
using compile::kJoinOp;

// The version of the operators that many steps compile to.
constexpr char kBuiltinVersion[] = "1";

// "out/", "./out" and "out//" are one folder. No file system is asked: links are the user's business.
std::string PlainPath(const std::string& path) {
  std::string out;
  const size_t scheme = path.find("://");
  size_t at = scheme == std::string::npos ? 0 : scheme + 3;
  out = path.substr(0, at);
  const bool rooted = at < path.size() && path[at] == '/';
  std::string parts;
  while (at < path.size()) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (!part.empty() && part != ".") parts += (parts.empty() ? "" : "/") + part;
    at = end + 1;
  }
  return out + (rooted ? "/" : "") + parts;
}

Status CheckPaths(const Graph& graph) {
  std::map<std::string, std::string> written;  // folder -> step
  for (const auto& step : graph.steps) {
    if (!step.is(StepKind::kSink)) continue;
    ARROW_ASSIGN_OR_RAISE(auto path, GetStringOr(step.args, "path", ""));
    if (path.empty()) continue;
    auto [other, is_new] = written.emplace(PlainPath(path), step.declared->name);
    if (is_new) continue;
    return AtStep(
        UserError("'" + other->second + "' and '" + step.declared->name + "' both write to '" + path + "'",
                  "give each its own folder"),
        *step.declared);
  }
  for (const auto& step : graph.steps) {
    if (!step.is(StepKind::kSource) || !step.reaches_sink) continue;
    ARROW_ASSIGN_OR_RAISE(auto paths, GetStringsOr(step.args, "path", {}));
    for (const auto& path : paths) {
      auto sink = written.find(PlainPath(path));
      if (sink == written.end()) continue;
      return AtStep(UserError("it reads '" + path + "', which '" + sink->second + "' writes",
                              "write to another folder"),
                    *step.declared);
    }
  }
  return Status::OK();
}

Status CheckHasSink(const Graph& graph) {
  if (graph.steps.empty())
    return UserError("the pipeline has no steps", "start with a source, such as read_parquet");
  for (const auto& step : graph.steps) {
    if (step.is(StepKind::kSink)) return Status::OK();
  }
  return UserError("the pipeline writes nothing", "add a write step, such as write_parquet");
}

PlanNode Freeze(DraftNode node) {
  PlanNode out;
  out.input = node.input;
  out.step = std::move(node.step);
  out.on_error = node.on_error;
  out.output = std::move(node.output);
  out.version = kBuiltinVersion;
  switch (node.kind) {
    case DraftNode::Kind::kFilter:
      out.op = "filter";
      out.args["predicate"] = node.predicate.ToJson();
      break;
    case DraftNode::Kind::kProject:
      out.op = "project";
      out.args["columns"] = ProjectionToJson(node.columns);
      break;
    case DraftNode::Kind::kProbe:
      out.op = kJoinOp;
      out.table = node.table;
      out.args = {{"join", JoinToJson(node.join)},
                  {"left_on", node.keys.left},
                  {"right_on", node.keys.right},
                  {"bytes", node.table_bytes}};
      if (node.asof) out.args["asof"] = AsofToJson(*node.asof);
      break;
    case DraftNode::Kind::kComponent:
      out.op = node.component->spec->name;
      out.version = node.component->spec->version;
      out.args = node.component->args;
      // Rows of several inputs may stand at the same place; what tells them apart depends on no step behind.
      if (out.op == compile::kSampleOp || out.op == compile::kLocalShuffleOp) out.args["input"] = node.flow;
      break;
  }
  return out;
}

Plan Freeze(Draft draft) {
  Plan plan;
  for (auto& stage : draft.stages) {
    PlanStage out;
    out.source = std::move(stage.source);
    for (auto& node : stage.nodes) {
      out.is_volatile |=
          node.component != nullptr && (node.component->spec->is_volatile || node.binding.is_volatile);
      out.nodes.push_back(Freeze(std::move(node)));
    }
    out.outputs = std::move(stage.outputs);
    plan.stages.push_back(std::move(out));
  }
  plan.sinks = std::move(draft.sinks);
  plan.exchanges = std::move(draft.exchanges);
  return plan;
}

bool Quarantines(const Plan& plan) {
  for (const auto& stage : plan.stages) {
    if (stage.source.on_error == OnError::kQuarantine) return true;
    for (const auto& node : stage.nodes) {
      if (node.on_error == OnError::kQuarantine) return true;
    }
  }
  return false;
}

Result<std::string> QuarantineFolder(const Pipeline& pipeline, const Plan& plan) {
  if (!Quarantines(plan)) return "";
  ARROW_ASSIGN_OR_RAISE(auto folder, GetStringOr(pipeline.options, "quarantine", ""));
  if (!folder.empty()) return folder;
  for (const auto& sink : plan.sinks) {
    ARROW_ASSIGN_OR_RAISE(auto path, GetStringOr(sink.args, "path", ""));
    if (!path.empty()) return path + (path.back() == '/' ? "" : "/") + "_quarantine";
  }
  return UserError("a step quarantines bad rows, but no step writes to a folder that could hold them",
                   "set the option `quarantine` to a folder");
}

}  // namespace

Result<Plan> Compile(const Pipeline& pipeline, const Snapshot& snapshot) {
  ARROW_ASSIGN_OR_RAISE(auto graph, compile::MakeGraph(pipeline));
  ARROW_RETURN_NOT_OK(CheckHasSink(graph));
  ARROW_RETURN_NOT_OK(CheckPaths(graph));
  ARROW_ASSIGN_OR_RAISE(auto bound, compile::Bind(graph, snapshot));
  ARROW_ASSIGN_OR_RAISE(auto draft, compile::BuildStages(graph, bound, snapshot));
  ARROW_RETURN_NOT_OK(compile::PruneColumns(&draft));
  ARROW_RETURN_NOT_OK(compile::PushFilters(&draft));
  compile::PushLimits(&draft);
  Plan plan = Freeze(std::move(draft));
  plan.name = pipeline.name;
  ARROW_ASSIGN_OR_RAISE(plan.quarantine, QuarantineFolder(pipeline, plan));
  return plan;
}

}  // namespace partita
