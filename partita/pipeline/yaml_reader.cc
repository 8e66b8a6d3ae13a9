#include "partita/pipeline/yaml_reader.h"

#include <charconv>
#include <cmath>

#include "partita/block/schema.h"

namespace partita {
namespace {

// Aliases are followed, so a small file can stand for a huge one: what it stands for is bounded.
constexpr int kMaxDepth = 64;
constexpr int64_t kMaxValues = 200'000;
constexpr int64_t kMaxTextBytes = 32 << 20;

bool AllOf(std::string_view text, std::string_view allowed) {
  return !text.empty() && text.find_first_not_of(allowed) == std::string_view::npos;
}

std::string_view WithoutSign(std::string_view text) {
  return !text.empty() && (text[0] == '-' || text[0] == '+') ? text.substr(1) : text;
}

// [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?
bool IsFloat(std::string_view text) {
  text = WithoutSign(text);
  const size_t exponent = text.find_first_of("eE");
  if (exponent != std::string_view::npos && !AllOf(WithoutSign(text.substr(exponent + 1)), "0123456789"))
    return false;
  const std::string_view mantissa = text.substr(0, exponent);
  const size_t point = mantissa.find('.');
  if (point == std::string_view::npos) return AllOf(mantissa, "0123456789");
  const std::string_view whole = mantissa.substr(0, point), fraction = mantissa.substr(point + 1);
  if (whole.empty()) return AllOf(fraction, "0123456789");
  return AllOf(whole, "0123456789") && (fraction.empty() || AllOf(fraction, "0123456789"));
}

template <typename T, typename... Base>
bool FromChars(std::string_view text, T* out, Base... base) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out, base...);
  return error == std::errc() && end == text.data() + text.size();
}

// A parameter inside a longer string.
std::string TextOf(const Json& value) {
  if (value.is_string()) return value.get<std::string>();
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool IsQuoted(const YAML::Node& node) { return node.Tag() == "!" || node.Tag() == "tag:yaml.org,2002:str"; }

}  // namespace

Json ResolvePlainScalar(std::string_view text) {
  if (text.empty() || text == "~" || text == "null" || text == "Null" || text == "NULL") return nullptr;
  if (text == "true" || text == "True" || text == "TRUE") return true;
  if (text == "false" || text == "False" || text == "FALSE") return false;
  int64_t number = 0;
  if (AllOf(WithoutSign(text), "0123456789")) {
    if (FromChars(text[0] == '+' ? text.substr(1) : text, &number)) return number;
    return std::string(text);  // too large for an integer: a float would lose digits silently
  }
  if (text.starts_with("0x") && FromChars(text.substr(2), &number, 16)) return number;
  if (text.starts_with("0o") && FromChars(text.substr(2), &number, 8)) return number;
  double real = 0;
  if (IsFloat(text) && FromChars(text[0] == '+' ? text.substr(1) : text, &real) && std::isfinite(real))
    return real;
  return std::string(text);
}

struct YamlReader::Nested {
  explicit Nested(YamlReader* reader) : reader(reader) { ++reader->depth_; }
  ~Nested() { --reader->depth_; }
  YamlReader* reader;
};

Status YamlReader::Error(const YAML::Mark& at, const std::string& message, std::string hint) const {
  std::string where = file_;
  if (!at.is_null()) where += ":" + std::to_string(at.line + 1) + ":" + std::to_string(at.column + 1);
  return UserError(where + ": " + message, std::move(hint));
}

Status YamlReader::Error(const YAML::Node& at, const std::string& message, std::string hint) const {
  return Error(at.Mark(), message, std::move(hint));
}

Status YamlReader::Located(const YAML::Node& at, const Status& status) const {
  if (status.ok()) return status;
  const ErrorDetail* detail = DetailOf(status);
  return Error(at, MessageOf(status), detail != nullptr ? detail->context.hint : "");
}

