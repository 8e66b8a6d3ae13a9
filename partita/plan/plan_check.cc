#include "partita/plan/plan_check.h"

#include <arrow/type.h>

#include <map>
#include <set>

#include "partita/expression/expression.h"
#include "partita/plan/exchange_check.h"

namespace partita {
namespace {

// A hostile plan must not make anyone reserve or loop by a number it merely states.
constexpr int kMaxInputs = 1 << 16;

bool InRange(int index, size_t size) { return index >= 0 && static_cast<size_t>(index) < size; }

std::string Where(size_t stage) { return "stage " + std::to_string(stage); }

const std::shared_ptr<arrow::Schema>& SchemaAt(const PlanStage& stage, int node) {
  return node < 0 ? stage.source.schema : stage.nodes[static_cast<size_t>(node)].output;
}

class Checker {
 public:
  explicit Checker(const Plan& plan) : plan_(plan) {}

  Status Run() {
    if (plan_.stages.empty()) return BadPlan("it has no stage");
    ARROW_RETURN_NOT_OK(CheckTargets());
    for (size_t i = 0; i < plan_.stages.size(); ++i) ARROW_RETURN_NOT_OK(CheckStage(i));
    for (size_t i = 0; i < plan_.sinks.size(); ++i) {
      ARROW_RETURN_NOT_OK(CheckInputs({PlanOutput::Kind::kSink, static_cast<int>(i)}, plan_.sinks[i].inputs,
                                      "sink " + std::to_string(i)));
    }
    for (size_t i = 0; i < plan_.exchanges.size(); ++i) {
      ARROW_RETURN_NOT_OK(CheckInputs({PlanOutput::Kind::kExchange, static_cast<int>(i)},
                                      plan_.exchanges[i].inputs, "exchange " + std::to_string(i)));
      if (readers_.count(static_cast<int>(i)) == 0)
        return BadPlan("no stage reads exchange " + std::to_string(i));
    }
    return Status::OK();
  }

 private:
  using Target = std::pair<PlanOutput::Kind, int>;

  Status CheckTargets() const {
    std::set<std::string> steps;
    for (const PlanSink& sink : plan_.sinks) {
      if (!steps.insert(sink.step).second) return BadPlan("two sinks belong to step '" + sink.step + "'");
      if (sink.inputs < 1 || sink.inputs > kMaxInputs)
        return BadPlan("a sink has " + std::to_string(sink.inputs) + " inputs");
      if (sink.limit < -1) return BadPlan("a sink has a negative limit");
    }
    for (const PlanExchange& exchange : plan_.exchanges) ARROW_RETURN_NOT_OK(CheckExchange(exchange));
    return Status::OK();
  }

  Status CheckStage(size_t index) {
    const PlanStage& stage = plan_.stages[index];
    ARROW_RETURN_NOT_OK(CheckSource(index, stage.source));
    for (size_t i = 0; i < stage.nodes.size(); ++i) {
      const PlanNode& node = stage.nodes[i];
      if (node.input < -1 || node.input >= static_cast<int>(i)) {
        return BadPlan(Where(index) + ", node " + std::to_string(i) + " reads node " +
                       std::to_string(node.input) + ", which is not before it");
      }
      if (node.op.empty() || node.step.empty())
        return BadPlan(Where(index) + " has a node without step or op");
      ARROW_RETURN_NOT_OK(CheckTable(index, stage, node));
    }
    if (stage.outputs.empty()) return BadPlan(Where(index) + " has no output");
    for (const PlanOutput& output : stage.outputs) ARROW_RETURN_NOT_OK(CheckOutput(index, stage, output));
    return Status::OK();
  }

  Status CheckSource(size_t index, const PlanSource& source) {
    if (source.limit < -1) return BadPlan(Where(index) + " has a negative limit");
    if (source.kind == PlanSource::Kind::kExchange) {
      return CheckReader(index, source);
    }
    if (source.right_exchange != -1) return BadPlan(Where(index) + " joins what it scans");
    if (source.step.empty() || source.op.empty())
      return BadPlan(Where(index) + " has a source without step or op");
    if (!source.filter.is_null()) {
      auto filter = Expression::FromJson(source.filter);
      if (!filter.ok()) return BadPlan(Where(index) + " has a bad filter: " + MessageOf(filter.status()));
    }
    return Status::OK();
  }

