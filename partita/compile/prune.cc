#include "partita/compile/prune.h"

#include <arrow/type.h>

#include <algorithm>
#include <set>
#include <utility>

#include "partita/pipeline/aggregate.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/join.h"

namespace partita::compile {
namespace {

using Names = std::set<std::string>;

void AddFields(const arrow::Schema& schema, Names* names) {
  for (const auto& field : schema.fields()) names->insert(field->name());
}

std::shared_ptr<arrow::Schema> Keep(const arrow::Schema& schema, const Names& needed) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) {
    if (needed.count(field->name()) > 0) fields.push_back(field);
  }
  return arrow::schema(std::move(fields));
}

// What a node needs of its input when `needed` is needed of its output. Prunes a projection's list.
Names NeededOfInput(const arrow::Schema& input, const Names& needed, Draft* draft, DraftNode* node) {
  Names out;
  const auto read = [&out](const std::vector<std::string>& columns) {
    out.insert(columns.begin(), columns.end());
  };
  switch (node->kind) {
    case DraftNode::Kind::kFilter:
      out = needed;
      read(node->predicate.Columns());
      break;
    case DraftNode::Kind::kProject:
      std::erase_if(node->columns, [&](const auto& column) { return needed.count(column.first) == 0; });
      for (const auto& [name, expression] : node->columns) read(expression.Columns());
      break;
    case DraftNode::Kind::kProbe: {
      std::erase_if(node->join.columns, [&](const auto& column) { return needed.count(column.name) == 0; });
      read(node->keys.left);
      auto& table = draft->tables.at(node->table);
      if (node->asof) {
        out.insert(node->asof->left);
        table.needed.insert(node->asof->right);
      }
      table.needed.insert(node->keys.right.begin(), node->keys.right.end());
      for (const auto& column : node->join.columns) {
        (column.side == JoinColumn::Side::kRight ? table.needed : out).insert(column.column);
      }
      // A row without columns cannot be exchanged.
      if (table.needed.empty()) table.needed.insert(table.columns->field(0)->name());
      draft->exchanges[node->table].schema = Keep(*table.columns, table.needed);
      break;
    }
    case DraftNode::Kind::kComponent:
      if (node->binding.reads_all) {
        AddFields(input, &out);
        break;
      }
      read(node->binding.reads);
      if (node->binding.drops_others) break;
      for (const auto& name : needed) {
        const auto& writes = node->binding.writes;
        if (std::find(writes.begin(), writes.end(), name) == writes.end()) out.insert(name);
      }
      break;
  }
  return out;
}

// Types after pruning, from the source down.
Status Rebind(const std::shared_ptr<arrow::Schema>& input, const Names& needed, const Draft& draft,
              DraftNode* node) {
  switch (node->kind) {
    case DraftNode::Kind::kFilter:
      node->output = input;
      return Status::OK();
    case DraftNode::Kind::kProject: {
      ARROW_ASSIGN_OR_RAISE(node->output, ProjectionSchema(node->columns, input));
      return Status::OK();
    }
    case DraftNode::Kind::kProbe: {
      ARROW_ASSIGN_OR_RAISE(node->output,
                            JoinSchema(node->join, node->keys, *input, *draft.exchanges[node->table].schema));
      return Status::OK();
    }
    case DraftNode::Kind::kComponent:
      break;
  }
  const auto before = node->output;
  const StepSpec& spec = *node->component->spec;
  ARROW_ASSIGN_OR_RAISE(node->binding, spec.bind(node->component->args, input));
  ARROW_RETURN_NOT_OK(CheckBinding(spec, node->binding, *input));
  node->output = node->binding.output;
  for (const auto& name : needed) {
    const auto now = node->output->GetFieldByName(name);
    if (now == nullptr || !now->type()->Equals(*before->GetFieldByName(name)->type())) {
      return BugError("step '" + spec.name + "' makes another column '" + name +
                      "' when it is not given columns that it does not read");
    }
  }
  return Status::OK();
}

// A node may have more columns than an output wants (a second reader needs them), have them in another order
// (a component that replaces a column puts it last once the old one is not read), or not be nullable where
// another input of a union is. A projection in the name of the output's step says which and as what.
Status AlignOutputs(Draft* draft, DraftStage* stage) {
  for (auto& output : stage->outputs) {
    const auto& want = draft->SchemaOf(output);
    const auto& have = stage->OutputOf(output.node);
    if (have->Equals(*want, /*check_metadata=*/false)) continue;
    DraftNode node;
    node.kind = DraftNode::Kind::kProject;
    node.input = output.node;
    node.step = draft->StepOf(output);
    for (const auto& field : want->fields())
      node.columns.emplace_back(field->name(), Expression::Column(field->name()));
    node.output = want;
    output.node = static_cast<int>(stage->nodes.size());
    stage->nodes.push_back(std::move(node));
  }
  return Status::OK();
}

