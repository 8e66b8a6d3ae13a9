#include "partita/compile/stages.h"

#include <algorithm>
#include <set>
#include <utility>

#include "partita/block/schema.h"
#include "partita/compile/exchange_steps.h"
#include "partita/compile/sources.h"
#include "partita/compile/table_size.h"

namespace partita::compile {
namespace {

// A union of unions of the same step doubles its flows each time: a pipeline of a few lines must not fill the
// memory.
constexpr size_t kMaxFlows = 10'000;

// Rows of a partition of a left side that could not be joined where it is made.
constexpr int64_t kDetachedRows = 1'000'000;

struct Flow {
  int stage = 0;
  int node = -1;
};

struct Flows {
  std::vector<Flow> flows;
  // Rows in all, still to be cut. Whoever can cut by itself (collect, an exact sink) does; else an exchange
  // is made.
  int64_t limit = -1;
  // Rows that there are at most in all, since the exchange that gives them keeps no more; -1: not known.
  int64_t at_most = -1;
};

int64_t SmallerLimit(int64_t a, int64_t b) { return a < 0 ? b : b < 0 ? a : std::min(a, b); }

// The stages that write what `stage` reads.
std::vector<int> StagesBefore(const Draft& draft, int stage) {
  std::set<int> read;
  const auto& reader = draft.stages[stage];
  if (reader.source.kind == PlanSource::Kind::kExchange) {
    read.insert(reader.source.exchange);
    read.insert(reader.source.right_exchange);
  }
  for (const auto& node : reader.nodes) read.insert(node.table);
  read.erase(-1);
  std::vector<int> before;
  for (size_t s = 0; s < draft.stages.size() && !read.empty(); ++s) {
    const auto& outputs = draft.stages[s].outputs;
    const bool writes = std::any_of(outputs.begin(), outputs.end(), [&](const PlanOutput& output) {
      return output.kind == PlanOutput::Kind::kExchange && read.count(output.target) > 0;
    });
    if (writes) before.push_back(static_cast<int>(s));
  }
  return before;
}

// A stage that got a probe may stand before the one that makes its table. Others stay in their order.
void PutWritersFirst(Draft* draft) {
  std::vector<bool> placed(draft->stages.size(), false);
  std::vector<DraftStage> ordered;
  std::vector<std::vector<int>> before;
  for (size_t s = 0; s < draft->stages.size(); ++s)
    before.push_back(StagesBefore(*draft, static_cast<int>(s)));
  while (ordered.size() < draft->stages.size()) {
    for (size_t s = 0; s < before.size(); ++s) {
      const bool ready = std::all_of(before[s].begin(), before[s].end(), [&](int b) { return placed[b]; });
      if (placed[s] || !ready) continue;
      placed[s] = true;
      ordered.push_back(std::move(draft->stages[s]));
      break;
    }
  }
  draft->stages = std::move(ordered);
}

class StageBuilder {
 public:
  StageBuilder(const Graph& graph, const std::vector<BoundStep>& bound, const Snapshot& snapshot)
      : graph_(graph), bound_(bound), snapshot_(snapshot), flows_(graph.steps.size()) {}

  Result<Draft> Build() {
    for (size_t i = 0; i < graph_.steps.size(); ++i) {
      const auto& step = graph_.steps[i];
      if (!step.reaches_sink) continue;
      auto status = Add(static_cast<int>(i));
      if (!status.ok()) return AtStep(status, *step.declared);
    }
    PutWritersFirst(&draft_);
    return std::move(draft_);
  }

 private:
  Status Add(int index) {
    const auto& step = graph_.steps[index];
    if (step.is(StepKind::kSource)) return AddSource(index);
    if (step.is(StepKind::kSink)) return AddSink(index);
    if (step.spec->name == kUnionOp) return AddUnion(index);
    if (step.spec->name == kLimitOp) return AddLimit(index);
    if (step.spec->name == kZipOp) return AddZip(index);
    if (step.spec->name == kAsofOp) return AddAsof(index);
    if (step.spec->takes_pair()) return AddJoin(index);
    if (step.spec->is_exchange) return AddExchangeStep(index);
    return AddTransform(index);
  }

