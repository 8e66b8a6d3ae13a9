#include "partita/pipeline/projection.h"

#include <arrow/type.h>

#include <map>
#include <set>

#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

Status CheckNames(std::string_view op, const Projection& projection) {
  std::set<std::string_view> names;
  for (const auto& [name, expression] : projection) {
    if (!names.insert(name).second) {
      return UserError(std::string(op) + " would make two columns '" + name + "'",
                       "give one of them another name");
    }
  }
  return Status::OK();
}

std::string QuotedColumn(std::string_view name) {
  std::string text = "\"";
  for (char c : name) text += c == '"' ? std::string("\"\"") : std::string(1, c);
  return text + "\"";
}

Result<Projection> Drop(const Json& columns, const arrow::Schema& input) {
  std::set<int> dropped;
  for (const Json& column : columns) {
    ARROW_ASSIGN_OR_RAISE(int index, FindColumn(input, column.get_ref<const std::string&>()));
    dropped.insert(index);
  }
  Projection out;
  for (int i = 0; i < input.num_fields(); ++i) {
    if (dropped.count(i) == 0)
      out.emplace_back(input.field(i)->name(), Expression::Column(input.field(i)->name()));
  }
  return out;
}

Result<Projection> Rename(const Json& columns, const arrow::Schema& input) {
  std::map<int, std::string> names;
  for (const auto& [from, to] : columns.items()) {
    ARROW_ASSIGN_OR_RAISE(int index, FindColumn(input, from));
    names[index] = to.get<std::string>();
    if (names[index].empty()) return UserError("rename: column '" + from + "' needs a new name");
  }
  Projection out;
  for (int i = 0; i < input.num_fields(); ++i) {
    const std::string& old = input.field(i)->name();
    const auto name = names.find(i);
    out.emplace_back(name == names.end() ? old : name->second, Expression::Column(old));
  }
  return out;
}

// Replaced columns keep their place; new ones follow in the order they are written.
Result<Projection> WithColumns(const Json& columns, const arrow::Schema& input) {
  ARROW_ASSIGN_OR_RAISE(Projection added, ProjectionFromJson(columns));
  Projection out;
  for (const auto& field : input.fields()) out.emplace_back(field->name(), Expression::Column(field->name()));
  for (auto& [name, expression] : added) {
    if (input.GetFieldIndex(name) < 0) {
      out.emplace_back(name, expression);
    } else {
      out[static_cast<size_t>(input.GetFieldIndex(name))].second = expression;
    }
  }
  return out;
}

Result<Projection> Cast(const Json& types, const arrow::Schema& input) {
  for (const auto& [column, type] : types.items()) ARROW_RETURN_NOT_OK(FindColumn(input, column).status());
  Projection out;
  for (const auto& field : input.fields()) {
    const std::string& name = field->name();
    if (!types.contains(name)) {
      out.emplace_back(name, Expression::Column(name));
      continue;
    }
    const std::string text = "cast(" + QuotedColumn(name) + " as " + types.at(name).get<std::string>() + ")";
    ARROW_ASSIGN_OR_RAISE(Expression cast, Expression::Parse(text));
    out.emplace_back(name, std::move(cast));
  }
  return out;
}

}  // namespace

bool IsProjectionStep(std::string_view op) {
  return op == "select" || op == "drop" || op == "rename" || op == "with_columns" || op == "cast";
}

Result<Projection> ProjectionOf(std::string_view op, const Json& args, const arrow::Schema& input) {
  const Json columns = args.is_object() ? args.value("columns", Json()) : Json();
  Result<Projection> out = BugError("'" + std::string(op) + "' is no projection");
  if (op == "select") out = ProjectionFromJson(columns);
  if (op == "drop") out = Drop(columns, input);
  if (op == "rename") out = Rename(columns, input);
  if (op == "with_columns") out = WithColumns(columns, input);
  if (op == "cast") out = Cast(columns, input);
  ARROW_RETURN_NOT_OK(out.status());
  ARROW_RETURN_NOT_OK(CheckNames(op, *out));
  return out;
}

Result<std::shared_ptr<arrow::Schema>> ProjectionSchema(const Projection& projection,
                                                        const std::shared_ptr<arrow::Schema>& input) {
  arrow::FieldVector fields;
  for (const auto& [name, expression] : projection) {
    if (const std::string column = PlainColumn(expression); !column.empty()) {
      ARROW_ASSIGN_OR_RAISE(int index, FindColumn(*input, column));
      fields.push_back(input->field(index)->WithName(name));
      continue;
    }
    auto bound = BoundExpression::Bind(expression, input);
    if (!bound.ok()) {
      const ErrorDetail* detail = DetailOf(bound.status());
      return UserError("column '" + name + "': " + MessageOf(bound.status()),
                       detail != nullptr ? detail->context.hint : "");
    }
    fields.push_back(arrow::field(name, (*bound)->type()));
  }
  return arrow::schema(std::move(fields));
}

std::string PlainColumn(const Expression& expression) {
  const Json json = expression.ToJson();
  const auto column = json.is_object() ? json.find("column") : json.end();
  return json.is_object() && column != json.end() && column->is_string() ? column->get<std::string>() : "";
}

Result<Projection> ProjectionFromJson(const Json& columns) {
  if (!columns.is_array()) return BugError("columns of a projection are a list of pairs");
  Projection out;
  for (const Json& item : columns) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string()) {
      return BugError("columns of a projection are a list of pairs");
    }
    ARROW_ASSIGN_OR_RAISE(Expression expression, Expression::FromJson(item[1]));
    out.emplace_back(item[0].get<std::string>(), std::move(expression));
  }
  return out;
}

Json ProjectionToJson(const Projection& projection) {
  Json out = Json::array();
  for (const auto& [name, expression] : projection) out.push_back(Json::array({name, expression.ToJson()}));
  return out;
}

}  // namespace partita