  Status CheckReader(size_t index, const PlanSource& source) {
    const bool joins =
        source.reduce.is_object() && source.reduce.contains("op") && source.reduce["op"] == "join";
    if (joins != (source.right_exchange != -1)) {
      return BadPlan(Where(index) +
                     (joins ? " joins one exchange" : " reads two exchanges, but joins nothing"));
    }
    ARROW_RETURN_NOT_OK(AddReader(index, source.exchange, joins));
    const auto& exchange = plan_.exchanges[static_cast<size_t>(source.exchange)];
    if (!joins) return CheckExchangeSource(source, exchange);
    ARROW_RETURN_NOT_OK(AddReader(index, source.right_exchange, joins));
    return CheckJoinSource(source, exchange, plan_.exchanges[static_cast<size_t>(source.right_exchange)]);
  }

  Status CheckTable(size_t index, const PlanStage& stage, const PlanNode& node) {
    if ((node.op == "join") != (node.table != -1)) {
      return BadPlan(Where(index) + (node.table == -1 ? " has a join without a table"
                                                      : " has a table that nothing is joined with"));
    }
    if (node.table == -1) return Status::OK();
    ARROW_RETURN_NOT_OK(AddReader(index, node.table, false));
    return CheckProbe(node, *SchemaAt(stage, node.input), plan_.exchanges[static_cast<size_t>(node.table)]);
  }

  // How a joined exchange is cut depends on the other one: no two readers need agree.
  Status AddReader(size_t index, int exchange, bool joins) {
    const std::string name = "exchange " + std::to_string(exchange);
    if (!InRange(exchange, plan_.exchanges.size()))
      return BadPlan(Where(index) + " reads " + name + ", which there is not");
    const bool is_first = readers_.insert(exchange).second;
    if (!is_first && (joins || joined_.count(exchange) > 0))
      return BadPlan(Where(index) + " reads " + name + ", which is joined and read twice");
    if (joins) joined_.insert(exchange);
    return Status::OK();
  }

  Status CheckOutput(size_t index, const PlanStage& stage, const PlanOutput& output) {
    if (output.node != -1 && !InRange(output.node, stage.nodes.size())) {
      return BadPlan(Where(index) + " has an output of node " + std::to_string(output.node) +
                     ", which there is not");
    }
    if (output.limit < -1) return BadPlan(Where(index) + " has an output with a negative limit");
    const bool is_sink = output.kind == PlanOutput::Kind::kSink;
    const std::string target = (is_sink ? "sink " : "exchange ") + std::to_string(output.target);
    if (!InRange(output.target, is_sink ? plan_.sinks.size() : plan_.exchanges.size())) {
      return BadPlan(Where(index) + " feeds " + target + ", which there is not");
    }
    // A stage that reads an exchange comes after all that write it, so there is no cycle.
    if (!is_sink && readers_.count(output.target) > 0) {
      return BadPlan(Where(index) + " feeds " + target + " after a stage has read it");
    }
    const auto t = static_cast<size_t>(output.target);
    const auto& schema = is_sink ? plan_.sinks[t].schema : plan_.exchanges[t].schema;
    if (!SameColumns(*SchemaAt(stage, output.node), *schema)) {
      return BadPlan(Where(index) + " feeds " + target + " with other columns than it has");
    }
    if (!inputs_[{output.kind, output.target}].insert(output.input_index).second) {
      return BadPlan("input " + std::to_string(output.input_index) + " of " + target + " is fed twice");
    }
    return Status::OK();
  }

  // The inputs of a target are exactly 0 .. count - 1.
  Status CheckInputs(const Target& target, int count, const std::string& what) {
    const std::set<int>& fed = inputs_[target];
    if (fed.size() != static_cast<size_t>(count) || *fed.begin() != 0 || *fed.rbegin() != count - 1) {
      return BadPlan(what + " has " + std::to_string(count) + " inputs, but not all are fed");
    }
    return Status::OK();
  }

  const Plan& plan_;
  std::set<int> readers_;  // exchanges that an earlier stage has read
  std::set<int> joined_;   // those of them that it joined with another
  std::map<Target, std::set<int>> inputs_;
};

}  // namespace

Status BadPlan(const std::string& why) {
  return UserError("the plan cannot be used: " + why, "compile the pipeline again");
}

Status CheckPlan(const Plan& plan) { return Checker(plan).Run(); }

}  // namespace partita
