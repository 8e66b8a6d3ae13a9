#include "partita/expression/functions.h"

#include <arrow/compute/function.h>
#include <arrow/compute/registry.h>

#include <algorithm>
#include <limits>

#include "partita/block/schema.h"
#include "partita/expression/literal.h"

namespace partita {
namespace {

using Args = std::vector<Expression>;

struct Alias {
  std::string_view alias, name;
};

// What users of SQL, pandas, Polars and Spark write -> Arrow's name. docs/expressions.md shows this table; a
// test compares.
constexpr Alias kAliases[] = {
    {"length", "utf8_length"},
    {"len", "utf8_length"},
    {"char_length", "utf8_length"},
    {"lower", "utf8_lower"},
    {"upper", "utf8_upper"},
    {"trim", "utf8_trim_whitespace"},
    {"strip", "utf8_trim_whitespace"},
    {"ltrim", "utf8_ltrim_whitespace"},
    {"rtrim", "utf8_rtrim_whitespace"},
    {"reverse", "utf8_reverse"},
    {"capitalize", "utf8_capitalize"},
    {"initcap", "utf8_title"},
    {"lpad", "utf8_lpad"},
    {"rpad", "utf8_rpad"},
    {"zfill", "utf8_zero_fill"},
    {"normalize", "utf8_normalize"},
    {"repeat", "binary_repeat"},
    {"octet_length", "binary_length"},
    {"startswith", "starts_with"},
    {"endswith", "ends_with"},
    {"contains", "match_substring"},
    {"regexp_matches", "match_substring_regex"},
    {"regexp_like", "match_substring_regex"},
    {"like", "match_like"},
    {"replace", "replace_substring"},
    {"regexp_replace", "replace_substring_regex"},
    {"regexp_extract", "extract_regex"},
    {"split", "split_pattern"},
    {"regexp_split", "split_pattern_regex"},
    {"strpos", "find_substring"},
    {"array_length", "list_value_length"},
    {"list_length", "list_value_length"},
    {"if", "if_else"},
    {"iff", "if_else"},
    {"ifnull", "coalesce"},
    {"nvl", "coalesce"},
    {"greatest", "max_element_wise"},
    {"least", "min_element_wise"},
    {"pow", "power"},
    {"mod", "remainder"},
    {"ceiling", "ceil"},
    {"isnan", "is_nan"},
    {"isinf", "is_inf"},
    {"isfinite", "is_finite"},
    {"isnull", "is_null"},
    {"is_not_null", "is_valid"},
    {"notnull", "is_valid"},
    {"isin", "is_in"},
    {"in", "is_in"},
    {"not", "invert"},
    {"and", "and_kleene"},
    {"or", "or_kleene"},
    {"dayofweek", "day_of_week"},
    {"dayofyear", "day_of_year"},
    {"weekofyear", "iso_week"},
    {"to_timestamp", "strptime"},
    {"struct_extract", "struct_field"},
};

using Kind = OptionKind;
using Option = OptionSpec;

struct OptionFunction {
  std::string_view name;
  std::vector<Option> options;
};

const std::vector<OptionFunction>& OptionFunctions() {
  static const auto* functions = [] {
    auto* all = new std::vector<OptionFunction>();
    auto add = [&](std::vector<Option> options, std::initializer_list<std::string_view> names) {
      for (auto name : names) all->push_back({name, options});
    };
    const Option pattern{"pattern", Kind::kString, true}, round_mode{"round_mode", Kind::kWord};
    const Option start{"start", Kind::kInt, true}, stop{"stop", Kind::kInt}, step{"step", Kind::kInt};
    const Option max_splits{"max_splits", Kind::kInt}, reverse{"reverse", Kind::kBool};
    const Option week_starts_monday{"week_starts_monday", Kind::kBool};
    const Option count_from_zero{"count_from_zero", Kind::kBool};
    add({pattern, {"ignore_case", Kind::kBool}},
        {"count_substring", "count_substring_regex", "ends_with", "find_substring", "find_substring_regex",
         "match_like", "match_substring", "match_substring_regex", "starts_with"});
    add({pattern, {"replacement", Kind::kString, true}, {"max_replacements", Kind::kInt}},
        {"replace_substring", "replace_substring_regex"});
    add({start, {"stop", Kind::kInt, true}, {"replacement", Kind::kString, true}},
        {"binary_replace_slice", "utf8_replace_slice"});
    add({max_splits, reverse}, {"ascii_split_whitespace", "utf8_split_whitespace"});
    add({pattern, max_splits, reverse}, {"split_pattern", "split_pattern_regex"});
    add({pattern}, {"extract_regex", "extract_regex_span"});
    add({{"ndigits", Kind::kInt}, round_mode}, {"round"});
    add({round_mode}, {"round_binary"});
    add({{"multiple", Kind::kDouble, true}, round_mode}, {"round_to_multiple"});
    add({{"multiple", Kind::kInt},
         {"unit", Kind::kWord},
         week_starts_monday,
         {"ceil_is_strictly_greater", Kind::kBool},
         {"calendar_based_origin", Kind::kBool}},
        {"ceil_temporal", "floor_temporal", "round_temporal"});
    add({start, stop, step}, {"binary_slice", "utf8_slice_codeunits"});
    add({start, stop, step, {"return_fixed_size_list", Kind::kBool}}, {"list_slice"});
    add({{"characters", Kind::kString, true}},
        {"ascii_ltrim", "ascii_rtrim", "ascii_trim", "utf8_ltrim", "utf8_rtrim", "utf8_trim"});
    add({{"width", Kind::kInt, true}, {"padding", Kind::kString}, {"lean_left_on_odd_padding", Kind::kBool}},
        {"ascii_center", "ascii_lpad", "ascii_rpad", "utf8_center", "utf8_lpad", "utf8_rpad"});
    add({{"width", Kind::kInt, true}, {"padding", Kind::kString}}, {"utf8_zero_fill"});
    add({{"format", Kind::kString, true}, {"unit", Kind::kWord}, {"error_is_null", Kind::kBool}},
        {"strptime"});
    add({{"format", Kind::kString}}, {"strftime"});
    add({{"nan_is_null", Kind::kBool}}, {"is_null"});
    add({count_from_zero, {"week_start", Kind::kInt}}, {"day_of_week", "weeks_between"});
    add({week_starts_monday, count_from_zero, {"first_week_is_fully_in_year", Kind::kBool}}, {"week"});
    add({{"timezone", Kind::kString, true}, {"ambiguous", Kind::kWord}, {"nonexistent", Kind::kWord}},
        {"assume_timezone"});
    add({{"form", Kind::kWord}}, {"utf8_normalize"});
    add({{"null_handling", Kind::kWord}, {"null_replacement", Kind::kString}}, {kConcat});
    add({{"skip_nulls", Kind::kBool}}, {"max_element_wise", "min_element_wise"});
    add({{"field_names", Kind::kNames, true}}, {"make_struct"});
    add({{"query_key", Kind::kValue, true}, {"occurrence", Kind::kWord}}, {"map_lookup"});
    add({{"field", Kind::kString, true}}, {"struct_field"});
    return all;
  }();
  return *functions;
}

// Functions with a fixed number of data arguments; a further literal is an option.
int DataArguments(std::string_view function) {
  if (function == "round_binary" || function == "weeks_between") return 2;
  if (function == kConcat || function == "make_struct" || function == "max_element_wise" ||
      function == "min_element_wise") {
    return std::numeric_limits<int>::max();
  }
  return 1;
}

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return text;
}

const arrow::Scalar* LiteralOf(const Expression& expression) {
  const auto* literal = expression.valid() ? expression.node()->literal() : nullptr;
  return literal ? literal->value.get() : nullptr;
}

bool IntLiteral(const Expression& expression, int64_t* value) {
  const auto* scalar = LiteralOf(expression);
  if (!scalar || !scalar->is_valid || scalar->type->id() != arrow::Type::INT64) return false;
  *value = static_cast<const arrow::Int64Scalar&>(*scalar).value;
  return true;
}

bool StringLiteral(const Expression& expression, std::string* value) {
  const auto* scalar = LiteralOf(expression);
  if (!scalar || !scalar->is_valid || scalar->type->id() != arrow::Type::STRING) return false;
  *value = std::string(static_cast<const arrow::StringScalar&>(*scalar).view());
  return true;
}

Expression StringExpression(std::string text) {
  return Expression::Literal(arrow::MakeScalar(std::move(text)));
}

// SQL's substr counts from 1, and from the end when negative; Arrow's slice from 0.
bool RewriteSubstr(std::string* function, Args* args, Json* options) {
  int64_t start = 0, length = std::numeric_limits<int64_t>::max();
  if (args->size() < 2 || args->size() > 3 || !IntLiteral((*args)[1], &start)) return false;
  if (args->size() == 3 && (!IntLiteral((*args)[2], &length) || length < 0)) return false;
  constexpr int64_t kLargest = std::numeric_limits<int64_t>::max() / 2;  // sums below cannot overflow
  if (start > kLargest || start < -kLargest) return false;
  const int64_t first = start > 0 ? start - 1 : start;
  (*options)["start"] = first;
  if (length <= kLargest) {
    int64_t stop = start == 0 ? std::max<int64_t>(length - 1, 0) : first + length;
    // A slice that begins before the end by n and runs to it or past it has no stop.
    if (start >= 0 || stop < 0) (*options)["stop"] = stop;
  }
  args->resize(1);
  *function = "utf8_slice_codeunits";
  return true;
}

bool RewriteLeftRight(std::string* function, Args* args, Json* options) {
  int64_t count = 0;
  if (args->size() != 2 || !IntLiteral((*args)[1], &count) || count < 0) return false;
  if (*function == "left") {
    *options = {{"start", 0}, {"stop", count}};
  } else {
    // The last 0 characters cannot be said with a negative start.
    *options = count == 0 ? Json{{"start", 0}, {"stop", 0}} : Json{{"start", -count}};
  }
  args->resize(1);
  *function = "utf8_slice_codeunits";
  return true;
}

// concat skips nulls, as in SQL engines; || gives null.
bool RewriteConcat(std::string* function, Args* args, Json* options) {
  if (args->empty()) return false;
  const bool with_separator = *function == "concat_ws";
  if (with_separator && args->size() < 2) return false;
  Expression separator = with_separator ? args->front() : StringExpression("");
  if (with_separator) args->erase(args->begin());
  args->push_back(std::move(separator));
  *function = std::string(kConcat);
  (*options)["null_handling"] = "skip";
  return true;
}

bool RewriteDateTrunc(std::string* function, Args* args, Json* options) {
  std::string unit;
  if (args->size() != 2 || !StringLiteral(args->front(), &unit)) return false;
  args->erase(args->begin());
  (*options)["unit"] = Lower(unit);
  *function = "floor_temporal";
  return true;
}

bool RewriteNullif(std::string* function, Args* args, Json*) {
  if (args->size() != 2) return false;
  auto equal = Expression::Call("equal", *args);
  *args = {std::move(equal), Expression::Literal(arrow::MakeNullScalar(arrow::null())), args->front()};
  *function = std::string(kCase);
  return true;
}

// Canonical forms that are more than another name.
bool RewriteSpecial(std::string* function, Args* args, Json* options) {
  if (*function == "substr" || *function == "substring") return RewriteSubstr(function, args, options);
  if (*function == "left" || *function == "right") return RewriteLeftRight(function, args, options);
  if (*function == "concat" || *function == "concat_ws") return RewriteConcat(function, args, options);
  if (*function == "date_trunc") return RewriteDateTrunc(function, args, options);
  if (*function == "nullif") return RewriteNullif(function, args, options);
  if (*function == "ilike") {
    *function = "match_like";
    (*options)["ignore_case"] = true;
    return true;
  }
  return false;
}

constexpr std::string_view kSpecialNames[] = {"substr",    "substring",  "left",   "right", "concat",
                                              "concat_ws", "date_trunc", "nullif", "ilike"};

// Arrow has functions with and without overflow checks; here there is one, and it checks.
constexpr std::string_view kChecked[] = {"abs",        "add",         "divide",  "modulo",
                                         "multiply",   "negate",      "power",   "remainder",
                                         "shift_left", "shift_right", "subtract"};

void CanonicalName(std::string* function) {
  if (function->ends_with("_checked")) {
    const auto base = std::string_view(*function).substr(0, function->size() - 8);
    if (std::find(std::begin(kChecked), std::end(kChecked), base) != std::end(kChecked)) {
      function->resize(base.size());
    }
  }
  for (const auto& [alias, name] : kAliases) {
    if (alias == *function) {
      *function = std::string(name);
      return;
    }
  }
}

// trim(s) is another function of Arrow's than trim(s, 'x').
void PickTrim(std::string* function, size_t args, const Json& options) {
  constexpr std::string_view kSuffix = "trim_whitespace";
  if (function->ends_with(kSuffix) && (args > 1 || options.contains("characters"))) {
    function->resize(function->size() - std::string_view("_whitespace").size());
  }
}

void LiteralsToOptions(const std::string& function, Args* args, Json* options) {
  const auto* known = OptionsOf(function);
  if (!known) return;
  const auto data_arguments = static_cast<size_t>(DataArguments(function));
  size_t option = 0;
  while (args->size() > data_arguments) {
    const auto* literal = LiteralOf((*args)[data_arguments]);
    if (!literal || !literal->is_valid) return;  // Bind tells what is wrong with it
    while (option < known->size() && options->contains((*known)[option].name)) ++option;
    if (option == known->size()) return;
    Json value = LiteralToJson(*literal);
    const auto id = literal->type->id();
    const bool plain = id == arrow::Type::INT64 || id == arrow::Type::DOUBLE || id == arrow::Type::BOOL ||
                       id == arrow::Type::STRING;
    (*options)[std::string((*known)[option].name)] = plain ? value["literal"] : std::move(value);
    args->erase(args->begin() + static_cast<std::ptrdiff_t>(data_arguments));
  }
}

// is_in(x, value_set => [1, 2]) holds its values as further arguments.
void ValueSetToArgs(Args* args, Json* options) {
  const auto found = options->find("value_set");
  if (found == options->end() || !found->is_array()) return;
  Args values;
  for (const auto& item : *found) {
    auto value = ScalarFromJsonValue(item);
    if (!value.ok()) return;
    values.push_back(Expression::Literal(*std::move(value)));
  }
  args->insert(args->end(), values.begin(), values.end());
  options->erase("value_set");
}

void Flatten(std::string_view function, Args* args) {
  Args flat;
  for (auto& arg : *args) {
    const auto* call = arg.valid() ? arg.node()->call(function) : nullptr;
    if (call && call->options.empty()) {
      flat.insert(flat.end(), call->args.begin(), call->args.end());
    } else {
      flat.push_back(std::move(arg));
    }
  }
  *args = std::move(flat);
}

std::shared_ptr<arrow::Scalar> FoldedLiteral(std::string_view function, const Args& args,
                                             const Json& options) {
  if (args.size() != 1 || !args[0].valid()) return nullptr;
  const auto* literal = args[0].node()->literal();
  if (!literal) return nullptr;
  if (function == kArrowLiteral) {
    std::string text;
    return StringLiteral(args[0], &text) ? ScalarFromIpcText(text).ValueOr(nullptr) : nullptr;
  }
  const auto type_text = options.find("type");
  if (function != kCast || options.size() != 1 || type_text == options.end() || !type_text->is_string()) {
    return nullptr;
  }
  auto type = ParseType(type_text->get_ref<const std::string&>());
  return type.ok() ? FoldCast(literal->value, *type).ValueOr(nullptr) : nullptr;
}

}  // namespace

