// Pipeline -> pipeline.yaml: text that ParsePipelineYaml reads back as the same pipeline.
#include <yaml-cpp/yaml.h>

#include "partita/expression/expression.h"
#include "partita/pipeline/graph.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"
#include "partita/pipeline/yaml_reader.h"

namespace partita {
namespace {

bool IsScalar(const Json& value) { return value.is_string() || value.is_number() || value.is_boolean(); }

// Text that a reader would take for a number, a parameter or a null is quoted.
void EmitText(YAML::Emitter& out, const std::string& text) {
  std::string escaped;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text.compare(i, 2, "${") == 0) escaped += '$';
    escaped += text[i];
  }
  const bool plain = ResolvePlainScalar(text).is_string() &&
                     text.find_first_of("\n\r\t") == std::string::npos && text != "<<";
  if (!plain) out << YAML::DoubleQuoted;
  out << escaped;
}

// A key is never a parameter.
void EmitKey(YAML::Emitter& out, const std::string& key) {
  out << YAML::Key;
  if (!ResolvePlainScalar(key).is_string() || key == "<<" ||
      key.find_first_of("\n\r\t") != std::string::npos) {
    out << YAML::DoubleQuoted;
  }
  out << key << YAML::Value;
}

void EmitJson(YAML::Emitter& out, const Json& value) {
  if (value.is_object()) {
    out << YAML::Flow << YAML::BeginMap;
    for (const auto& [key, item] : value.items()) {
      EmitKey(out, key);
      EmitJson(out, item);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const Json& item : value) EmitJson(out, item);
    out << YAML::EndSeq;
  } else if (value.is_string()) {
    EmitText(out, value.get<std::string>());
  } else if (value.is_null()) {
    out << YAML::Null;
  } else {
    out << value.dump();
  }
}

// An expression from JSON is shown as people write it.
void EmitExpression(YAML::Emitter& out, const Json& value) {
  if (value.is_object()) {
    if (auto expression = Expression::FromJson(value); expression.ok())
      return EmitText(out, expression->ToString());
  }
  EmitJson(out, value);
}

bool IsPair(const Json& item) { return item.is_array() && item.size() == 2 && item[0].is_string(); }

void EmitExpressionMap(YAML::Emitter& out, const Json& value) {
  const bool all_pairs = value.is_array() && std::all_of(value.begin(), value.end(), IsPair);
  if (all_pairs && !value.empty()) {
    out << YAML::Flow << YAML::BeginMap;
    for (const Json& item : value) {
      EmitKey(out, item[0].get<std::string>());
      EmitExpression(out, item[1]);
    }
    out << YAML::EndMap;
  } else if (value.is_object()) {
    out << YAML::Flow << YAML::BeginMap;
    for (const auto& [key, item] : value.items()) {
      EmitKey(out, key);
      EmitExpression(out, item);
    }
    out << YAML::EndMap;
  } else if (value.is_array()) {
    out << YAML::Flow << YAML::BeginSeq;
    for (const Json& item : value) {
      if (IsPair(item)) {
        EmitExpressionMap(out, Json::array({item}));
      } else {
        EmitJson(out, item);
      }
    }
    out << YAML::EndSeq;
  } else {
    EmitJson(out, value);
  }
}

void EmitArgs(YAML::Emitter& out, const StepSpec* spec, const Json& args);

void EmitSteps(YAML::Emitter& out, const Json& steps) {
  out << YAML::Flow << YAML::BeginSeq;
  for (const Json& step : steps) {
    const std::string op = step.value("op", std::string());
    const Json on_error = step.value("on_error", Json());
    out << YAML::Flow << YAML::BeginMap;
    EmitKey(out, op);
    EmitArgs(out, FindStep(op), step.value("args", Json::object()));
    if (!on_error.is_null()) {
      EmitKey(out, "on_error");
      EmitJson(out, on_error);
    }
    out << YAML::EndMap;
  }
  out << YAML::EndSeq;
}

void EmitArg(YAML::Emitter& out, const ArgSpec* spec, const Json& value) {
  if (spec != nullptr && spec->type == ArgType::kSteps && NormaliseGroupSteps(value).ok())
    return EmitSteps(out, value);
  if (spec != nullptr && spec->type == ArgType::kExpression) return EmitExpression(out, value);
  if (spec != nullptr && (spec->type == ArgType::kExpressionMap || spec->type == ArgType::kAggregateMap))
    return EmitExpressionMap(out, value);
  EmitJson(out, value);
}

// `- limit: 100` where the only argument is the first one and its value cannot be taken for a map of
// arguments.
bool IsShort(const StepSpec* spec, const Json& args) {
  if (spec == nullptr || spec->args.empty() || args.size() != 1 || !args.contains(spec->args[0].name))
    return false;
  const Json& value = args[spec->args[0].name];
  if (spec->args[0].type == ArgType::kExpression) return !value.is_null();
  return IsScalar(value) || (value.is_array() && std::all_of(value.begin(), value.end(), IsScalar));
}

void EmitArgs(YAML::Emitter& out, const StepSpec* spec, const Json& args) {
  if (IsShort(spec, args)) return EmitArg(out, &spec->args[0], args[spec->args[0].name]);
  out << YAML::Flow << YAML::BeginMap;
  for (const auto& [name, value] : args.items()) {
    EmitKey(out, name);
    EmitArg(out, spec == nullptr ? nullptr : spec->FindArg(name), value);
  }
  out << YAML::EndMap;
}

void EmitStep(YAML::Emitter& out, const PipelineStep& step, const Pipeline& before) {
  const StepSpec* spec = FindStep(step.op);
  out << YAML::BeginMap;
  EmitKey(out, step.op);
  EmitArgs(out, spec, step.args);
  if (step.name != FreshName(before, step.op)) {
    EmitKey(out, "name");
    out << YAML::DoubleQuoted << step.name;
  }
  const bool is_union = spec != nullptr && spec->name == "union";
  const bool is_chain = step.inputs.size() == 1 && step.inputs[0] == DefaultInput(before) && !is_union;
  if (!step.inputs.empty() && !is_chain) {
    EmitKey(out, "input");
    if (step.inputs.size() == 1) {
      out << step.inputs[0];
    } else {
      EmitJson(out, step.inputs);
    }
  }
  if (step.on_error != OnError::kFail) {
    EmitKey(out, "on_error");
    out << std::string(OnErrorName(step.on_error));
  }
  out << YAML::EndMap;
}

}  // namespace

std::string PipelineToYaml(const Pipeline& pipeline) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  EmitKey(out, "pipeline");
  EmitText(out, pipeline.name);
  if (!pipeline.options.empty()) {
    EmitKey(out, "options");
    EmitJson(out, pipeline.options);
  }
  EmitKey(out, "steps");
  out << YAML::BeginSeq;
  Pipeline before;
  for (const PipelineStep& step : pipeline.steps) {
    EmitStep(out, step, before);
    before.steps.push_back(step);
  }
  out << YAML::EndSeq << YAML::EndMap;
  return std::string(out.c_str(), out.size()) + "\n";
}

}  // namespace partita
