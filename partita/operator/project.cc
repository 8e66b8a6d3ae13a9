#include "partita/operator/project.h"

#include <arrow/api.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/expression/expression.h"

namespace partita {
namespace {

struct OutputColumn {
  int source = -1;  // index of a plain input column, or -1
  std::shared_ptr<const BoundExpression> expression;
};

class Project final : public Transform {
 public:
  Project(std::vector<OutputColumn> columns, std::shared_ptr<arrow::Schema> schema)
      : columns_(std::move(columns)), schema_(std::move(schema)) {}

  Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const override {
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    arrays.reserve(columns_.size());
    for (const auto& column : columns_) {
      if (column.source >= 0) {
        arrays.push_back(in.batch->column(column.source));
      } else {
        ARROW_ASSIGN_OR_RAISE(auto array, column.expression->Evaluate(*in.batch, ctx.pool.get()));
        arrays.push_back(std::move(array));
      }
    }
    Block result;
    result.batch = arrow::RecordBatch::Make(schema_, in.num_rows(), std::move(arrays));
    result.ordinals = in.ordinals;
    return out.Emit(std::move(result));
  }

 private:
  std::vector<OutputColumn> columns_;
  std::shared_ptr<arrow::Schema> schema_;
};

}  // namespace

Result<std::unique_ptr<Transform>> MakeProject(const TransformInit& init) {
  auto it = init.args->find("columns");
  if (it == init.args->end() || !it->is_array()) return BugError("project without columns");
  std::vector<OutputColumn> columns;
  arrow::FieldVector fields;
  for (const auto& item : *it) {
    if (!item.is_array() || item.size() != 2 || !item[0].is_string())
      return BugError("project: malformed column");
    ARROW_ASSIGN_OR_RAISE(auto expression, Expression::FromJson(item[1]));
    const auto name = item[0].get<std::string>();
    OutputColumn column;
    if (item[1].is_object() && item[1].contains("column") && item[1]["column"].is_string()) {
      ARROW_ASSIGN_OR_RAISE(column.source, FindColumn(*init.input, item[1]["column"].get<std::string>()));
      fields.push_back(init.input->field(column.source)->WithName(name));
    } else {
      ARROW_ASSIGN_OR_RAISE(column.expression, BoundExpression::Bind(expression, init.input));
      fields.push_back(arrow::field(name, column.expression->type()));
    }
    columns.push_back(std::move(column));
  }
  // Names and types are ours; nullability is the plan's (inputs of a union are aligned to one schema).
  auto schema = init.output ? init.output : arrow::schema(std::move(fields));
  if (schema->num_fields() != static_cast<int>(columns.size()))
    return BugError("project: the plan's schema has other columns");
  return std::unique_ptr<Transform>(new Project(std::move(columns), std::move(schema)));
}

}  // namespace partita
