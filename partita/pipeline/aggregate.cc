#include "partita/pipeline/aggregate.h"

#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <algorithm>
#include <iterator>
#include <set>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/expression/expression.h"
#include "partita/pipeline/keys.h"
#include "partita/pipeline/projection.h"

namespace partita {
namespace {

using TypePtr = std::shared_ptr<arrow::DataType>;

struct NamedFunction {
  std::string_view name;
  AggregateFunction function;
};

// By their own names first; behind them what users of SQL, pandas and Polars write.
constexpr NamedFunction kFunctions[] = {
    {"count", AggregateFunction::kCount},      {"sum", AggregateFunction::kSum},
    {"mean", AggregateFunction::kMean},        {"min", AggregateFunction::kMin},
    {"max", AggregateFunction::kMax},          {"var", AggregateFunction::kVar},
    {"std", AggregateFunction::kStd},          {"any", AggregateFunction::kAny},
    {"all", AggregateFunction::kAll},          {"first", AggregateFunction::kFirst},
    {"last", AggregateFunction::kLast},        {"list", AggregateFunction::kList},
    {"n_unique", AggregateFunction::kNUnique},
};
constexpr NamedFunction kAliases[] = {
    {"avg", AggregateFunction::kMean},        {"average", AggregateFunction::kMean},
    {"variance", AggregateFunction::kVar},    {"var_samp", AggregateFunction::kVar},
    {"stddev", AggregateFunction::kStd},      {"stddev_samp", AggregateFunction::kStd},
    {"bool_or", AggregateFunction::kAny},     {"bool_and", AggregateFunction::kAll},
    {"array_agg", AggregateFunction::kList},  {"collect_list", AggregateFunction::kList},
    {"nunique", AggregateFunction::kNUnique}, {"count_distinct", AggregateFunction::kNUnique},
};

std::string FunctionNames() {
  std::string names;
  for (const NamedFunction& known : kFunctions) {
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return names;
}

Result<AggregateFunction> FindFunction(std::string_view name) {
  std::string lower(name);
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  std::vector<std::string> names;
  for (const NamedFunction& known : kFunctions) {
    if (known.name == lower) return known.function;
    names.emplace_back(known.name);
  }
  for (const NamedFunction& known : kAliases) {
    if (known.name == lower) return known.function;
  }
  const std::string nearest = NearestName(lower, names);
  return UserError("there is no aggregate function '" + std::string(name) + "'" +
                       (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"),
                   "the aggregate functions are " + FunctionNames());
}

std::string_view Trimmed(std::string_view text) {
  const size_t begin = text.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r\n") - begin + 1);
}

Status NotAType(AggregateFunction function, const arrow::DataType& type, const std::string& wanted) {
  return UserError(
      std::string(AggregateFunctionName(function)) + " is of " + wanted + ", not of " + TypeToString(type),
      "cast or compute the column with with_columns first");
}

// The types that values are summed in.
Result<TypePtr> SumType(const TypePtr& input) {
  const arrow::Type::type id = input->id();
  if (arrow::is_unsigned_integer(id)) return arrow::uint64();
  if (arrow::is_signed_integer(id)) return arrow::int64();
  if (arrow::is_floating(id)) return arrow::float64();
  if (arrow::is_decimal(id)) {
    const int32_t scale = static_cast<const arrow::DecimalType&>(*input).scale();
    return id == arrow::Type::DECIMAL256 ? arrow::decimal256(76, scale) : arrow::decimal128(38, scale);
  }
  return NotAType(AggregateFunction::kSum, *input, "numbers");
}

bool IsNumber(arrow::Type::type id) {
  return arrow::is_integer(id) || arrow::is_floating(id) || arrow::is_decimal(id);
}

Result<AggregateSpec> AggregateFromJson(const Json& value) {
  const auto bad = [] { return UserError("an aggregate has name, function, column and options"); };
  if (!value.is_object() || value.size() != 4 || !value.contains("name") || !value.contains("function") ||
      !value.contains("column") || !value.contains("options") || !value["name"].is_string() ||
      !value["function"].is_string() || !value["options"].is_object()) {
    return bad();
  }
  if (!value["options"].empty()) return UserError("an aggregate has options that are not known");
  AggregateSpec out;
  out.name = value["name"].get<std::string>();
  ARROW_ASSIGN_OR_RAISE(out.function, FindFunction(value["function"].get_ref<const std::string&>()));
  if (value["column"].is_string()) {
    out.column = value["column"].get<std::string>();
  } else if (!value["column"].is_null()) {
    return bad();
  }
  if (out.column.empty()) {
    if (out.function != AggregateFunction::kCount) return bad();
    out.function = AggregateFunction::kCountRows;
  }
  return out;
}

}  // namespace

std::string_view AggregateFunctionName(AggregateFunction function) {
  if (function == AggregateFunction::kCountRows) return "count";
  const auto* found = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                   [&](const NamedFunction& known) { return known.function == function; });
  return found->name;
}

Result<AggregateSpec> ParseAggregate(std::string name, std::string_view text) {
  AggregateSpec out;
  out.name = std::move(name);
  text = Trimmed(text);
  const size_t open = text.find('(');
  if (open == std::string_view::npos || text.back() != ')') {
    return UserError(
        "'" + std::string(text) + "' is no aggregate",
        "write a function of a column like sum(v), or count(); the functions are " + FunctionNames());
  }
  ARROW_ASSIGN_OR_RAISE(out.function, FindFunction(Trimmed(text.substr(0, open))));
  const std::string_view argument = Trimmed(text.substr(open + 1, text.size() - open - 2));
  const std::string function(AggregateFunctionName(out.function));
  if (argument.empty() || argument == "*") {
    if (out.function != AggregateFunction::kCount) {
      return UserError("'" + std::string(text) + "' needs a column", "write " + function + "(column)");
    }
    out.function = AggregateFunction::kCountRows;
    return out;
  }
  ARROW_ASSIGN_OR_RAISE(const Expression expression, Expression::Parse(argument));
  out.column = PlainColumn(expression);
  if (out.column.empty()) {
    return UserError("an aggregate is of a plain column; '" + std::string(argument) + "' is none",
                     "compute it with with_columns before the group_by");
  }
  return out;
}

std::string AggregateText(const AggregateSpec& aggregate) {
  const std::string argument =
      aggregate.column.empty() ? "" : Expression::Column(aggregate.column).ToString();
  return std::string(AggregateFunctionName(aggregate.function)) + "(" + argument + ")";
}

Result<std::vector<AggregateSpec>> AggregatesFromArgs(const Json& pairs) {
  std::vector<AggregateSpec> out;
  if (!pairs.is_array()) return BugError("aggregates are a list of pairs");
  for (const Json& pair : pairs) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return BugError("aggregates are a list of pairs of name and text");
    }
    ARROW_ASSIGN_OR_RAISE(AggregateSpec one,
                          ParseAggregate(pair[0].get<std::string>(), pair[1].get_ref<const std::string&>()));
    out.push_back(std::move(one));
  }
  return out;
}