Status YamlReader::Count(const YAML::Node& node) {
  if (depth_ > kMaxDepth)
    return Error(node, "the file is nested deeper than " + std::to_string(kMaxDepth) + " levels");
  if (++values_ > kMaxValues) {
    return Error(node, "the file stands for more than " + std::to_string(kMaxValues) + " values",
                 "use fewer aliases (*name)");
  }
  if (node.IsScalar()) text_bytes_ += static_cast<int64_t>(node.Scalar().size());
  if (text_bytes_ > kMaxTextBytes)
    return Error(node, "the file stands for too much text", "use fewer aliases (*name)");
  return CheckTag(node);
}

Status YamlReader::CheckTag(const YAML::Node& node) const {
  const std::string& tag = node.Tag();
  if (tag.empty() || tag == "?" || tag == "!" || tag == "tag:yaml.org,2002:str") return Status::OK();
  return Error(node, "the tag " + tag + " is not known here", "write the value without a tag");
}

Result<std::vector<YamlReader::Entry>> YamlReader::MapEntries(const YAML::Node& map) {
  std::vector<Entry> entries;
  std::set<std::string> seen;
  for (const auto& item : map) {
    ARROW_RETURN_NOT_OK(Count(item.first));
    if (!item.first.IsScalar()) return Error(item.first, "a key must be text", "put it in quotes");
    const std::string& key = item.first.Scalar();
    if (key == "<<" && !IsQuoted(item.first)) {
      return Error(item.first, "merge keys (<<) are not supported",
                   "write the entries out, or use a parameter");
    }
    if (!seen.insert(key).second) return Error(item.first, "the key '" + key + "' stands twice");
    entries.push_back({key, item.first, item.second});
  }
  return entries;
}

Result<std::string> YamlReader::Name(const YAML::Node& node, std::string_view what) const {
  if (!node.IsScalar() || node.Scalar().empty()) return Error(node, std::string(what) + " must be a name");
  return node.Scalar();
}

Result<Json> YamlReader::Substitute(const YAML::Node& node, const std::string& text) {
  if (!substitutes_ || text.find("${") == std::string::npos) return Json(text);
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, 3, "$${") == 0) {
      out += "${";
      i += 3;
      continue;
    }
    if (text.compare(i, 2, "${") != 0) {
      out += text[i++];
      continue;
    }
    const size_t end = text.find('}', i);
    if (end == std::string::npos) return Error(node, "'${' without '}'", "write $${ for the text ${");
    const std::string name = text.substr(i + 2, end - i - 2);
    const auto value = parameters_.find(name);
    if (value == parameters_.end()) {
      std::vector<std::string> names;
      for (const auto& [known, unused] : parameters_) names.push_back(known);
      const std::string nearest = NearestName(name, names);
      return Error(
          node,
          "unknown parameter '" + name + "'" + (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"),
          "declare it under `parameters`, or write $${ for the text ${");
    }
    if (i == 0 && end + 1 == text.size()) return value->second;
    out += TextOf(value->second);
    text_bytes_ += static_cast<int64_t>(out.size());
    if (text_bytes_ > kMaxTextBytes) return Error(node, "the file stands for too much text");
    i = end + 1;
  }
  return Json(std::move(out));
}

Result<std::string> YamlReader::Text(const YAML::Node& node) {
  ARROW_RETURN_NOT_OK(Count(node));
  if (node.IsNull()) return Error(node, "a value is missing", "quote the word null to mean it as text");
  if (!node.IsScalar()) return Error(node, "expected text, not a list or map");
  ARROW_ASSIGN_OR_RAISE(Json value, Substitute(node, node.Scalar()));
  return TextOf(value);
}