Expression::Node CanonicalCall(std::string function, Args args, Json options) {
  if (!options.is_object()) options = Json::object();
  function = Lower(std::move(function));
  CanonicalName(&function);
  RewriteSpecial(&function, &args, &options);
  PickTrim(&function, args.size(), options);
  LiteralsToOptions(function, &args, &options);
  if (function == "is_in" || function == "index_in") ValueSetToArgs(&args, &options);
  if (function == "and_kleene" || function == "or_kleene") Flatten(function, &args);
  if (function == kCast && options.contains("type") && options["type"].is_string()) {
    // One spelling of a type: int, integer and int32 are equal plans.
    auto type = ParseType(options["type"].get_ref<const std::string&>());
    if (type.ok()) options["type"] = TypeToString(**type);
  }
  if (auto folded = FoldedLiteral(function, args, options))
    return {Expression::Node::Literal{std::move(folded)}};
  int depth = 0;
  for (const auto& arg : args) depth = std::max(depth, arg.valid() ? arg.node()->depth : 0);
  return {Expression::Node::Call{std::move(function), std::move(args), std::move(options)}, depth + 1};
}

Status CheckFunction(std::string_view name_text) {
  std::string name = Lower(std::string(name_text));
  if (std::find(std::begin(kSpecialNames), std::end(kSpecialNames), name) != std::end(kSpecialNames)) {
    return Status::OK();
  }
  CanonicalName(&name);
  if (name == kCase || name == kCast || name == kArrowLiteral) return Status::OK();
  ARROW_RETURN_NOT_OK(EnsureComputeKernels());
  auto* registry = arrow::compute::GetFunctionRegistry();
  auto function = registry->GetFunction(name);
  if (!function.ok()) {
    auto known = registry->GetFunctionNames();
    std::erase_if(known,
                  [](const std::string& n) { return n.starts_with("hash_") || n.ends_with("_checked"); });
    for (const auto& alias : kAliases) known.emplace_back(alias.alias);
    for (auto special : kSpecialNames) known.emplace_back(special);
    const auto nearest = NearestName(name, known);
    return UserError(
        "there is no function '" + name + "'" + (nearest.empty() ? "" : " (did you mean '" + nearest + "'?)"),
        "functions and their aliases are listed in docs/expressions.md");
  }
  if ((*function)->kind() != arrow::compute::Function::SCALAR) {
    return UserError("function '" + name + "' does not work row by row",
                     "use a step for it: an expression sees one row at a time");
  }
  if (name == "random") {
    return UserError("function 'random' gives other values each time",
                     "use random_shuffle or sample with a seed");
  }
  return Status::OK();
}

const std::vector<OptionSpec>* OptionsOf(std::string_view function) {
  for (const auto& known : OptionFunctions()) {
    if (known.name == function) return &known.options;
  }
  return nullptr;
}

std::vector<std::pair<std::string, std::string>> FunctionAliases() {
  std::vector<std::pair<std::string, std::string>> aliases;
  for (const auto& [alias, name] : kAliases) aliases.emplace_back(alias, name);
  return aliases;
}

}  // namespace partita
