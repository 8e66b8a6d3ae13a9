// Transforms that work on columns and rows as they are; what they mean is in projection.h and operator/.
#include <arrow/compute/cast.h>
#include <arrow/type.h>

#include <set>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/pipeline/builtin_steps.h"
#include "partita/pipeline/projection.h"

namespace partita {
namespace {

using SchemaPtr = std::shared_ptr<arrow::Schema>;

Result<StepBinding> BindFilter(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(Expression predicate, Expression::FromJson(args.value("predicate", Json())));
  ARROW_ASSIGN_OR_RAISE(auto bound, BoundExpression::Bind(predicate, input));
  if (bound->type()->id() != arrow::Type::BOOL) {
    return UserError(
        "a filter needs a condition; " + predicate.ToString() + " is " + TypeToString(*bound->type()),
        "compare it with something, as in " + predicate.ToString() + " > 0");
  }
  StepBinding binding;
  binding.output = input;
  binding.reads = predicate.Columns();
  return binding;
}

Result<StepBinding> BindProjection(std::string_view op, const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(Projection projection, ProjectionOf(op, args, *input));
  StepBinding binding;
  ARROW_ASSIGN_OR_RAISE(binding.output, ProjectionSchema(projection, input));
  binding.drops_others = op == "select";
  std::set<std::string> read;
  for (const auto& [name, expression] : projection) {
    const bool passes = PlainColumn(expression) == name;
    if (!passes) binding.writes.push_back(name);
    if (passes && !binding.drops_others) continue;
    for (std::string& column : expression.Columns()) {
      if (read.insert(column).second) binding.reads.push_back(std::move(column));
    }
  }
  return binding;
}

Result<StepBinding> BindCast(const Json& args, const SchemaPtr& input) {
  ARROW_RETURN_NOT_OK(EnsureComputeKernels());
  for (const auto& [column, text] : args.at("columns").items()) {
    ARROW_ASSIGN_OR_RAISE(int index, FindColumn(*input, column));
    ARROW_ASSIGN_OR_RAISE(auto type, ParseType(text.get_ref<const std::string&>()));
    const arrow::DataType& from = *input->field(index)->type();
    if (!from.Equals(*type) && !arrow::compute::CanCast(from, *type)) {
      return UserError("cast: column '" + column + "' of type " + TypeToString(from) + " cannot become " +
                       TypeToString(*type));
    }
  }
  return BindProjection("cast", args, input);
}

Result<StepBinding> BindAsIs(const Json&, const SchemaPtr& input) {
  StepBinding binding;
  binding.output = input;
  return binding;
}

Result<StepBinding> BindSample(const Json& args, const SchemaPtr& input) {
  ARROW_ASSIGN_OR_RAISE(const double fraction, GetDouble(args, "fraction"));
  ARROW_ASSIGN_OR_RAISE(const double offset, GetDouble(args, "offset"));
  constexpr double kRoundingError = 1e-9;  // of fractions that should add up to 1
  if (fraction + offset > 1 + kRoundingError) {
    return UserError("sample: `offset` and `fraction` together are more than 1");
  }
  return BindAsIs(args, input);
}

StepSpec Transform(std::string name, std::string summary, std::vector<ArgSpec> args, BindStep bind) {
  StepSpec spec;
  spec.name = std::move(name);
  spec.summary = std::move(summary);
  spec.args = std::move(args);
  spec.bind = std::move(bind);
  return spec;
}

StepSpec Projecting(const std::string& name, std::string summary, ArgSpec columns) {
  return Transform(
      name, std::move(summary), {std::move(columns)},
      [name](const Json& args, const SchemaPtr& input) { return BindProjection(name, args, input); });
}

ArgSpec Columns(ArgType type, std::string doc) {
  return {.name = "columns", .type = type, .required = true, .doc = std::move(doc)};
}

}  // namespace

std::vector<StepSpec> BuiltinTransforms() {
  return {
      Transform("filter", "Keeps the rows where a condition is true.",
                {{.name = "predicate",
                  .type = ArgType::kExpression,
                  .required = true,
                  .doc = "A condition like width >= 256; rows where it is false or null are left out."}},
                BindFilter),
      Projecting("select", "Keeps, reorders and computes columns.",
                 Columns(ArgType::kExpressionMap, "Names of columns, or a map of column to expression.")),
      Projecting("drop", "Leaves columns out.", Columns(ArgType::kStringList, "Names of columns.")),
      Projecting("rename", "Renames columns.",
                 Columns(ArgType::kStringMap, "A map of old name to new name.")),
      Projecting("with_columns", "Adds or replaces columns; all expressions see the columns of the input.",
                 Columns(ArgType::kExpressionMap, "A map of column to expression.")),
      Transform("cast", "Changes types of columns; a value that does not fit is a bad row.",
                {Columns(ArgType::kTypeMap, "A map of column to type.")}, BindCast),
      Transform("sample",
                "Keeps a random part of the rows: each row by itself, so that the number is about the "
                "fraction, not exactly.",
                {{.name = "fraction",
                  .type = ArgType::kFloat,
                  .required = true,
                  .min = 0,
                  .max = 1,
                  .doc = "The part of the rows to keep, 0.1 for a tenth."},
                 {.name = "seed",
                  .type = ArgType::kInt,
                  .default_json = "0",
                  .min = 0,
                  .doc = "The same seed keeps the same rows of the same source."},
                 {.name = "offset",
                  .type = ArgType::kFloat,
                  .default_json = "0.0",
                  .min = 0,
                  .max = 1,
                  .doc = "Samples of one seed share no row where their ranges from offset to offset + "
                         "fraction do not overlap."}},
                BindSample),
      Transform(
          "local_shuffle",
          "Puts rows that follow each other in a random order: less random than random_shuffle, but the "
          "rows stay in their partition and nothing is written to disk.",
          {{.name = "buffer_rows",
            .type = ArgType::kInt,
            .default_json = "10000",
            .min = 2,
            .max = 4e9,
            .doc = "How many rows change places with each other; they are in memory together."},
           {.name = "seed",
            .type = ArgType::kInt,
            .default_json = "0",
            .min = 0,
            .doc = "The same seed gives the same order."}},
          BindAsIs),
      Transform("limit", "Keeps the first rows, in the order of the dataset.",
                {{.name = "n", .type = ArgType::kInt, .required = true, .min = 0, .doc = "Number of rows."}},
                BindAsIs),
      Transform("union", "Puts the rows of several inputs one after the other; their columns must agree.", {},
                BindAsIs),
  };
}

}  // namespace partita