Result<Json> YamlReader::Value(const YAML::Node& node) {
  Nested nested(this);
  ARROW_RETURN_NOT_OK(Count(node));
  if (node.IsNull()) return Json();
  if (node.IsScalar()) {
    const std::string& text = node.Scalar();
    if (text.find("${") != std::string::npos) return Substitute(node, text);
    return IsQuoted(node) ? Json(text) : ResolvePlainScalar(text);
  }
  if (node.IsSequence()) {
    Json list = Json::array();
    for (const YAML::Node& item : node) {
      ARROW_ASSIGN_OR_RAISE(Json value, Value(item));
      list.push_back(std::move(value));
    }
    return list;
  }
  Json object = Json::object();
  ARROW_ASSIGN_OR_RAISE(const auto entries, MapEntries(node));
  for (const Entry& entry : entries) {
    ARROW_ASSIGN_OR_RAISE(object[entry.key], Value(entry.value));
  }
  return object;
}

Result<Json> YamlReader::TextOrList(const YAML::Node& node) {
  if (node.IsScalar()) {
    ARROW_ASSIGN_OR_RAISE(Json value, Substitute(node, node.Scalar()));
    return value.is_array() ? value : Json(TextOf(value));
  }
  if (!node.IsSequence()) return Value(node);
  Json list = Json::array();
  for (const YAML::Node& item : node) {
    ARROW_ASSIGN_OR_RAISE(std::string text, Text(item));
    list.push_back(std::move(text));
  }
  return list;
}

Result<Json> YamlReader::TextMap(const YAML::Node& node) {
  if (!node.IsMap()) return Value(node);
  Json map = Json::object();
  ARROW_ASSIGN_OR_RAISE(const auto entries, MapEntries(node));
  for (const Entry& entry : entries) {
    ARROW_ASSIGN_OR_RAISE(map[entry.key], Text(entry.value));
  }
  return map;
}

Result<Json> YamlReader::ExpressionText(const YAML::Node& node) {
  if (node.IsNull()) return Json("null");
  if (!node.IsScalar()) return Value(node);
  ARROW_ASSIGN_OR_RAISE(std::string text, Text(node));
  return Json(std::move(text));
}

Status YamlReader::AddExpressions(const YAML::Node& map, Json* out) {
  ARROW_ASSIGN_OR_RAISE(const auto entries, MapEntries(map));
  for (const Entry& entry : entries) {
    ARROW_ASSIGN_OR_RAISE(Json expression, ExpressionText(entry.value));
    out->push_back(Json::array({entry.key, std::move(expression)}));
  }
  return Status::OK();
}

// A JSON object forgets the order of its keys; a list of pairs keeps it.
Result<Json> YamlReader::ExpressionMap(const YAML::Node& node) {
  Json out = Json::array();
  if (node.IsMap()) {
    ARROW_RETURN_NOT_OK(AddExpressions(node, &out));
    return out;
  }
  if (!node.IsSequence()) return TextOrList(node);
  for (const YAML::Node& item : node) {
    if (item.IsMap()) {
      ARROW_RETURN_NOT_OK(AddExpressions(item, &out));
    } else if (item.IsSequence()) {
      ARROW_ASSIGN_OR_RAISE(Json pair, Value(item));
      out.push_back(std::move(pair));
    } else {
      ARROW_ASSIGN_OR_RAISE(std::string column, Text(item));
      out.push_back(std::move(column));
    }
  }
  return out;
}

Result<Json> YamlReader::Argument(const YAML::Node& node, ArgType type) {
  Nested nested(this);
  ARROW_RETURN_NOT_OK(Count(node));
  if (node.IsNull()) return Json();
  switch (type) {
    case ArgType::kString:
    case ArgType::kColumn:
    case ArgType::kExpression:
      if (!node.IsScalar()) return Value(node);
      return ExpressionText(node);
    case ArgType::kStringList:
      return TextOrList(node);
    case ArgType::kStringMap:
    case ArgType::kTypeMap:
      return TextMap(node);
    case ArgType::kExpressionMap:
    case ArgType::kAggregateMap:
      return ExpressionMap(node);
    default:
      return Value(node);
  }
}

}  // namespace partita
