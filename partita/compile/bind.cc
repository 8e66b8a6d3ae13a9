#include "partita/compile/bind.h"

#include <arrow/type.h>

#include <algorithm>
#include <set>
#include <utility>

#include "partita/block/schema.h"

namespace partita::compile {
namespace {

using SchemaPtr = std::shared_ptr<arrow::Schema>;

Status CheckUniqueNames(const arrow::Schema& schema) {
  std::set<std::string_view> names;
  for (const auto& field : schema.fields()) {
    if (!names.insert(field->name()).second) {
      return UserError("two columns are named '" + field->name() + "'",
                       "list the columns to read in `columns`, without it");
    }
  }
  return Status::OK();
}

Result<SchemaPtr> BindSource(const GraphStep& step, const Snapshot& snapshot) {
  const SourceSnapshot* source = snapshot.Find(step.declared->name);
  if (source == nullptr || source->schema == nullptr) {
    return UserError("the snapshot does not know this source", "compile the pipeline again");
  }
  SchemaPtr schema = source->schema;
  const auto columns = step.args.find("columns");
  if (columns != step.args.end() && !columns->is_null()) {
    ARROW_ASSIGN_OR_RAISE(auto names, GetStringsOr(step.args, "columns", {}));
    arrow::FieldVector fields;
    for (const auto& name : names) {
      ARROW_ASSIGN_OR_RAISE(int index, FindColumn(*schema, name));
      fields.push_back(schema->field(index));
    }
    schema = arrow::schema(std::move(fields));
  }
  // Metadata of one file (pandas indices, encodings) says nothing of the dataset.
  schema = schema->RemoveMetadata();
  ARROW_RETURN_NOT_OK(CheckUniqueNames(*schema));
  return schema;
}

// The columns of a union: those of its first input, nullable where one of them is. Names, order and types
// must agree.
class UnionColumns {
 public:
  UnionColumns(std::string first_name, SchemaPtr first)
      : first_name_(std::move(first_name)), merged_(std::move(first)) {}

  Status Add(const std::string& name, const arrow::Schema& other) {
    const std::string who = "the inputs '" + first_name_ + "' and '" + name + "' differ: ";
    const std::string absent_hint = "add it with with_columns, or leave it out of both with select";
    arrow::FieldVector fields;
    for (const auto& field : merged_->fields()) {
      const auto twin = other.GetFieldByName(field->name());
      if (twin == nullptr) {
        return UserError(who + "'" + name + "' has no column '" + field->name() + "'", absent_hint);
      }
      if (!field->type()->Equals(*twin->type())) {
        return UserError(who + "column '" + field->name() + "' is " + TypeToString(*field->type()) + " in '" +
                             first_name_ + "' and " + TypeToString(*twin->type()) + " in '" + name + "'",
                         "cast it in one of them");
      }
      fields.push_back(field->WithNullable(field->nullable() || twin->nullable()));
    }
    for (int i = 0; i < other.num_fields(); ++i) {
      const std::string& column = other.field(i)->name();
      if (merged_->GetFieldIndex(column) < 0) {
        return UserError(who + "'" + first_name_ + "' has no column '" + column + "'", absent_hint);
      }
      if (merged_->field(i)->name() != column) {
        return UserError(who + "their columns are in another order, from column '" + column + "' on",
                         "give both the same order with select");
      }
    }
    merged_ = arrow::schema(std::move(fields));
    return Status::OK();
  }

  const SchemaPtr& merged() const { return merged_; }

