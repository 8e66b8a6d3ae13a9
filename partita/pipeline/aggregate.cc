#include "partita/pipeline/aggregate.h"

#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <algorithm>
#include <charconv>
#include <cmath>
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
    {"count", AggregateFunction::kCount},
    {"sum", AggregateFunction::kSum},
    {"mean", AggregateFunction::kMean},
    {"min", AggregateFunction::kMin},
    {"max", AggregateFunction::kMax},
    {"var", AggregateFunction::kVar},
    {"std", AggregateFunction::kStd},
    {"any", AggregateFunction::kAny},
    {"all", AggregateFunction::kAll},
    {"first", AggregateFunction::kFirst},
    {"last", AggregateFunction::kLast},
    {"list", AggregateFunction::kList},
    {"n_unique", AggregateFunction::kNUnique},
    {"quantile", AggregateFunction::kQuantile},
    {"largest", AggregateFunction::kLargest},
    {"smallest", AggregateFunction::kSmallest},
    {"corr", AggregateFunction::kCorr},
    {"approx_n_unique", AggregateFunction::kApproxNUnique},
    {"approx_quantile", AggregateFunction::kApproxQuantile},
};
constexpr NamedFunction kAliases[] = {
    {"avg", AggregateFunction::kMean},
    {"average", AggregateFunction::kMean},
    {"variance", AggregateFunction::kVar},
    {"var_samp", AggregateFunction::kVar},
    {"stddev", AggregateFunction::kStd},
    {"stddev_samp", AggregateFunction::kStd},
    {"bool_or", AggregateFunction::kAny},
    {"bool_and", AggregateFunction::kAll},
    {"array_agg", AggregateFunction::kList},
    {"collect_list", AggregateFunction::kList},
    {"nunique", AggregateFunction::kNUnique},
    {"count_distinct", AggregateFunction::kNUnique},
    {"median", AggregateFunction::kQuantile},
    {"quantile_cont", AggregateFunction::kQuantile},
    {"top_k", AggregateFunction::kLargest},
    {"bottom_k", AggregateFunction::kSmallest},
    {"approx_count_distinct", AggregateFunction::kApproxNUnique},
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

bool IsMedian(std::string_view name) {
  return name.size() == 6 && (name[0] == 'm' || name[0] == 'M');  // of the names of quantile
}

bool IsQuantile(AggregateFunction function) {
  return function == AggregateFunction::kQuantile || function == AggregateFunction::kApproxQuantile;
}

std::string ExampleArguments(AggregateFunction function) {
  if (function == AggregateFunction::kCorr) return "(column, column)";
  return IsQuantile(function) ? "(column, 0.9)" : "(column, 10)";
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

// What has a fixed width of up to 128 bits and an order.
bool IsNumberOrTime(arrow::Type::type id) {
  return (arrow::is_integer(id) || arrow::is_floating(id) || arrow::is_decimal(id) ||
          arrow::is_temporal(id) || id == arrow::Type::DURATION) &&
         id != arrow::Type::DECIMAL256;
}

bool IsNumber(arrow::Type::type id) {
  return arrow::is_integer(id) || arrow::is_floating(id) || arrow::is_decimal(id);
}

// How plans name what a function takes besides its column; null: nothing.
const char* OptionOf(AggregateFunction function) {
  switch (function) {
    case AggregateFunction::kQuantile:
    case AggregateFunction::kApproxQuantile:
      return "q";
    case AggregateFunction::kLargest:
    case AggregateFunction::kSmallest:
      return "n";
    case AggregateFunction::kCorr:
      return "column";
    default:
      return nullptr;
  }
}

Json OptionsOf(const AggregateSpec& aggregate) {
  Json options = Json::object();
  const char* option = OptionOf(aggregate.function);
  if (option == nullptr) return options;
  if (aggregate.function == AggregateFunction::kCorr) {
    options[option] = aggregate.other;
  } else if (IsQuantile(aggregate.function)) {
    options[option] = aggregate.number;
  } else {
    options[option] = static_cast<int64_t>(aggregate.number);
  }
  return options;
}

Status CheckNumber(const AggregateSpec& aggregate) {
  const double number = aggregate.number;
  const std::string function(AggregateFunctionName(aggregate.function));
  if (IsQuantile(aggregate.function)) {
    if (number >= 0 && number <= 1) return Status::OK();
    return UserError(function + " is of a number from 0 to 1",
                     "write " + function + "(" + aggregate.column + ", 0.9)");
  }
  if (number >= 1 && number <= static_cast<double>(kMaxKeptValues) && number == std::floor(number))
    return Status::OK();
  return UserError(function + " keeps from 1 to " + std::to_string(kMaxKeptValues) + " values of a group",
                   "write " + function + "(" + aggregate.column + ", 10)");
}

// The shortest text that is read back as the same number.
std::string NumberText(double number) {
  char text[32];
  const auto end = std::to_chars(text, text + sizeof text, number).ptr;
  return {text, end};
}

// "v, 0.9" -> {"v", "0.9"}; commas in quoted names do not count.
std::vector<std::string_view> SplitArguments(std::string_view text) {
  std::vector<std::string_view> parts;
  size_t begin = 0;
  bool quoted = false;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') quoted = !quoted;
    if (text[i] != ',' || quoted) continue;
    parts.push_back(Trimmed(text.substr(begin, i - begin)));
    begin = i + 1;
  }
  parts.push_back(Trimmed(text.substr(begin)));
  return parts;
}

Result<std::string> ColumnOf(std::string_view argument) {
  ARROW_ASSIGN_OR_RAISE(const Expression expression, Expression::Parse(argument));
  std::string column = PlainColumn(expression);
  if (!column.empty()) return column;
  return UserError("an aggregate is of a plain column; '" + std::string(argument) + "' is none",
                   "compute it with with_columns before the group_by");
}

Result<AggregateSpec> AggregateFromJson(const Json& value) {
  const auto bad = [] { return UserError("an aggregate has name, function, column and options"); };
  if (!value.is_object() || value.size() != 4 || !value.contains("name") || !value.contains("function") ||
      !value.contains("column") || !value.contains("options") || !value["name"].is_string() ||
      !value["function"].is_string() || !value["options"].is_object()) {
    return bad();
  }
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
  const Json& options = value["options"];
  const char* option = OptionOf(out.function);
  if (options.size() != (option == nullptr ? 0 : 1) || (option != nullptr && !options.contains(option)))
    return UserError("an aggregate has options that are not known");
  if (option == nullptr) return out;
  const Json& given = options[option];
  if (out.function == AggregateFunction::kCorr) {
    if (!given.is_string()) return bad();
    out.other = given.get<std::string>();
    return out.other.empty() ? bad() : Result<AggregateSpec>(out);
  }
  if (!given.is_number()) return bad();
  out.number = given.get<double>();
  ARROW_RETURN_NOT_OK(CheckNumber(out));
  return out;
}

}  // namespace

