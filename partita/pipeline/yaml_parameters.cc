#include "partita/pipeline/yaml_parameters.h"

#include "partita/block/schema.h"
#include "partita/pipeline/arg_value.h"

namespace partita {
namespace {

const std::vector<std::pair<std::string, ArgType>>& Types() {
  static const std::vector<std::pair<std::string, ArgType>> types = {{"string", ArgType::kString},
                                                                     {"int", ArgType::kInt},
                                                                     {"float", ArgType::kFloat},
                                                                     {"bool", ArgType::kBool},
                                                                     {"list", ArgType::kStringList}};
  return types;
}

bool IsIdentifier(std::string_view name) {
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
  });
}

std::string DidYouMean(std::string_view name, const std::vector<std::string>& known) {
  const std::string nearest = NearestName(name, known);
  return nearest.empty() ? "" : "; did you mean '" + nearest + "'?";
}

ArgType TypeOf(const Json& value) {
  if (value.is_boolean()) return ArgType::kBool;
  if (value.is_number_integer()) return ArgType::kInt;
  if (value.is_number()) return ArgType::kFloat;
  return value.is_array() ? ArgType::kStringList : ArgType::kString;
}

struct Parameter {
  ArgType type = ArgType::kString;
  bool has_default = false;
  Json value;
};

Result<Parameter> WithDefault(Parameter parameter, const YAML::Node& node, bool infer_type, YamlReader* in) {
  if (infer_type) {
    ARROW_ASSIGN_OR_RAISE(const Json value, in->Value(node));
    parameter.type = TypeOf(value);
  }
  ARROW_ASSIGN_OR_RAISE(const Json value, in->Argument(node, parameter.type));
  auto normal = NormaliseValue({.name = "default", .type = parameter.type}, value);
  if (!normal.ok()) return in->Located(node, normal.status());
  parameter.value = *std::move(normal);
  parameter.has_default = true;
  return parameter;
}

// `{type: int, default: 5, description: ...}`, or just the default.
Result<Parameter> ReadParameter(const YAML::Node& node, YamlReader* in) {
  static const std::vector<std::string> kKeys = {"type", "default", "description"};
  if (node.IsNull()) return Parameter();
  if (!node.IsMap()) return WithDefault(Parameter(), node, true, in);
  Parameter parameter;
  ARROW_ASSIGN_OR_RAISE(const auto entries, in->MapEntries(node));
  YAML::Node fallback(YAML::NodeType::Null);
  bool has_type = false;
  for (const auto& entry : entries) {
    if (entry.key == "type") {
      ARROW_ASSIGN_OR_RAISE(const std::string name, in->Name(entry.value, "type"));
      const auto type =
          std::find_if(Types().begin(), Types().end(), [&](const auto& t) { return t.first == name; });
      if (type == Types().end()) {
        return in->Error(entry.value,
                         "unknown parameter type '" + name + "'" + DidYouMean(name, YamlParameterTypes()),
                         "choose string, int, float, bool or list");
      }
      parameter.type = type->second;
      has_type = true;
    } else if (entry.key == "default") {
      fallback.reset(entry.value);
    } else if (entry.key != "description") {
      return in->Error(entry.key_node,
                       "a parameter has no key '" + entry.key + "'" + DidYouMean(entry.key, kKeys));
    }
  }
  if (fallback.IsNull()) return parameter;
  return WithDefault(std::move(parameter), fallback, !has_type, in);
}

// `--set columns=a,b`, or `--set columns='[a, b]'` where a name holds a comma.
Json SplitList(const std::string& text) {
  if (text.starts_with("[")) {
    const YAML::Node list = YAML::Load(text);
    Json out = Json::array();
    for (const YAML::Node& item : list) out.push_back(item.IsScalar() ? Json(item.Scalar()) : Json());
    return out;
  }
  Json out = Json::array();
  for (size_t begin = 0; begin <= text.size() && !text.empty();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    out.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return out;
}

Result<Json> FromSet(const std::string& name, ArgType type, const std::string& text) {
  Result<Json> value = Json();
  try {
    const Json given = type == ArgType::kStringList ? SplitList(text) : Json(text);
    value = NormaliseValue({.name = name, .type = type}, given);
  } catch (const YAML::Exception& error) {
    return UserError("--set " + name + "=" + text + ": this is no list: " + error.msg);
  }
  if (!value.ok()) return UserError("--set " + name + "=" + text + ": " + MessageOf(value.status()));
  return value;
}

}  // namespace

const std::vector<std::string>& YamlParameterTypes() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const auto& [name, type] : Types()) all.push_back(name);
    return all;
  }();
  return names;
}

Result<std::map<std::string, Json>> ReadYamlParameters(const YAML::Node& section,
                                                       const std::map<std::string, std::string>& set,
                                                       YamlReader* in) {
  std::map<std::string, Json> values;
  std::vector<std::string> names;
  if (section.IsDefined() && !section.IsNull()) {
    if (!section.IsMap()) return in->Error(section, "parameters must be a map of name to {type, default}");
    ARROW_ASSIGN_OR_RAISE(const auto entries, in->MapEntries(section));
    for (const auto& entry : entries) {
      if (!IsIdentifier(entry.key)) {
        return in->Error(entry.key_node, "'" + entry.key + "' is no name for a parameter",
                         "use letters, digits and '_'");
      }
      ARROW_ASSIGN_OR_RAISE(const Parameter parameter, ReadParameter(entry.value, in));
      names.push_back(entry.key);
      const auto given = set.find(entry.key);
      if (given != set.end()) {
        ARROW_ASSIGN_OR_RAISE(values[entry.key], FromSet(entry.key, parameter.type, given->second));
      } else if (parameter.has_default) {
        values[entry.key] = parameter.value;
      } else {
        return in->Error(entry.key_node, "the parameter '" + entry.key + "' has no value",
                         "run with --set " + entry.key + "=..., or give it a default");
      }
    }
  }
  for (const auto& [name, text] : set) {
    if (values.count(name) > 0) continue;
    return in->Error(YAML::Mark::null_mark(),
                     "--set " + name + ": the pipeline has no such parameter" + DidYouMean(name, names),
                     "declare it under `parameters`");
  }
  return values;
}

}  // namespace partita