  Status AddSource(int index) {
    const auto& step = graph_.steps[index];
    DraftStage stage;
    stage.source.step = step.declared->name;
    stage.source.op = step.spec->name;
    stage.source.format = SourceFormatOf(step.spec->name);
    stage.source.args = step.args;
    ARROW_RETURN_NOT_OK(ResolvePartitionRule(graph_, index, &stage.source.args));
    stage.source.schema = bound_[index].output;
    stage.source.on_error = step.declared->on_error;
    flows_[index].flows = {{static_cast<int>(draft_.stages.size()), -1}};
    draft_.stages.push_back(std::move(stage));
    return Status::OK();
  }

  Status AddTransform(int index) {
    const auto& step = graph_.steps[index];
    for (const Flow& flow : Cut(step.inputs[0]).flows) {
      DraftNode node;
      node.input = flow.node;
      node.flow = static_cast<int>(flows_[index].flows.size());
      node.step = step.declared->name;
      node.on_error = step.declared->on_error;
      node.output = bound_[index].output;
      ARROW_RETURN_NOT_OK(Fill(index, &node));
      auto& nodes = draft_.stages[flow.stage].nodes;
      flows_[index].flows.push_back({flow.stage, static_cast<int>(nodes.size())});
      nodes.push_back(std::move(node));
    }
    return Status::OK();
  }

  Status Fill(int index, DraftNode* node) const {
    const auto& step = graph_.steps[index];
    const std::string& op = step.spec->name;
    if (op == "filter") {
      node->kind = DraftNode::Kind::kFilter;
      ARROW_ASSIGN_OR_RAISE(node->predicate, Expression::FromJson(step.args.value("predicate", Json())));
    } else if (IsProjectionStep(op)) {
      node->kind = DraftNode::Kind::kProject;
      ARROW_ASSIGN_OR_RAISE(node->columns, ProjectionOf(op, step.args, *bound_[step.inputs[0]].output));
    } else {
      node->component = &step;
      node->binding = bound_[index].binding;
    }
    return Status::OK();
  }

  Status AddUnion(int index) {
    auto& out = flows_[index].flows;
    for (int input : graph_.steps[index].inputs) {
      const auto& flows = Cut(input).flows;
      out.insert(out.end(), flows.begin(), flows.end());
      if (out.size() > kMaxFlows) {
        return UserError(
            "this union has more than " + std::to_string(kMaxFlows) + " inputs, counted through unions",
            "read the sources with one step that lists all paths");
      }
    }
    return Status::OK();
  }

  Status AddLimit(int index) {
    const auto& step = graph_.steps[index];
    ARROW_ASSIGN_OR_RAISE(int64_t rows, GetInt(step.args, "n"));
    if (rows < 0) return UserError("a limit cannot be negative");
    const Flows& input = flows_[step.inputs[0]];
    flows_[index] = input;
    if (input.at_most < 0 || input.at_most > rows) flows_[index].limit = SmallerLimit(input.limit, rows);
    return Status::OK();
  }

  // sort, distinct, ...: a limit before it cuts the rows that go in; one behind a sort or shuffle becomes
  // part of it.
  Status AddExchangeStep(int index) {
    const auto& step = graph_.steps[index];
    ARROW_ASSIGN_OR_RAISE(ExchangeStep made, ExchangeOf(step, *bound_[step.inputs[0]].output));
    const int64_t first_rows = FirstRowsWanted(graph_, index);
    if (first_rows >= 0 && KeepFirstRows(first_rows, &made.exchange)) flows_[index].at_most = first_rows;
    // How many rows and bytes came in behind a limit is a matter of time: what is cut by bytes must not know.
    const bool in_order = !made.exchange.is_sorted() && made.exchange.partition_bytes < 0;
    const Flows input = in_order ? flows_[step.inputs[0]] : Cut(step.inputs[0]);
    flows_[index].flows = AddExchange(std::move(made.exchange), index, input).flows;
    draft_.stages.back().source.reduce = std::move(made.reduce);
    return Status::OK();
  }