// Numbers that nobody needs are not made.
Status PruneGroupRows(const Names& needed, PlanSource* source, PlanExchange* exchange) {
  ARROW_ASSIGN_OR_RAISE(GroupRows rows, GroupRowsFromJson(source->reduce));
  std::erase_if(rows.numbers, [&](const auto& number) { return needed.count(number.name) == 0; });
  exchange->schema = Keep(*exchange->schema, needed);
  source->reduce = rows.is_nothing() ? Json() : GroupRowsToJson(rows);
  return Status::OK();
}

// Keys are exchanged also when nobody needs them behind it: rows are placed by them. What aggregates are made
// of is not seen behind it.
Status PruneExchange(Names needed, PlanSource* source, PlanExchange* exchange) {
  Names exchanged;
  for (auto& key : exchange->key_names()) exchanged.insert(std::move(key));
  for (const auto& key : exchange->order) exchanged.insert(key.column);
  needed.insert(exchanged.begin(), exchanged.end());
  source->schema = Keep(*source->schema, needed);
  if (source->reduce.is_object() && source->reduce.contains("numbers"))
    return PruneGroupRows(needed, source, exchange);
  const bool aggregates = source->reduce.is_object() && source->reduce.contains("aggregates");
  if (!aggregates) {
    exchange->schema = source->schema;
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(auto specs, AggregatesFromJson(source->reduce["aggregates"]));
  std::erase_if(specs, [&](const AggregateSpec& spec) { return needed.count(spec.name) == 0; });
  for (const auto& spec : specs) {
    for (auto& column : spec.columns()) exchanged.insert(std::move(column));
  }
  source->reduce["aggregates"] = AggregatesToJson(specs);
  exchange->schema = Keep(*exchange->schema, exchanged);
  return Status::OK();
}

// Of either side the columns that someone needs behind the join, and its keys.
Status PruneJoin(const Names& needed, PlanSource* source, PlanExchange* left, PlanExchange* right) {
  ARROW_ASSIGN_OR_RAISE(Join join, JoinFromJson(source->reduce));
  std::erase_if(join.columns, [&](const JoinColumn& column) { return needed.count(column.name) == 0; });
  const Json asof = source->reduce.value("asof", Json());
  source->reduce = JoinToJson(join);
  if (!asof.is_null()) source->reduce["asof"] = asof;
  source->schema = Keep(*source->schema, needed);
  const auto prune = [&](JoinColumn::Side side, PlanExchange* exchange) {
    Names exchanged;
    if (!asof.is_null())
      exchanged.insert(asof[side == JoinColumn::Side::kLeft ? "left" : "right"].get<std::string>());
    for (auto& key : exchange->key_names()) exchanged.insert(std::move(key));
    for (const auto& column : join.columns) {
      if (column.side == side) exchanged.insert(column.column);
    }
    // A row without columns cannot be exchanged.
    if (exchanged.empty()) exchanged.insert(exchange->schema->field(0)->name());
    exchange->schema = Keep(*exchange->schema, exchanged);
  };
  prune(JoinColumn::Side::kLeft, left);
  prune(JoinColumn::Side::kRight, right);
  return Status::OK();
}

Status PruneSource(Draft* draft, const Names& needed, PlanSource* source) {
  if (source->kind == PlanSource::Kind::kScan) {
    source->schema = Keep(*source->schema, needed);
    return Status::OK();
  }
  auto* exchange = &draft->exchanges[source->exchange];
  if (source->right_exchange < 0) return PruneExchange(needed, source, exchange);
  return PruneJoin(needed, source, exchange, &draft->exchanges[source->right_exchange]);
}

Status PruneStage(Draft* draft, DraftStage* stage) {
  const size_t count = stage->nodes.size();
  std::vector<Names> needed(count + 1);  // [node + 1]; [0] is the source
  for (const auto& output : stage->outputs) AddFields(*draft->SchemaOf(output), &needed[output.node + 1]);
  for (size_t i = count; i-- > 0;) {
    auto& node = stage->nodes[i];
    needed[node.input + 1].merge(NeededOfInput(*stage->OutputOf(node.input), needed[i + 1], draft, &node));
  }
  ARROW_RETURN_NOT_OK(PruneSource(draft, needed[0], &stage->source));
  for (size_t i = 0; i < count; ++i) {
    auto& node = stage->nodes[i];
    auto status = Rebind(stage->OutputOf(node.input), needed[i + 1], *draft, &node);
    if (!status.ok()) return WithContext(std::move(status), {.step = node.step});
  }
  return AlignOutputs(draft, stage);
}

}  // namespace

Status PruneColumns(Draft* draft) {
  // Readers of an exchange come after its writers: backwards, what a reader does not need is known to the
  // writers.
  for (auto stage = draft->stages.rbegin(); stage != draft->stages.rend(); ++stage) {
    ARROW_RETURN_NOT_OK(PruneStage(draft, &*stage));
  }
  return Status::OK();
}

}  // namespace partita::compile
