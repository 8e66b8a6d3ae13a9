// The plan as people read it: one tree a stage, from the source down to what is written.
#include <arrow/type.h>

#include <algorithm>
#include <utility>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/compile/compile.h"
#include "partita/compile/sources.h"
#include "partita/expression/expression.h"
#include "partita/pipeline/aggregate.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/join.h"
#include "partita/pipeline/projection.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

constexpr size_t kMaxNames = 12;
constexpr size_t kMaxArgChars = 80;
constexpr size_t kHashChars = 12;

std::string Plural(int64_t count, const std::string& noun) {
  return FormatCount(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string Joined(const std::vector<std::string>& names) {
  std::string out;
  for (size_t i = 0; i < names.size() && i < kMaxNames; ++i) out += (i ? ", " : "") + names[i];
  if (names.size() > kMaxNames) out += ", ... " + FormatCount(names.size() - kMaxNames) + " more";
  return out.empty() ? "none" : out;
}

std::string Shortened(std::string text) {
  if (text.size() <= kMaxArgChars) return text;
  size_t end = kMaxArgChars;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;  // not inside a character
  return text.substr(0, end) + "...";
}

std::string ExpressionText(const Json& json) {
  auto expression = Expression::FromJson(json);
  return Shortened(expression.ok() ? expression->ToString() : CanonicalJson(json));
}

// Arguments that differ from their defaults, without those that compile itself reads.
std::string ArgsText(const std::string& op, const Json& args) {
  const StepSpec* spec = FindStep(op);
  if (spec == nullptr) return "";
  std::string out;
  for (const auto& arg : spec->args) {
    const auto value = args.find(arg.name);
    if (value == args.end() || value->is_null()) continue;
    if (arg.name == "rows_per_partition" || arg.name == "partition_bytes" || arg.name == "columns") continue;
    auto fallback = NormaliseArg(*spec, arg, Json());
    if (!arg.required && fallback.ok() && *fallback == *value) continue;
    const Json& shown = value->is_array() && value->size() == 1 ? (*value)[0] : *value;
    std::string text = shown.is_string() ? shown.get<std::string>() : CanonicalJson(shown);
    if (arg.type == ArgType::kExpression) text = ExpressionText(*value);
    out += " " + arg.name + "=" + Shortened(std::move(text));
  }
  return out;
}

// What a projection does, told by its difference from its input.
std::string ProjectText(const PlanNode& node) {
  auto projection = ProjectionFromJson(node.args.value("columns", Json::array()));
  if (!projection.ok()) return "";
  std::vector<std::string> columns;
  for (const auto& [name, expression] : *projection) {
    const std::string plain = PlainColumn(expression);
    columns.push_back(plain == name ? name : name + " = " + Shortened(expression.ToString()));
  }
  return " columns: " + Joined(columns);
}

// "left join on k, id = user_id": what a join does.
std::string JoinText(const Result<Join>& join, const std::vector<std::string>& left,
                     const std::vector<std::string>& right) {
  std::vector<std::string> keys;
  for (size_t i = 0; i < left.size() && i < right.size(); ++i)
    keys.push_back(left[i] == right[i] ? left[i] : left[i] + " = " + right[i]);
  if (join.ok() && join->how == JoinHow::kZip) return "zip, row by row";
  std::string out = (join.ok() ? std::string(JoinHowName(join->how)) : "a") + " join";
  return keys.empty() ? out : out + " on " + Joined(keys);
}

// " nearest by t, backward": nothing where `args` have no as-of join.
std::string AsofText(const Json& args) {
  const auto asof = AsofFromJson(args.value("asof", Json()));
  if (!asof.ok()) return "";
  const std::string by = asof->left == asof->right ? asof->left : asof->left + " and " + asof->right;
  return " nearest by " + by + ", " + AsofToJson(*asof)["direction"].get<std::string>();
}

std::string ProbeText(const PlanNode& node) {
  const int64_t bytes = GetIntOr(node.args, "bytes", -1).ValueOr(-1);
  return node.step + ": " +
         JoinText(JoinFromJson(node.args.value("join", Json())),
                  GetStringsOr(node.args, "left_on", {}).ValueOr({}),
                  GetStringsOr(node.args, "right_on", {}).ValueOr({})) +
         AsofText(node.args) + ", broadcast: looks up exchange " + std::to_string(node.table) + " in memory" +
         (bytes >= 0 ? ", at most " + FormatBytes(bytes) : "") +
         "; columns: " + Joined(node.output->field_names());
}

std::string NodeText(const PlanNode& node) {
  if (node.table >= 0) return ProbeText(node);
  std::string out = node.step;
  const bool says_it = node.step == node.op || (node.op == "project" && IsProjectionStep(node.step));
  if (!says_it) out += " (" + node.op + ")";
  if (node.op == "project") {
    out += ProjectText(node);
  } else if (node.op == "filter") {
    out += " " + ExpressionText(node.args.value("predicate", Json()));
  } else {
    out += ArgsText(node.op, node.args);
  }
  if (node.on_error != OnError::kFail) out += "  [on_error: " + std::string(OnErrorName(node.on_error)) + "]";
  const StepSpec* spec = FindStep(node.op);
  if (spec != nullptr && spec->is_volatile) out += "  [volatile]";
  return out;
}

std::vector<std::string> OrderTexts(const std::vector<PlanOrderKey>& keys) {
  std::vector<std::string> texts;
  for (const auto& key : keys) {
    texts.push_back(key.column + (key.descending ? " descending" : "") +
                    (key.nulls_first ? " nulls first" : ""));
  }
  return texts;
}

// What becomes of the rows of a group as they leave.
std::string GroupRowsText(const Json& reduce) {
  const auto rows = GroupRowsFromJson(reduce);
  if (!rows.ok()) return "";
  std::vector<std::string> names;
  for (const auto& number : rows->numbers) names.push_back(number.name);
  std::string out = "of each group";
  if (rows->limit >= 0) out += " keeps the first " + Plural(rows->limit, "row");
  if (!names.empty())
    out += std::string(rows->limit >= 0 ? " and" : "") + " numbers the rows: " + Joined(names);
  return out;
}

class Explainer {
 public:
  Explainer(const Plan& plan, const Snapshot& snapshot) : plan_(plan), snapshot_(snapshot) {}

  Result<std::string> Run() {
    Line(0, "pipeline " + plan_.name);
    Line(1, "plan " + plan_.Hash().substr(0, kHashChars) + ", snapshot " +
                snapshot_.Hash().substr(0, kHashChars));
    Line(1, "least memory " + FormatBytes(LeastBudgetBytes(plan_)));
    if (!plan_.quarantine.empty()) Line(1, "quarantine " + plan_.quarantine);
    for (size_t i = 0; i < plan_.stages.size(); ++i) {
      text_ += "\n";
      ARROW_RETURN_NOT_OK(ExplainStage(static_cast<int>(i)));
    }
    return std::move(text_);
  }

 private:
  void Line(int depth, const std::string& text) { text_ += std::string(depth * 2, ' ') + text + "\n"; }

  Status ExplainStage(int index) {
    const PlanStage& stage = plan_.stages[index];
    std::string title = "stage " + std::to_string(index);
    if (stage.source.kind == PlanSource::Kind::kScan) {
      ARROW_ASSIGN_OR_RAISE(const auto partitions, ScanPartitions(plan_, index, snapshot_));
      title += ": " + Plural(partitions.size(), "partition") + RuleText(stage.source);
    } else {
      title += ": " + CutsText(plan_.exchanges[stage.source.exchange]);
    }
    Line(0, title + (stage.is_volatile ? "  [volatile]" : ""));
    ExplainSource(stage.source);
    ExplainBelow(stage);
    return Status::OK();
  }

  static std::string RuleText(const PlanSource& source) {
    const int64_t rows = GetIntOr(source.args, "rows_per_partition", 0).ValueOr(0);
    const int64_t bytes = compile::SplitBytes(source.format, source.args);
    if (!compile::HasFiles(source.format) || (rows > 0 && bytes == 0)) {
      return rows > 0 ? " of at most " + Plural(rows, "row") : "";
    }
    if (source.format == "files") return " of whole files";
    return " of at most one file and about " + FormatBytes(bytes);
  }

  static std::string CutsText(const PlanExchange& exchange) {
    if (exchange.kind == PlanExchange::Kind::kGather) return "1 partition";
    if (exchange.partitions > 0) return Plural(exchange.partitions, "partition");
    if (exchange.partition_bytes > 0) return "partitions of about " + FormatBytes(exchange.partition_bytes);
    return "partitions of " + Plural(exchange.rows_per_partition, "row") + ", the last one shorter";
  }

  // "sort by s, k descending", "shuffle with seed 7": what places the rows.
  static std::string OrderText(const PlanExchange& exchange) {
    std::string out(ExchangeKindName(exchange.kind));
    if (exchange.kind == PlanExchange::Kind::kShuffle) out += " with seed " + std::to_string(exchange.seed);
    if (!exchange.keys.empty()) out += " by " + Joined(OrderTexts(exchange.keys));
    if (!exchange.order.empty()) out += ", each group by " + Joined(OrderTexts(exchange.order));
    return out;
  }

  std::string ReduceText(const PlanSource& source) const {
    const Json& reduce = source.reduce;
    if (source.right_exchange >= 0) {
      return JoinText(JoinFromJson(reduce), plan_.exchanges[source.exchange].key_names(),
                      plan_.exchanges[source.right_exchange].key_names()) +
             AsofText(reduce) + "; columns: " + Joined(source.schema->field_names());
    }
    if (reduce.contains("numbers")) return GroupRowsText(reduce);
    if (reduce.contains("keep")) {
      const std::string keep = reduce["keep"].get<std::string>();
      return keep == "none" ? "of equal keys keeps no row" : "of equal keys keeps the " + keep + " row";
    }
    auto aggregates = AggregatesFromJson(reduce.value("aggregates", Json::array()));
    std::vector<std::string> texts;
    bool combines = true;
    for (const auto& one : aggregates.ok() ? *aggregates : std::vector<AggregateSpec>()) {
      texts.push_back(one.name + " = " + AggregateText(one));
      const auto input = AggregateInputType(one, *plan_.exchanges[source.exchange].schema);
      combines = combines && input.ok() && CombinesStates(one.function, *input);
    }
    return "of equal keys computes: " + Joined(texts) + (combines ? "; combines before the exchange" : "");
  }

  // As-of joins order the rows of a key by a column, a zip has no keys.
  bool SplitsKeys(const PlanSource& source) const {
    const auto& exchange = plan_.exchanges[source.exchange];
    return source.right_exchange >= 0 && exchange.kind == PlanExchange::Kind::kHash &&
           exchange.partitions != 1 && !source.reduce.contains("asof");
  }

  void ExplainRead(int index) {
    const PlanExchange& exchange = plan_.exchanges[index];
    Line(1, "read exchange " + std::to_string(index) + " (" + OrderText(exchange) + " for " + exchange.step +
                ")");
    Line(2, "columns: " + Joined(exchange.schema->field_names()));
  }

  void ExplainSource(const PlanSource& source) {
    if (source.kind == PlanSource::Kind::kExchange) {
      ExplainRead(source.exchange);
      if (source.right_exchange >= 0) ExplainRead(source.right_exchange);
      // What a join does is said of both that it reads.
      const int depth = source.right_exchange >= 0 ? 1 : 2;
      if (source.reduce.is_object()) Line(depth, ReduceText(source));
      if (SplitsKeys(source))
        Line(depth + 1, "a key that is worth several partitions is split between its rows");
    } else {
      std::string line = source.step;
      if (source.step != source.op) line += " (" + source.op + ")";
      line += ArgsText(source.op, source.args);
      if (source.on_error != OnError::kFail)
        line += "  [on_error: " + std::string(OnErrorName(source.on_error)) + "]";
      Line(1, line);
      ExplainSnapshot(source);
    }
    if (!source.filter.is_null()) {
      Line(2, "skips by: " + ExpressionText(source.filter));
    }
    if (source.limit >= 0) Line(2, "reads at most " + Plural(source.limit, "row") + " of each partition");
  }

  void ExplainSnapshot(const PlanSource& source) {
    const SourceSnapshot* found = snapshot_.Find(source.step);
    if (found == nullptr) return;
    if (compile::HasFiles(source.format)) {
      int64_t bytes = 0;
      for (const auto& file : found->files) bytes += std::max<int64_t>(0, file.entry.size_bytes);
      Line(2, Plural(found->files.size(), "file") + ", " + FormatBytes(bytes));
    } else if (found->num_rows >= 0) {
      Line(2, Plural(found->num_rows, "row"));
    }
    Line(2, "columns (" + std::to_string(source.schema->num_fields()) + " of " +
                std::to_string(found->schema->num_fields()) + "): " + Joined(source.schema->field_names()));
  }

  // Depth first, with an explicit stack: a pipeline may be as long as it likes. A chain stays at one depth, a
  // branch indents.
  void ExplainBelow(const PlanStage& stage) {
    std::vector<std::vector<int>> children(stage.nodes.size() + 1);
    for (size_t i = 0; i < stage.nodes.size(); ++i)
      children[stage.nodes[i].input + 1].push_back(static_cast<int>(i));
    std::vector<std::pair<int, int>> todo = {{-1, 1}};  // node, depth
    while (!todo.empty()) {
      const auto [node, depth] = todo.back();
      todo.pop_back();
      if (node >= 0) Line(depth, NodeText(stage.nodes[node]));
      const auto outputs =
          std::count_if(stage.outputs.begin(), stage.outputs.end(),
                        [&, at = node](const PlanOutput& output) { return output.node == at; });
      const auto& next = children[node + 1];
      const int below = depth + (outputs + static_cast<int64_t>(next.size()) > 1 ? 1 : 0);
      for (const auto& output : stage.outputs) {
        if (output.node == node) Line(below, OutputText(output));
      }
      for (auto child = next.rbegin(); child != next.rend(); ++child) todo.emplace_back(*child, below);
    }
  }

  std::string OutputText(const PlanOutput& output) const {
    const bool is_sink = output.kind == PlanOutput::Kind::kSink;
    std::string out = "-> ";
    int inputs = 1;
    int64_t limit = -1;
    if (is_sink) {
      const PlanSink& sink = plan_.sinks[output.target];
      out += sink.step + (sink.step != sink.op ? " (" + sink.op + ")" : "") + ArgsText(sink.op, sink.args);
      inputs = sink.inputs;
      limit = sink.limit;
    } else {
      const PlanExchange& exchange = plan_.exchanges[output.target];
      out += "exchange " + std::to_string(output.target) + " (" + OrderText(exchange) + " for " +
             exchange.step + ")";
      if (exchange.limit >= 0 && exchange.is_sorted()) {
        return out + Inputs(output, exchange.inputs) + ", its first " + Plural(exchange.limit, "row");
      }
      inputs = exchange.inputs;
      limit = exchange.limit;
    }
    out += Inputs(output, inputs);
    if (limit >= 0) out += ", " + Plural(limit, "row") + " in all";
    return out;
  }

  static std::string Inputs(const PlanOutput& output, int inputs) {
    if (inputs <= 1) return "";
    return ", input " + std::to_string(output.input_index + 1) + " of " + std::to_string(inputs);
  }

  const Plan& plan_;
  const Snapshot& snapshot_;
  std::string text_;
};

}  // namespace

Result<std::string> Explain(const Plan& plan, const Snapshot& snapshot) {
  return Explainer(plan, snapshot).Run();
}

}  // namespace partita
