// The JSON schema of pipeline.yaml: what editors use to complete and check it.
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"
#include "partita/pipeline/yaml_parameters.h"

namespace partita {
namespace {

Json Ref(const std::string& name) { return {{"$ref", "#/$defs/" + name}}; }

// Numbers and booleans may also be a parameter, "${n}", or the same in quotes.
Json TypeSchema(const ArgSpec& arg) {
  switch (arg.type) {
    case ArgType::kBool:
      return {{"anyOf", Json::array({{{"type", "boolean"}}, Ref("parameter")})}};
    case ArgType::kInt:
    case ArgType::kFloat: {
      Json number = {{"type", arg.type == ArgType::kInt ? "integer" : "number"}};
      if (arg.min) number["minimum"] = *arg.min;
      if (arg.max) number["maximum"] = *arg.max;
      return {{"anyOf", Json::array({number, Ref("parameter")})}};
    }
    case ArgType::kBytes:
      return Ref("bytes");
    case ArgType::kSeconds:
      return Ref("seconds");
    case ArgType::kString:
      if (!arg.choices.empty()) return {{"anyOf", Json::array({{{"enum", arg.choices}}, Ref("parameter")})}};
      return Ref("text");
    case ArgType::kColumn:
      return Ref("text");
    case ArgType::kStringList:
      return Ref("texts");
    case ArgType::kBoolList:
      return Ref("bools");
    case ArgType::kStringMap:
    case ArgType::kTypeMap:
      return Ref("text_map");
    case ArgType::kAggregateMap:
      return Ref("aggregates");
    case ArgType::kExpression:
      return Ref("expression");
    case ArgType::kExpressionMap:
      return Ref("expressions");
    case ArgType::kSteps:
      return {{"type", "array"}, {"minItems", 1}, {"items", {{"$ref", "#/properties/steps/items"}}}};
    case ArgType::kJson:
      return Json::object();
  }
  return Json::object();
}

bool IsMapType(ArgType type) {
  return type == ArgType::kExpressionMap || type == ArgType::kAggregateMap || type == ArgType::kStringMap ||
         type == ArgType::kTypeMap;
}

Json ArgSchema(const ArgSpec& arg) {
  Json type = TypeSchema(arg);
  if (!arg.required && !type.empty()) type = {{"anyOf", Json::array({type, {{"type", "null"}}})}};
  type["description"] = arg.doc;
  const Json fallback = Json::parse(arg.default_json, nullptr, false);
  if (!fallback.is_discarded() && !fallback.is_null()) type["default"] = fallback;
  return type;
}

// `- random_shuffle`: a step that needs neither arguments nor the names of its inputs.
bool CanStandBare(const StepSpec& spec) {
  return !spec.takes_pair() &&
         std::none_of(spec.args.begin(), spec.args.end(), [](const ArgSpec& arg) { return arg.required; });
}

// The arguments as a map, or the first one alone.
Json ArgsSchema(const StepSpec& spec) {
  Json properties = Json::object(), required = Json::array();
  for (const ArgSpec& arg : spec.args) {
    properties[arg.name] = ArgSchema(arg);
    if (arg.required) required.push_back(arg.name);
  }
  Json map = {{"type", "object"}, {"properties", std::move(properties)}, {"additionalProperties", false}};
  if (!required.empty()) map["required"] = std::move(required);
  Json forms = Json::array({std::move(map)});
  if (!spec.args.empty()) forms.push_back(TypeSchema(spec.args[0]));
  if (!spec.args.empty() && IsMapType(spec.args[0].type) && spec.args.size() > 1) {
    forms.push_back({{"type", "object"}});  // its entries beside other arguments
  }
  if (CanStandBare(spec)) forms.push_back({{"type", "null"}});
  return {{"description", spec.summary}, {"anyOf", std::move(forms)}};
}

Json StepSchema(const StepSpec& spec, const std::string& name) {
  Json properties = {{name, Ref("args_" + spec.name)}, {"name", Ref("name")}, {"on_error", Ref("on_error")}};
  Json required = Json::array({name});
  if (spec.takes_pair()) {
    properties["input"] = Ref("input_pair");
    required.push_back("input");
  } else if (spec.kind != StepKind::kSource) {
    properties["input"] = Ref("input");
  }
  return {{"type", "object"},
          {"description", spec.summary},
          {"properties", std::move(properties)},
          {"required", std::move(required)},
          {"additionalProperties", false}};
}

Json CommonDefs() {
  const Json scalar = {{"type", Json::array({"string", "number", "boolean"})}};
  return {
      {"parameter",
       {{"type", "string"}, {"description", "A parameter like ${name}, or the value in quotes."}}},
      {"text", scalar},
      {"texts", {{"anyOf", Json::array({scalar, {{"type", "array"}, {"items", scalar}}})}}},
      {"bools",
       {{"anyOf", Json::array({{{"type", "boolean"}},
                               Ref("parameter"),
                               {{"type", "array"}, {"items", {{"type", "boolean"}}}, {"minItems", 1}}})}}},
      {"aggregates",
       {{"description", "A map of new column to an aggregate like sum(v) or count()."},
        {"anyOf", Json::array({{{"type", "object"}, {"additionalProperties", {{"type", "string"}}}},
                               {{"type", "array"}}})}}},
      {"text_map", {{"type", "object"}, {"additionalProperties", scalar}}},
      {"bytes",
       {{"description", "Bytes: 1048576, \"1MiB\", \"2GB\"."},
        {"anyOf", Json::array({{{"type", "integer"}, {"minimum", 0}}, {{"type", "string"}}})}}},
      {"seconds",
       {{"description", "Seconds: 10, \"500ms\", \"2m\"."},
        {"anyOf", Json::array({{{"type", "number"}, {"minimum", 0}}, {{"type", "string"}}})}}},
      {"expression",
       {{"description", "An expression with SQL's operators, as in width >= 256."},
        {"type", Json::array({"string", "number", "boolean", "object"})}}},
      {"expressions",
       {{"description", "Names of columns, or a map of column to expression."},
        {"anyOf", Json::array({scalar,
                               {{"type", "array"}},
                               {{"type", "object"},
                                {"additionalProperties",
                                 {{"anyOf", Json::array({Ref("expression"), {{"type", "null"}}})}}}}})}}},
      {"name",
       {{"description", "The name of the step; without one it is the step's kind."},
        {"type", "string"},
        {"pattern", "^[A-Za-z0-9_.-]{1,128}$"}}},
      {"input",
       {{"description",
         "The step above that the rows come from; of a union the list of them. Default: the step before."},
        {"anyOf", Json::array({{{"type", "string"}},
                               {{"type", "array"}, {"items", {{"type", "string"}}}, {"minItems", 1}}})}}},
      {"input_pair",
       {{"description", "The two steps above that the rows come from: the left one, then the right one."},
        {"type", "array"},
        {"items", {{"type", "string"}}},
        {"minItems", 2},
        {"maxItems", 2}}},
      {"on_error",
       {{"description", "What becomes of rows that the step cannot process."},
        {"enum", Json::array({"fail", "skip", "quarantine"})},
        {"default", "fail"}}},
  };
}

Json ParametersSchema() {
  const Json scalar = {{"type", Json::array({"string", "number", "boolean", "array", "null"})}};
  const Json full = {{"type", "object"},
                     {"properties",
                      {{"type", {{"enum", YamlParameterTypes()}}},
                       {"default", scalar},
                       {"description", {{"type", "string"}}}}},
                     {"additionalProperties", false}};
  return {{"type", "object"},
          {"description", "Values that --set can change; used as ${name}."},
          {"propertyNames", {{"pattern", "^[A-Za-z_][A-Za-z0-9_]*$"}}},
          {"additionalProperties", {{"anyOf", Json::array({full, scalar})}}}};
}

}  // namespace

Json PipelineJsonSchema() {
  Json defs = CommonDefs();
  Json items = Json::array(), bare = Json::array();
  for (const StepSpec* spec : AllSteps()) {
    if (spec->is_internal) continue;
    defs["args_" + spec->name] = ArgsSchema(*spec);
    std::vector<std::string> names = spec->aliases;
    names.insert(names.begin(), spec->name);
    for (const std::string& name : names) {
      items.push_back(StepSchema(*spec, name));
      if (CanStandBare(*spec)) bare.push_back(name);
    }
  }
  if (!bare.empty()) items.push_back({{"enum", std::move(bare)}});
  return {{"$schema", "https://json-schema.org/draft/2020-12/schema"},
          {"title", "Partita pipeline"},
          {"type", "object"},
          {"properties",
           {{"pipeline", {{"type", "string"}, {"description", "The name of the pipeline."}}},
            {"parameters", ParametersSchema()},
            {"options",
             {{"type", "object"},
              {"description", "Run options: memory, threads, ... They never change the output."}}},
            {"steps", {{"type", "array"}, {"minItems", 1}, {"items", {{"anyOf", std::move(items)}}}}}}},
          {"required", Json::array({"steps"})},
          {"additionalProperties", false},
          {"$defs", std::move(defs)}};
}

}  // namespace partita
