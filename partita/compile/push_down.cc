// Filters and limits pushed to the sources.
#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "partita/compile/prune.h"

namespace partita::compile {
namespace {

// A hint of many alternatives costs more than it skips.
constexpr size_t kMaxAlternatives = 8;

// Functions that give a value for every row: skipping them loses no error.
bool CannotFail(const Json& expression) {
  static const std::set<std::string> kSafe = {
      "equal",         "not_equal",  "less",       "less_equal", "greater",
      "greater_equal", "and_kleene", "or_kleene",  "and",        "or",
      "invert",        "is_null",    "is_valid",   "is_in",      "true_unless_null",
      "starts_with",   "ends_with",  "match_like", "is_nan",     "coalesce",
      "if_else",       "case_when"};
  if (!expression.contains("call")) return true;
  if (!expression["call"].is_string() || kSafe.count(expression["call"].get<std::string>()) == 0)
    return false;
  const auto args = expression.find("args");
  return args == expression.end() || std::all_of(args->begin(), args->end(), CannotFail);
}

bool CannotFail(const DraftNode& node) {
  if (node.kind == DraftNode::Kind::kFilter) return CannotFail(node.predicate.ToJson());
  if (node.kind != DraftNode::Kind::kProject) return false;
  return std::all_of(node.columns.begin(), node.columns.end(),
                     [](const auto& column) { return CannotFail(column.second.ToJson()); });
}

// Whether rows that a filter below would drop need not pass this node. A row that a step skips or quarantines
// is part of the result (a count, a row of the quarantine), also when a later filter would have dropped it; a
// row that fails the run is not: as in SQL, what is filtered need not be computed.
bool MaySkipRows(const DraftNode& node) {
  if (node.kind == DraftNode::Kind::kComponent || node.kind == DraftNode::Kind::kProbe) return false;
  return node.on_error == OnError::kFail || CannotFail(node);
}

using Conjuncts = std::vector<Expression>;  // none: every row matters

// Substitution can double an expression with each projection it passes; a hint that long is not worth its
// place in the plan.
constexpr size_t kMaxHintChars = 8 << 10;
constexpr size_t kMaxConjuncts = 64;

// Long and deep expressions are refused where a plan is read.
bool FitsInPlan(const Json& expression) {
  return CanonicalJson(expression).size() <= kMaxHintChars && Expression::FromJson(expression).ok();
}

// What `below` says about the output of a node, said about its input.
Conjuncts Through(const DraftNode& node, Conjuncts below) {
  if (!MaySkipRows(node)) return {};
  if (node.kind == DraftNode::Kind::kProject) {
    for (auto& conjunct : below) conjunct = conjunct.Substitute(node.columns);
    std::erase_if(below, [](const Expression& conjunct) { return !FitsInPlan(conjunct.ToJson()); });
    return below;
  }
  Conjuncts conjuncts = node.predicate.Conjuncts();
  conjuncts.insert(conjuncts.end(), below.begin(), below.end());
  if (conjuncts.size() > kMaxConjuncts) conjuncts.resize(kMaxConjuncts);
  return conjuncts;
}

Conjuncts Either(std::vector<Conjuncts> alternatives) {
  if (alternatives.empty() || alternatives.size() > kMaxAlternatives) return {};
  if (alternatives.size() == 1) return std::move(alternatives[0]);
  Expression any;
  // They were gathered from the last node to the first.
  for (auto conjuncts = alternatives.rbegin(); conjuncts != alternatives.rend(); ++conjuncts) {
    if (conjuncts->empty()) return {};
    Expression all = Expression::And(*conjuncts);
    any = any.valid() ? Expression::Call("or_kleene", {std::move(any), std::move(all)}) : std::move(all);
  }
  return {any};
}

// The condition under which a row of the source matters to any output of the stage.
Conjuncts RestrictionOfSource(const DraftStage& stage) {
  const size_t count = stage.nodes.size();
  std::vector<std::vector<Conjuncts>> alternatives(count + 1);  // of node i at [i + 1]; of the source at [0]
  for (const auto& output : stage.outputs) alternatives[output.node + 1].push_back({});
  for (size_t i = count; i-- > 0;) {
    const auto& node = stage.nodes[i];
    alternatives[node.input + 1].push_back(Through(node, Either(std::move(alternatives[i + 1]))));
  }
  return Either(std::move(alternatives[0]));
}

bool KeepsAllRows(const DraftNode& node) {
  return node.kind == DraftNode::Kind::kProject && (node.on_error == OnError::kFail || CannotFail(node));
}

}  // namespace

Status PushFilters(Draft* draft) {
  for (auto& stage : draft->stages) {
    if (stage.source.kind != PlanSource::Kind::kScan) continue;
    std::vector<Expression> conjuncts;
    std::set<std::string> seen;
    for (auto& conjunct : RestrictionOfSource(stage)) {
      // A condition without columns says nothing about a row group; one that stands twice says nothing new.
      if (!conjunct.Columns().empty() && seen.insert(CanonicalJson(conjunct.ToJson())).second) {
        conjuncts.push_back(std::move(conjunct));
      }
    }
    if (conjuncts.empty()) continue;
    Json filter = Expression::And(conjuncts).ToJson();
    if (Expression::FromJson(filter).ok()) stage.source.filter = std::move(filter);
  }
  return Status::OK();
}

void PushLimits(Draft* draft) {
  for (auto& stage : draft->stages) {
    if (!std::all_of(stage.nodes.begin(), stage.nodes.end(), KeepsAllRows)) continue;
    int64_t limit = 0;
    for (const auto& output : stage.outputs) {
      limit = output.limit < 0 || limit < 0 ? -1 : std::max(limit, output.limit);
    }
    stage.source.limit = limit;
  }
}

}  // namespace partita::compile