 private:
  std::string first_name_;
  SchemaPtr merged_;
};

// Columns that a sink names must be there before the first row is read.
Status CheckSink(const GraphStep& step, const arrow::Schema& input) {
  for (const auto& arg : step.spec->args) {
    const auto value = step.args.find(arg.name);
    if (value == step.args.end() || value->is_null()) continue;
    if (arg.type == ArgType::kColumn && value->is_string()) {
      ARROW_RETURN_NOT_OK(FindColumn(input, value->get<std::string>()).status());
    }
  }
  for (const char* key : {"partition_by", "json_columns"}) {
    ARROW_ASSIGN_OR_RAISE(auto columns, GetStringsOr(step.args, key, {}));
    for (const auto& column : columns) ARROW_RETURN_NOT_OK(FindColumn(input, column).status());
  }
  return ExactRows(step).status();
}

Status CheckPassesOn(const GraphStep& step, const StepBinding& binding) {
  for (const auto& column : step.passes_on) {
    const bool is_written =
        std::find(binding.writes.begin(), binding.writes.end(), column) != binding.writes.end();
    if (!is_written && binding.output->GetFieldIndex(column) >= 0) continue;
    return UserError("it changes or drops '" + column + "', by which rows are still grouped behind it",
                     "put it behind the last sort, limit or with_row_index of the group");
  }
  return Status::OK();
}

Result<BoundStep> BindOne(const Graph& graph, const GraphStep& step, const std::vector<BoundStep>& before,
                          const Snapshot& snapshot) {
  BoundStep bound;
  if (step.is(StepKind::kSource)) {
    ARROW_ASSIGN_OR_RAISE(bound.output, BindSource(step, snapshot));
    return bound;
  }
  const SchemaPtr& input = before[step.inputs[0]].output;
  if (step.is(StepKind::kSink)) {
    bound.output = input;
    ARROW_RETURN_NOT_OK(CheckSink(step, *input));
    return bound;
  }
  if (step.spec->takes_pair()) {
    ARROW_ASSIGN_OR_RAISE(bound.binding,
                          step.spec->bind_pair(step.args, input, before[step.inputs[1]].output));
    bound.output = bound.binding.output;
    return bound;
  }
  const auto name_of = [&](int index) { return graph.steps[index].declared->name; };
  UnionColumns columns(name_of(step.inputs[0]), input);
  for (size_t i = 1; i < step.inputs.size(); ++i) {
    ARROW_RETURN_NOT_OK(columns.Add(name_of(step.inputs[i]), *before[step.inputs[i]].output));
  }
  ARROW_ASSIGN_OR_RAISE(bound.binding, step.spec->bind(step.args, columns.merged()));
  ARROW_RETURN_NOT_OK(CheckBinding(*step.spec, bound.binding, *columns.merged()));
  ARROW_RETURN_NOT_OK(CheckPassesOn(step, bound.binding));
  bound.output = bound.binding.output;
  return bound;
}

}  // namespace

Status CheckBinding(const StepSpec& spec, const StepBinding& binding, const arrow::Schema& input) {
  const auto bug = [&](const std::string& what) {
    return BugError("step '" + spec.name + "' " + what + "; its bind function is wrong");
  };
  if (binding.output == nullptr) return bug("has no output columns");
  ARROW_RETURN_NOT_OK(CheckUniqueNames(*binding.output));
  for (const auto& column : binding.reads) {
    if (input.GetFieldIndex(column) < 0) return bug("reads column '" + column + "', which it is not given");
  }
  const std::set<std::string> writes(binding.writes.begin(), binding.writes.end());
  for (const auto& field : binding.output->fields()) {
    if (binding.drops_others || writes.count(field->name()) > 0) continue;
    const auto passed = input.GetFieldByName(field->name());
    if (passed == nullptr || !passed->type()->Equals(*field->type())) {
      return bug("makes column '" + field->name() + "' without saying so");
    }
  }
  return Status::OK();
}

Result<std::vector<BoundStep>> Bind(const Graph& graph, const Snapshot& snapshot) {
  std::vector<BoundStep> bound;
  bound.reserve(graph.steps.size());
  for (const auto& step : graph.steps) {
    auto one = BindOne(graph, step, bound, snapshot);
    if (!one.ok()) return AtStep(one.status(), *step.declared);
    bound.push_back(*std::move(one));
  }
  return bound;
}

}  // namespace partita::compile

namespace partita {

Result<std::vector<std::shared_ptr<arrow::Schema>>> StepSchemas(const Pipeline& pipeline,
                                                                const Snapshot& snapshot) {
  ARROW_ASSIGN_OR_RAISE(auto graph, compile::MakeGraph(pipeline));
  ARROW_ASSIGN_OR_RAISE(auto bound, compile::Bind(graph, snapshot));
  std::vector<std::shared_ptr<arrow::Schema>> schemas;
  for (const int end : graph.ends) schemas.push_back(bound[static_cast<size_t>(end)].output);
  return schemas;
}

}  // namespace partita
