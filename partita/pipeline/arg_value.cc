#include "partita/pipeline/arg_value.h"

#include <arrow/type.h>

#include <charconv>
#include <cmath>
#include <set>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/block/schema.h"
#include "partita/expression/expression.h"
#include "partita/pipeline/aggregate.h"
#include "partita/pipeline/group_steps.h"

namespace partita {
namespace {

std::string Shown(const Json& value) {
  std::string text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  constexpr size_t kMaxShown = 60;
  if (text.size() <= kMaxShown) return text;
  size_t end = kMaxShown;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80)
    --end;  // never inside a character
  return text.substr(0, end) + "…";
}

Status Expected(std::string_view what, const Json& value) {
  return UserError("expected " + std::string(what) + ", not " + Shown(value));
}

template <typename T>
bool ParseWhole(std::string_view text, T* out) {
  if (!text.empty() && text[0] == '+') text.remove_prefix(1);
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && !text.empty();
}

Result<int64_t> ToInt(const Json& value) {
  constexpr double kTwoTo63 = 9223372036854775808.0;
  int64_t number = 0;
  if (value.is_number_unsigned()) {
    if (value.get<uint64_t>() > static_cast<uint64_t>(INT64_MAX)) return Expected("a 64-bit integer", value);
    return value.get<int64_t>();
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (value.is_number_float()) {
    const double real = value.get<double>();
    if (std::trunc(real) == real && real >= -kTwoTo63 && real < kTwoTo63) return static_cast<int64_t>(real);
  }
  if (value.is_string() && ParseWhole(value.get_ref<const std::string&>(), &number)) return number;
  return Expected("an integer", value);
}

Result<double> ToFloat(const Json& value) {
  double real = NAN;
  if (value.is_number()) real = value.get<double>();
  if (value.is_string() && !ParseWhole(value.get_ref<const std::string&>(), &real)) real = NAN;
  if (!std::isfinite(real)) return Expected("a number", value);
  return real;
}

Result<bool> ToBool(const Json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value == "true") return true;
  if (value == "false") return false;
  return Expected("true or false", value);
}

Result<int64_t> ToBytes(const Json& value) {
  if (value.is_string()) return ParseBytes(value.get_ref<const std::string&>());
  auto bytes = ToInt(value);
  if (!bytes.ok() || *bytes < 0) return Expected("a size like 1048576 or \"1MiB\"", value);
  return bytes;
}

Result<double> ToSeconds(const Json& value) {
  if (value.is_string()) return ParseSeconds(value.get_ref<const std::string&>());
  auto seconds = ToFloat(value);
  if (!seconds.ok() || *seconds < 0) return Expected("seconds like 10 or \"500ms\"", value);
  return seconds;
}

Result<Json> ToExpression(const Json& value) {
  Result<Expression> parsed = Expression();
  if (value.is_string()) {
    parsed = Expression::Parse(value.get_ref<const std::string&>());
  } else if (value.is_object()) {
    parsed = Expression::FromJson(value);
  } else if (value.is_number() || value.is_boolean()) {
    parsed = Expression::Parse(value.dump());  // a plain 5 or true in YAML
  } else {
    return Expected("an expression like \"width >= 256\"", value);
  }
  ARROW_RETURN_NOT_OK(parsed.status());
  return parsed->ToJson();
}

Result<Json> ToStringList(const Json& value) {
  if (value.is_string()) return Json::array({value});
  if (!value.is_array()) return Expected("a string or a list of strings", value);
  for (const Json& item : value) {
    if (!item.is_string()) return Expected("a list of strings", value);
  }
  return value;
}

Result<Json> ToBoolList(const Json& value) {
  const Json items = value.is_array() ? value : Json::array({value});
  if (items.empty()) return Expected("true, false, or a list of them", value);
  Json out = Json::array();
  for (const Json& item : items) {
    auto one = ToBool(item);
    if (!one.ok()) return Expected("true, false, or a list of them", value);
    out.push_back(*one);
  }
  return out;
}

Result<Json> ToStringMap(const Json& value) {
  if (!value.is_object()) return Expected("a map of strings", value);
  for (const auto& [key, item] : value.items()) {
    if (!item.is_string()) return UserError("expected a string for '" + key + "', not " + Shown(item));
  }
  return value;
}

Result<Json> ToTypeMap(const Json& value) {
  if (!value.is_object()) return Expected("a map of column to type like {width: int32}", value);
  Json types = Json::object();
  for (const auto& [column, text] : value.items()) {
    if (!text.is_string())
      return UserError("expected the name of a type for column '" + column + "', not " + Shown(text));
    auto type = ParseType(text.get_ref<const std::string&>());
    if (!type.ok()) return UserError("column '" + column + "': " + MessageOf(type.status()));
    types[column] = TypeToString(**type);
  }
  return types;
}

Status AddNamed(const std::string& name, const Json& expression, std::set<std::string>* names, Json* out) {
  if (name.empty()) return UserError("a column needs a name");
  if (!names->insert(name).second) return UserError("column '" + name + "' is given twice");
  auto normal = ToExpression(expression);
  if (!normal.ok()) return UserError("column '" + name + "': " + MessageOf(normal.status()));
  out->push_back(Json::array({name, *std::move(normal)}));
  return Status::OK();
}

// A map, or a list whose items are columns ("url"), pairs (["area", "w * h"]) or maps ({area: w * h}).
Result<Json> ToExpressionMap(const Json& value) {
  Json out = Json::array();
  std::set<std::string> names;
  if (value.is_object()) {
    for (const auto& [name, expression] : value.items())
      ARROW_RETURN_NOT_OK(AddNamed(name, expression, &names, &out));
    return out;
  }
  const Json items = value.is_string() ? Json::array({value}) : value;
  if (!items.is_array()) return Expected("columns, or a map of new column to expression", value);
  for (const Json& item : items) {
    if (item.is_string()) {
      const std::string& name = item.get_ref<const std::string&>();
      ARROW_RETURN_NOT_OK(AddNamed(name, Expression::Column(name).ToJson(), &names, &out));
    } else if (item.is_array() && item.size() == 2 && item[0].is_string()) {
      ARROW_RETURN_NOT_OK(AddNamed(item[0].get_ref<const std::string&>(), item[1], &names, &out));
    } else if (item.is_object()) {
      for (const auto& [name, expression] : item.items())
        ARROW_RETURN_NOT_OK(AddNamed(name, expression, &names, &out));
    } else {
      return Expected("columns, or a map of new column to expression", item);
    }
  }
  return out;
}

Status AddAggregate(const std::string& name, const Json& text, std::set<std::string>* names, Json* out) {
  if (name.empty()) return UserError("an aggregate needs a name for its column");
  if (!names->insert(name).second) return UserError("column '" + name + "' is given twice");
  if (!text.is_string()) {
    return UserError("column '" + name + "': expected an aggregate like sum(v), not " + Shown(text));
  }
  auto aggregate = ParseAggregate(name, text.get_ref<const std::string&>());
  if (!aggregate.ok()) {
    const ErrorDetail* detail = DetailOf(aggregate.status());
    return UserError("column '" + name + "': " + MessageOf(aggregate.status()),
                     detail == nullptr ? "" : detail->context.hint);
  }
  out->push_back(Json::array({name, AggregateText(*aggregate)}));
  return Status::OK();
}

// A map, or a list of pairs (["total", "sum(v)"]) and maps, which keep their order.
Result<Json> ToAggregateMap(const Json& value) {
  Json out = Json::array();
  std::set<std::string> names;
  for (const Json& item : value.is_array() ? value : Json::array({value})) {
    if (item.is_array() && item.size() == 2 && item[0].is_string()) {
      ARROW_RETURN_NOT_OK(AddAggregate(item[0].get_ref<const std::string&>(), item[1], &names, &out));
    } else if (item.is_object()) {
      for (const auto& [name, text] : item.items())
        ARROW_RETURN_NOT_OK(AddAggregate(name, text, &names, &out));
    } else {
      return Expected("a map of new column to an aggregate like {total: sum(v)}", item);
    }
  }
  return out;
}

Result<Json> ToString(const Json& value) {
  if (!value.is_string()) return Expected("a string", value);
  return value;
}

Result<Json> ToColumn(const Json& value) {
  if (!value.is_string() || value.get_ref<const std::string&>().empty())
    return Expected("the name of a column", value);
  return value;
}

template <typename T>
Result<Json> AsJson(Result<T> value) {
  ARROW_RETURN_NOT_OK(value.status());
  return Json(*std::move(value));
}

Result<Json> Coerce(ArgType type, const Json& value) {
  switch (type) {
    case ArgType::kBool:
      return AsJson(ToBool(value));
    case ArgType::kInt:
      return AsJson(ToInt(value));
    case ArgType::kFloat:
      return AsJson(ToFloat(value));
    case ArgType::kString:
      return ToString(value);
    case ArgType::kBytes:
      return AsJson(ToBytes(value));
    case ArgType::kSeconds:
      return AsJson(ToSeconds(value));
    case ArgType::kColumn:
      return ToColumn(value);
    case ArgType::kStringList:
      return ToStringList(value);
    case ArgType::kBoolList:
      return ToBoolList(value);
    case ArgType::kStringMap:
      return ToStringMap(value);
    case ArgType::kExpression:
      return ToExpression(value);
    case ArgType::kExpressionMap:
      return ToExpressionMap(value);
    case ArgType::kAggregateMap:
      return ToAggregateMap(value);
    case ArgType::kTypeMap:
      return ToTypeMap(value);
    case ArgType::kSteps:
      return NormaliseGroupSteps(value);
    case ArgType::kJson:
      return value;
  }
  return BugError("an argument has no type");
}

Status CheckChoice(const ArgSpec& arg, const std::string& value) {
  if (arg.choices.empty()) return Status::OK();
  std::string all;
  for (const std::string& choice : arg.choices) {
    if (choice == value) return Status::OK();
    all += (all.empty() ? "" : ", ") + choice;
  }
  const std::string nearest = NearestName(value, arg.choices);
  return UserError(
      "'" + value + "' is none of its choices" + (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"),
      "choose one of " + all);
}

std::string Number(double value) {
  return Json(value).dump().ends_with(".0") ? std::to_string(static_cast<int64_t>(value))
                                            : Json(value).dump();
}

Status CheckRange(const ArgSpec& arg, const Json& value) {
  const bool counted = value.is_array() || value.is_object();
  if (!counted && !value.is_number()) return Status::OK();
  const double number = counted ? static_cast<double>(value.size()) : value.get<double>();
  const std::string what = counted ? Number(number) + " entries" : Number(number);
  if (arg.min && number < *arg.min)
    return UserError(what + " is too small: the least is " + Number(*arg.min));
  if (arg.max && number > *arg.max) return UserError(what + " is too large: the most is " + Number(*arg.max));
  return Status::OK();
}

}  // namespace

std::string_view ArgTypeName(ArgType type) {
  switch (type) {
    case ArgType::kBool:
      return "bool";
    case ArgType::kInt:
      return "int";
    case ArgType::kFloat:
      return "float";
    case ArgType::kString:
      return "string";
    case ArgType::kBytes:
      return "bytes";
    case ArgType::kSeconds:
      return "seconds";
    case ArgType::kColumn:
      return "column";
    case ArgType::kStringList:
      return "string list";
    case ArgType::kBoolList:
      return "bool list";
    case ArgType::kStringMap:
      return "string map";
    case ArgType::kExpression:
      return "expression";
    case ArgType::kExpressionMap:
      return "expression map";
    case ArgType::kAggregateMap:
      return "aggregate map";
    case ArgType::kTypeMap:
      return "type map";
    case ArgType::kSteps:
      return "steps";
    case ArgType::kJson:
      return "any";
  }
  return "any";
}

Result<Json> NormaliseValue(const ArgSpec& arg, const Json& value) {
  ARROW_ASSIGN_OR_RAISE(Json normal, Coerce(arg.type, value));
  if (normal.is_string()) ARROW_RETURN_NOT_OK(CheckChoice(arg, normal.get_ref<const std::string&>()));
  if (arg.type == ArgType::kStringList) {
    for (const Json& item : normal) ARROW_RETURN_NOT_OK(CheckChoice(arg, item.get_ref<const std::string&>()));
  }
  // An expression is an object too, but has no size of its own.
  if (arg.type != ArgType::kExpression && arg.type != ArgType::kJson)
    ARROW_RETURN_NOT_OK(CheckRange(arg, normal));
  return normal;
}

}  // namespace partita