  // A limit before a join cuts the rows of its side.
  Status AddJoin(int index) {
    const auto& step = graph_.steps[index];
    const int left = step.inputs[0], right = step.inputs[1];
    ARROW_ASSIGN_OR_RAISE(const JoinInputs inputs,
                          JoinInputsOf(step.args, bound_[left].output, bound_[right].output));
    ARROW_ASSIGN_OR_RAISE(Flows lefts, CastKeys(index, left, inputs.keys.left, inputs.left));
    ARROW_ASSIGN_OR_RAISE(Flows rights, CastKeys(index, right, inputs.keys.right, inputs.right));
    ARROW_ASSIGN_OR_RAISE(const Join join, JoinOf(step.args, inputs));
    const int64_t bytes = SizeAtMost(graph_, bound_, snapshot_, right).bytes;
    ARROW_ASSIGN_OR_RAISE(const std::string strategy, GetString(step.args, "strategy"));
    const bool is_small = bytes >= 0 && bytes <= kBroadcastBytes;
    const bool may_probe = !join.may_lack_left() && step.args.at("partitions").is_null();
    if (strategy == "broadcast" || (strategy == "auto" && may_probe && is_small)) {
      const bool is_cycle = DependOnEachOther(rights, lefts);
      if (strategy == "broadcast" && is_cycle) lefts = Detach(index, inputs.left, lefts);
      if (strategy == "broadcast" || !is_cycle) {
        DraftNode probe;
        probe.join = join;
        probe.keys = inputs.keys;
        probe.table_bytes = bytes;
        AddProbe(index, inputs.right, std::move(probe), lefts, rights);
        return Status::OK();
      }
    }
    ARROW_ASSIGN_OR_RAISE(JoinExchanges made, JoinExchangesOf(step, inputs));
    AddPair(index, inputs, std::move(made), lefts, rights);
    return Status::OK();
  }

  // A stage that reads two exchanges.
  void AddPair(int index, const JoinInputs& inputs, JoinExchanges made, const Flows& lefts,
               const Flows& rights) {
    DraftStage stage;
    stage.source.kind = PlanSource::Kind::kExchange;
    stage.source.exchange = AddTarget(std::move(made.left), index, inputs.left, lefts);
    stage.source.right_exchange = AddTarget(std::move(made.right), index, inputs.right, rights);
    stage.source.reduce = std::move(made.reduce);
    stage.source.schema = bound_[index].output;
    draft_.stages.push_back(std::move(stage));
    flows_[index].flows = {{static_cast<int>(draft_.stages.size()) - 1, -1}};
  }

  Status AddZip(int index) {
    const auto& step = graph_.steps[index];
    const int left = step.inputs[0], right = step.inputs[1];
    ARROW_ASSIGN_OR_RAISE(const Json args, ZipArgs(step.args));
    ARROW_ASSIGN_OR_RAISE(const JoinInputs inputs,
                          JoinInputsOf(args, bound_[left].output, bound_[right].output));
    ARROW_ASSIGN_OR_RAISE(const Join zip, JoinOf(args, inputs));
    JoinExchanges made;
    made.left.kind = made.right.kind = PlanExchange::Kind::kRebalance;
    made.left.partition_bytes = made.right.partition_bytes = kExchangePartitionBytes;
    made.reduce = JoinToJson(zip);
    const Flows lefts = Cut(left), rights = Cut(right);
    AddPair(index, inputs, std::move(made), lefts, rights);
    return Status::OK();
  }

  // The rows of `input`, its keys cast to their types in `schema`.
  Result<Flows> CastKeys(int index, int input, const std::vector<std::string>& keys,
                         const std::shared_ptr<arrow::Schema>& schema) {
    const Flows flows = Cut(input);
    const auto& given = *bound_[input].output;
    Json types = Json::object();
    for (const auto& key : keys) {
      const auto& type = *schema->GetFieldByName(key)->type();
      if (!given.GetFieldByName(key)->type()->Equals(type)) types[key] = TypeToString(type);
    }
    if (types.empty()) return flows;
    ARROW_ASSIGN_OR_RAISE(const Projection columns, ProjectionOf("cast", {{"columns", types}}, given));
    Flows out = flows;
    for (Flow& flow : out.flows) {
      DraftNode node;
      node.kind = DraftNode::Kind::kProject;
      node.input = flow.node;
      node.step = graph_.steps[index].declared->name;
      node.columns = columns;
      node.output = schema;
      auto& nodes = draft_.stages[flow.stage].nodes;
      flow.node = static_cast<int>(nodes.size());
      nodes.push_back(std::move(node));
    }
    return out;
  }