Json AggregatesToJson(const std::vector<AggregateSpec>& aggregates) {
  Json out = Json::array();
  for (const AggregateSpec& aggregate : aggregates) {
    out.push_back({{"name", aggregate.name},
                   {"function", std::string(AggregateFunctionName(aggregate.function))},
                   {"column", aggregate.column.empty() ? Json() : Json(aggregate.column)},
                   {"options", Json::object()}});
  }
  return out;
}

Result<std::vector<AggregateSpec>> AggregatesFromJson(const Json& value) {
  if (!value.is_array()) return UserError("aggregates are no list");
  std::vector<AggregateSpec> out;
  for (const Json& item : value) {
    ARROW_ASSIGN_OR_RAISE(AggregateSpec one, AggregateFromJson(item));
    out.push_back(std::move(one));
  }
  return out;
}

bool CombinesStates(AggregateFunction function) {
  return function != AggregateFunction::kList && function != AggregateFunction::kNUnique;
}

Result<TypePtr> AggregateResultType(AggregateFunction function, const TypePtr& input) {
  switch (function) {
    case AggregateFunction::kCountRows:
    case AggregateFunction::kCount:
      return arrow::int64();
    case AggregateFunction::kSum:
      return SumType(input);
    case AggregateFunction::kMean:
    case AggregateFunction::kVar:
    case AggregateFunction::kStd:
      if (!IsNumber(input->id())) return NotAType(function, *input, "numbers");
      return arrow::float64();
    case AggregateFunction::kMin:
    case AggregateFunction::kMax:
      if (!IsKeyType(*input)) return NotAType(function, *input, "values that have an order");
      return input;
    case AggregateFunction::kAny:
    case AggregateFunction::kAll:
      if (input->id() != arrow::Type::BOOL) return NotAType(function, *input, "bool");
      return arrow::boolean();
    case AggregateFunction::kFirst:
    case AggregateFunction::kLast:
      return input;
    case AggregateFunction::kList:
      return arrow::list(input);
    case AggregateFunction::kNUnique:
      if (!IsKeyType(*input)) return NotAType(function, *input, "values that are not nested");
      return arrow::int64();
  }
  return BugError("an aggregate has no function");
}

Result<std::shared_ptr<arrow::Schema>> AggregateSchema(const std::vector<std::string>& keys,
                                                       const std::vector<AggregateSpec>& aggregates,
                                                       const arrow::Schema& input) {
  arrow::FieldVector fields;
  std::set<std::string> names;
  for (const std::string& key : keys) {
    ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(input, key));
    fields.push_back(input.field(index));
    names.insert(key);
  }
  for (const AggregateSpec& aggregate : aggregates) {
    if (aggregate.name.empty()) return UserError("an aggregate needs a name for its column");
    if (!names.insert(aggregate.name).second) {
      const bool is_key = std::find(keys.begin(), keys.end(), aggregate.name) != keys.end();
      return UserError(is_key ? "the aggregate '" + aggregate.name + "' is named like a key"
                              : "two aggregates are named '" + aggregate.name + "'",
                       "give it another name");
    }
    TypePtr type;
    if (aggregate.function != AggregateFunction::kCountRows) {
      ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(input, aggregate.column));
      type = input.field(index)->type();
    }
    auto result = AggregateResultType(aggregate.function, type);
    if (!result.ok()) {
      const ErrorDetail* detail = DetailOf(result.status());
      return UserError(
          "'" + aggregate.name + "', " + AggregateText(aggregate) + ": " + MessageOf(result.status()),
          detail == nullptr ? "" : detail->context.hint);
    }
    fields.push_back(arrow::field(aggregate.name, *std::move(result)));
  }
  return arrow::schema(std::move(fields));
}

}  // namespace partita