std::vector<std::string> AggregateSpec::columns() const {
  std::vector<std::string> columns;
  if (!column.empty()) columns.push_back(column);
  if (!other.empty()) columns.push_back(other);
  return columns;
}

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
  const std::string_view called = Trimmed(text.substr(0, open));
  ARROW_ASSIGN_OR_RAISE(out.function, FindFunction(called));
  const std::string_view argument = Trimmed(text.substr(open + 1, text.size() - open - 2));
  const std::string function(AggregateFunctionName(out.function));
  if (argument.empty() || argument == "*") {
    if (out.function != AggregateFunction::kCount) {
      return UserError("'" + std::string(text) + "' needs a column", "write " + function + "(column)");
    }
    out.function = AggregateFunction::kCountRows;
    return out;
  }
  const auto arguments = SplitArguments(argument);
  ARROW_ASSIGN_OR_RAISE(out.column, ColumnOf(arguments[0]));
  const bool is_median = out.function == AggregateFunction::kQuantile && IsMedian(called);
  const size_t wanted = OptionOf(out.function) == nullptr || is_median ? 1 : 2;
  if (arguments.size() != wanted) {
    return UserError("'" + std::string(text) + "' has " + std::to_string(arguments.size()) + " arguments; " +
                         std::string(called) + " takes " + std::to_string(wanted),
                     "write " + function + (wanted == 1 ? "(column)" : ExampleArguments(out.function)));
  }
  if (is_median) out.number = 0.5;
  if (wanted == 1) return out;
  if (out.function == AggregateFunction::kCorr) {
    ARROW_ASSIGN_OR_RAISE(out.other, ColumnOf(arguments[1]));
    return out;
  }
  const auto& number = arguments[1];
  const auto read = std::from_chars(number.data(), number.data() + number.size(), out.number);
  if (read.ec != std::errc() || read.ptr != number.data() + number.size()) out.number = -1;
  ARROW_RETURN_NOT_OK(CheckNumber(out));
  return out;
}

std::string AggregateText(const AggregateSpec& aggregate) {
  std::string argument = aggregate.column.empty() ? "" : Expression::Column(aggregate.column).ToString();
  if (!aggregate.other.empty()) {
    argument += ", " + Expression::Column(aggregate.other).ToString();
  } else if (OptionOf(aggregate.function) != nullptr) {
    argument += ", " + NumberText(aggregate.number);
  }
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
                   {"options", OptionsOf(aggregate)}});
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

bool CombinesStates(AggregateFunction function, const TypePtr& input) {
  if (function != AggregateFunction::kList) return true;
  const arrow::Type::type id = input->id();
  return arrow::is_fixed_width(id) ? id != arrow::Type::DICTIONARY : arrow::is_base_binary_like(id);
}

Result<TypePtr> AggregateInputType(const AggregateSpec& aggregate, const arrow::Schema& input) {
  if (aggregate.function == AggregateFunction::kCountRows) return nullptr;
  ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(input, aggregate.column));
  if (aggregate.other.empty()) return input.field(index)->type();
  ARROW_ASSIGN_OR_RAISE(const int other, FindColumn(input, aggregate.other));
  return arrow::struct_(
      {arrow::field("0", input.field(index)->type()), arrow::field("1", input.field(other)->type())});
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
    case AggregateFunction::kApproxNUnique:
      if (!IsKeyType(*input)) return NotAType(function, *input, "values that are not nested");
      return arrow::int64();
    case AggregateFunction::kQuantile:
    case AggregateFunction::kApproxQuantile:
      if (!arrow::is_integer(input->id()) && !arrow::is_floating(input->id()))
        return NotAType(function, *input, "integers and floats");
      return arrow::float64();
    case AggregateFunction::kLargest:
    case AggregateFunction::kSmallest:
      if (!IsNumberOrTime(input->id())) return NotAType(function, *input, "numbers and times");
      return arrow::list(input);
    case AggregateFunction::kCorr: {
      const bool pair = input->id() == arrow::Type::STRUCT && input->num_fields() == 2;
      for (const auto& field : pair ? input->fields() : arrow::FieldVector{arrow::field("", input)}) {
        const auto id = field->type()->id();
        if (!arrow::is_integer(id) && !arrow::is_floating(id))
          return NotAType(function, *field->type(), "integers and floats");
      }
      return arrow::float64();
    }
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
    ARROW_ASSIGN_OR_RAISE(const TypePtr type, AggregateInputType(aggregate, input));
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