  // Each left row looks up its partners in the right side, which is gathered; `probe` says how.
  void AddProbe(int index, const std::shared_ptr<arrow::Schema>& right, DraftNode probe, const Flows& lefts,
                const Flows& rights) {
    probe.kind = DraftNode::Kind::kProbe;
    probe.step = graph_.steps[index].declared->name;
    probe.output = bound_[index].output;
    probe.table = AddTarget({}, index, right, rights);
    draft_.tables[probe.table].columns = right;
    for (const Flow& flow : lefts.flows) {
      probe.input = flow.node;
      probe.flow = static_cast<int>(flows_[index].flows.size());
      auto& nodes = draft_.stages[flow.stage].nodes;
      flows_[index].flows.push_back({flow.stage, static_cast<int>(nodes.size())});
      nodes.push_back(probe);
    }
  }

  Status AddAsof(int index) {
    const auto& step = graph_.steps[index];
    const int left = step.inputs[0], right = step.inputs[1];
    ARROW_ASSIGN_OR_RAISE(const AsofInputs made,
                          AsofInputsOf(step.args, bound_[left].output, bound_[right].output));
    DraftNode probe;
    probe.keys = made.inputs.keys;
    probe.asof = made.asof;
    probe.table_bytes = SizeAtMost(graph_, bound_, snapshot_, right).bytes;
    ARROW_ASSIGN_OR_RAISE(probe.join, JoinOf(made.join_args, made.inputs));
    auto cast_left = made.inputs.keys.left, cast_right = made.inputs.keys.right;
    cast_left.push_back(made.asof.left);
    cast_right.push_back(made.asof.right);
    ARROW_ASSIGN_OR_RAISE(Flows lefts, CastKeys(index, left, cast_left, made.inputs.left));
    ARROW_ASSIGN_OR_RAISE(Flows rights, CastKeys(index, right, cast_right, made.inputs.right));
    ARROW_ASSIGN_OR_RAISE(const std::string strategy, GetString(step.args, "strategy"));
    const bool is_small = probe.table_bytes >= 0 && probe.table_bytes <= kBroadcastBytes;
    if (strategy == "broadcast" || (strategy == "auto" && is_small && step.args.at("partitions").is_null())) {
      if (DependOnEachOther(rights, lefts)) lefts = Detach(index, made.inputs.left, lefts);
      AddProbe(index, made.inputs.right, std::move(probe), lefts, rights);
      return Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(JoinExchanges exchanges, AsofExchangesOf(step, made));
    AddPair(index, made.inputs, std::move(exchanges), lefts, rights);
    return Status::OK();
  }

  // The same rows in a stage of their own, in their order: what they come from need not wait for what the new
  // stage waits for.
  Flows Detach(int index, const std::shared_ptr<arrow::Schema>& schema, const Flows& rows) {
    PlanExchange exchange;
    exchange.kind = PlanExchange::Kind::kRebalance;
    exchange.rows_per_partition = kDetachedRows;
    DraftStage stage;
    stage.source.kind = PlanSource::Kind::kExchange;
    stage.source.exchange = AddTarget(std::move(exchange), index, schema, rows);
    stage.source.schema = schema;
    draft_.stages.push_back(std::move(stage));
    return Flows{{{static_cast<int>(draft_.stages.size()) - 1, -1}}};
  }

  // Whether a stage of `a` cannot run before one of `b` has.
  bool DependOnEachOther(const Flows& a, const Flows& b) const {
    std::vector<bool> seen(draft_.stages.size(), false);
    std::vector<int> todo;
    for (const Flow& flow : a.flows) todo.push_back(flow.stage);
    while (!todo.empty()) {
      const int stage = todo.back();
      todo.pop_back();
      if (seen[stage]) continue;
      seen[stage] = true;
      for (int before : StagesBefore(draft_, stage)) todo.push_back(before);
    }
    return std::any_of(b.flows.begin(), b.flows.end(), [&](const Flow& flow) { return seen[flow.stage]; });
  }

  Status AddSink(int index) {
    const auto& step = graph_.steps[index];
    PlanSink sink;
    sink.step = step.declared->name;
    sink.op = step.spec->name;
    sink.args = step.args;
    sink.schema = bound_[index].output;
    if (sink.op.rfind("write_", 0) == 0) sink.format = sink.op.substr(6);
    ARROW_ASSIGN_OR_RAISE(int64_t exact_rows, ExactRows(step));

    Flows input = flows_[step.inputs[0]];
    if (sink.op == kCollectOp) {
      ARROW_ASSIGN_OR_RAISE(int64_t own, GetIntOr(step.args, "limit", -1));
      sink.limit = input.limit = SmallerLimit(input.limit, own);
    } else if (exact_rows > 0) {
      PlanExchange exchange;
      exchange.kind = PlanExchange::Kind::kRebalance;
      exchange.rows_per_partition = exact_rows;
      input = AddExchange(std::move(exchange), index, input);
    } else {
      input = Cut(step.inputs[0]);
    }
    sink.inputs = static_cast<int>(input.flows.size());
    AddOutputs(PlanOutput::Kind::kSink, static_cast<int>(draft_.sinks.size()), input);
    draft_.sinks.push_back(std::move(sink));
    return Status::OK();
  }

  // The flows of a step with its limit applied. The first call that needs it makes the exchange.
  const Flows& Cut(int index) {
    Flows& flows = flows_[index];
    if (flows.limit >= 0) flows = AddExchange({}, index, flows);
    return flows;
  }

  // All rows of `input` go through `exchange`, which `step` asked for; a new stage reads it.
  Flows AddExchange(PlanExchange exchange, int step, const Flows& input) {
    DraftStage stage;
    stage.source.kind = PlanSource::Kind::kExchange;
    const auto& schema = bound_[graph_.steps[step].inputs[0]].output;
    stage.source.exchange = AddTarget(std::move(exchange), step, schema, input);
    stage.source.schema = bound_[step].output;
    draft_.stages.push_back(std::move(stage));
    return Flows{{{static_cast<int>(draft_.stages.size()) - 1, -1}}};
  }

  // An exchange of `rows`, which have the columns `schema`. Returns its index.
  int AddTarget(PlanExchange exchange, int step, const std::shared_ptr<arrow::Schema>& schema,
                const Flows& rows) {
    const int target = static_cast<int>(draft_.exchanges.size());
    exchange.step = graph_.steps[step].declared->name;
    exchange.schema = schema;
    exchange.inputs = static_cast<int>(rows.flows.size());
    if (!exchange.is_sorted()) exchange.limit = rows.limit;
    AddOutputs(PlanOutput::Kind::kExchange, target, rows);
    draft_.exchanges.push_back(std::move(exchange));
    return target;
  }

  void AddOutputs(PlanOutput::Kind kind, int target, const Flows& input) {
    for (size_t k = 0; k < input.flows.size(); ++k) {
      PlanOutput output;
      output.kind = kind;
      output.node = input.flows[k].node;
      output.target = target;
      output.input_index = static_cast<int>(k);
      output.limit = input.limit;
      draft_.stages[input.flows[k].stage].outputs.push_back(output);
    }
  }

  const Graph& graph_;
  const std::vector<BoundStep>& bound_;
  const Snapshot& snapshot_;
  std::vector<Flows> flows_;  // by step
  Draft draft_;
};

}  // namespace

Result<Draft> BuildStages(const Graph& graph, const std::vector<BoundStep>& bound, const Snapshot& snapshot) {
  return StageBuilder(graph, bound, snapshot).Build();
}

}  // namespace partita::compile
