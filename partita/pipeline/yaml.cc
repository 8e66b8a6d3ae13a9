// pipeline.yaml -> Pipeline. yaml_reader.h reads values; here is what the file means.
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/yaml.h>

#include <sstream>

#include "partita/block/schema.h"
#include "partita/pipeline/arg_value.h"
#include "partita/pipeline/graph.h"
#include "partita/pipeline/group_steps.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"
#include "partita/pipeline/yaml_parameters.h"
#include "partita/pipeline/yaml_reader.h"

namespace partita {
namespace {

constexpr size_t kMaxFileBytes = 4 << 20;
constexpr size_t kMaxSteps = 10'000;
using Entry = YamlReader::Entry;

const std::vector<std::string>& FileKeys() {
  static const std::vector<std::string> keys = {"pipeline", "parameters", "options", "steps"};
  return keys;
}
const std::vector<std::string>& StepKeys() {
  static const std::vector<std::string> keys = {"name", "input", "on_error"};
  return keys;
}

bool IsIn(const std::vector<std::string>& keys, const std::string& key) {
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

bool IsMapType(ArgType type) {
  return type == ArgType::kExpressionMap || type == ArgType::kAggregateMap || type == ArgType::kStringMap ||
         type == ArgType::kTypeMap;
}

const StepSpec* FindPublicStep(const std::string& op) {
  const StepSpec* spec = FindStep(op);
  return spec == nullptr || spec->is_internal ? nullptr : spec;
}

class PipelineReader {
 public:
  PipelineReader(std::string_view file, const std::map<std::string, std::string>& set)
      : in_(file), set_(set) {}

  Result<Pipeline> Read(const YAML::Node& root) {
    if (!root.IsMap()) return in_.Error(root, "a pipeline file is a map with the key `steps`");
    ARROW_ASSIGN_OR_RAISE(const auto entries, in_.MapEntries(root));
    std::map<std::string, YAML::Node> sections;
    for (const Entry& entry : entries) {
      if (!IsIn(FileKeys(), entry.key)) return UnknownFileKey(entry);
      sections.emplace(entry.key, entry.value);
    }
    const auto parameters = sections.find("parameters");
    ARROW_ASSIGN_OR_RAISE(
        auto values,
        ReadYamlParameters(parameters == sections.end() ? YAML::Node() : parameters->second, set_, &in_));
    in_.SetParameters(std::move(values));
    if (const auto name = sections.find("pipeline"); name != sections.end()) {
      ARROW_ASSIGN_OR_RAISE(out_.name, in_.Name(name->second, "pipeline"));
    }
    if (const auto options = sections.find("options");
        options != sections.end() && !options->second.IsNull()) {
      if (!options->second.IsMap())
        return in_.Error(options->second, "options must be a map of option to value");
      ARROW_ASSIGN_OR_RAISE(out_.options, in_.Value(options->second));
    }
    const auto steps = sections.find("steps");
    if (steps == sections.end())
      return in_.Error(root, "the pipeline has no steps", "list them under `steps:`");
    ARROW_RETURN_NOT_OK(ReadSteps(steps->second));
    return std::move(out_);
  }

 private:
  Status UnknownFileKey(const Entry& entry) const {
    if (FindPublicStep(entry.key) != nullptr) {
      return in_.Error(entry.key_node, "the step '" + entry.key + "' stands outside of the steps",
                       "write it as an item of the list under `steps:`");
    }
    return UnknownKey(entry, "a pipeline file", FileKeys());
  }

  Status UnknownKey(const Entry& entry, const std::string& of, const std::vector<std::string>& known,
                    std::string hint = "") const {
    const std::string nearest = NearestName(entry.key, known);
    return in_.Error(
        entry.key_node,
        of + " has no key '" + entry.key + "'" + (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"),
        std::move(hint));
  }

  Status ReadSteps(const YAML::Node& list) {
    if (!list.IsSequence()) return in_.Error(list, "steps must be a list", "begin each step with `- `");
    if (list.size() == 0) return in_.Error(list, "the pipeline has no steps");
    if (list.size() > kMaxSteps)
      return in_.Error(list, "a pipeline has at most " + std::to_string(kMaxSteps) + " steps");
    // Names that people gave are kept free for them.
    for (const YAML::Node& item : list) {
      if (!item.IsMap()) continue;
      for (const auto& entry : item) {
        if (entry.first.IsScalar() && entry.first.Scalar() == "name" && entry.second.IsScalar()) {
          given_names_.insert(entry.second.Scalar());
        }
      }
    }
    for (const YAML::Node& item : list) ARROW_RETURN_NOT_OK(ReadStep(item));
    return Status::OK();
  }

  // Which step an item is: its name with its arguments, and the keys beside them.
  Result<const StepSpec*> ReadOp(const YAML::Node& item, Entry* op, std::map<std::string, YAML::Node>* keys) {
    if (item.IsScalar()) {
      *op = {item.Scalar(), item, YAML::Node(YAML::NodeType::Null)};
    } else if (item.IsMap()) {
      ARROW_ASSIGN_OR_RAISE(*op, SplitStep(item, keys));
    } else {
      return in_.Error(item, "a step is written as `- step: arguments`");
    }
    const StepSpec* spec = FindPublicStep(op->key);
    if (spec == nullptr) return in_.Located(op->key_node, UnknownStep(op->key));
    return spec;
  }

  Status ReadStep(const YAML::Node& item) {
    Entry op;
    std::map<std::string, YAML::Node> keys;
    ARROW_ASSIGN_OR_RAISE(const StepSpec* spec, ReadOp(item, &op, &keys));
    PipelineStep step;
    step.op = spec->name;
    step.line = op.key_node.Mark().line + 1;
    step.column = op.key_node.Mark().column + 1;
    ARROW_ASSIGN_OR_RAISE(step.name, StepName(*spec, keys));
    ARROW_RETURN_NOT_OK(ReadInputs(*spec, op, keys, &step));
    if (const auto on_error = keys.find("on_error"); on_error != keys.end()) {
      ARROW_ASSIGN_OR_RAISE(step.on_error, ReadOnError(step.op, on_error->second));
    }
    ARROW_ASSIGN_OR_RAISE(step.args, ReadArgs(*spec, op));
    out_.steps.push_back(std::move(step));
    return Status::OK();
  }

  Result<OnError> ReadOnError(const std::string& op, const YAML::Node& node) {
    ARROW_ASSIGN_OR_RAISE(const std::string text, in_.Text(node));
    auto policy = ParseOnError(text);
    if (!policy.ok()) return in_.Located(node, policy.status());
    ARROW_RETURN_NOT_OK(in_.Located(node, CheckOnError(op, *policy)));
    return policy;
  }

  // Steps that stand inside another: written as those of the file, without name and input.
  Result<Json> ReadInnerSteps(const YAML::Node& list) {
    if (!list.IsSequence()) return in_.Error(list, "steps must be a list", "begin each step with `- `");
    Json steps = Json::array();
    for (const YAML::Node& item : list) {
      ARROW_ASSIGN_OR_RAISE(Json step, ReadInnerStep(item));
      steps.push_back(std::move(step));
    }
    return steps;
  }

  Result<Json> ReadInnerStep(const YAML::Node& item) {
    Entry op;
    std::map<std::string, YAML::Node> keys;
    ARROW_ASSIGN_OR_RAISE(const StepSpec* spec, ReadOp(item, &op, &keys));
    ARROW_RETURN_NOT_OK(in_.Located(op.key_node, CheckGroupStep(*spec)));
    Json step = {{"op", spec->name}};
    for (const auto& [key, value] : keys) {
      if (key != "on_error") return in_.Error(value, "a step inside another has no '" + key + "'");
      ARROW_ASSIGN_OR_RAISE(const OnError policy, ReadOnError(spec->name, value));
      step["on_error"] = std::string(OnErrorName(policy));
    }
    ARROW_ASSIGN_OR_RAISE(step["args"], ReadArgs(*spec, op));
    return step;
  }

  // The one key that names the step, apart from name, input and on_error.
  Result<Entry> SplitStep(const YAML::Node& item, std::map<std::string, YAML::Node>* keys) {
    ARROW_ASSIGN_OR_RAISE(const auto entries, in_.MapEntries(item));
    const Entry* op = nullptr;
    for (const Entry& entry : entries) {
      if (IsIn(StepKeys(), entry.key)) {
        keys->emplace(entry.key, entry.value);
      } else if (op == nullptr ||
                 (FindPublicStep(op->key) == nullptr && FindPublicStep(entry.key) != nullptr)) {
        op = &entry;
      }
    }
    if (op == nullptr) return in_.Error(item, "which step? Only name, input and on_error are given");
    for (const Entry& entry : entries) {
      if (&entry == op || IsIn(StepKeys(), entry.key)) continue;
      const StepSpec* spec = FindPublicStep(op->key);
      if (spec != nullptr && FindPublicStep(entry.key) != nullptr) {
        return in_.Error(entry.key_node, "two steps in one item: '" + op->key + "' and '" + entry.key + "'",
                         "begin each step with `- `");
      }
      if (spec != nullptr && spec->FindArg(entry.key) != nullptr) {
        return in_.Error(entry.key_node,
                         "the argument '" + entry.key + "' stands beside its step '" + op->key + "'",
                         "indent it below the step, or write `" + op->key + ": {" + entry.key + ": ...}`");
      }
      return UnknownKey(entry, "a step", StepKeys(),
                        "arguments stand indented below their step, or in braces");
    }
    return *op;
  }

  Result<std::string> StepName(const StepSpec& spec, const std::map<std::string, YAML::Node>& keys) {
    if (const auto given = keys.find("name"); given != keys.end()) {
      ARROW_ASSIGN_OR_RAISE(const std::string name, in_.Name(given->second, "name"));
      ARROW_RETURN_NOT_OK(in_.Located(given->second, CheckStepName(name)));
      if (out_.Find(name) != nullptr) return in_.Error(given->second, "two steps are called '" + name + "'");
      return name;
    }
    std::string name = spec.name;
    for (int64_t i = 2; given_names_.count(name) > 0 || out_.Find(name) != nullptr; ++i) {
      name = spec.name + "_" + std::to_string(i);
    }
    return name;
  }

  Status ReadInputs(const StepSpec& spec, const Entry& op, const std::map<std::string, YAML::Node>& keys,
                    PipelineStep* step) {
    const auto given = keys.find("input");
    if (given == keys.end()) {
      if (spec.name == "union") {
        return in_.Error(op.key_node, "a union needs the names of its inputs",
                         "write input: [first, second]");
      }
      if (spec.takes_pair()) {
        return in_.Error(op.key_node, "a " + spec.name + " needs the names of its two inputs",
                         "write input: [left, right]");
      }
      if (spec.kind != StepKind::kSource && !DefaultInput(out_).empty()) step->inputs = {DefaultInput(out_)};
      return in_.Located(op.key_node, CheckInputs(out_, spec, *step));
    }
    if (given->second.IsSequence()) {
      for (const YAML::Node& item : given->second) {
        ARROW_ASSIGN_OR_RAISE(std::string name, in_.Name(item, "input"));
        step->inputs.push_back(std::move(name));
      }
    } else {
      ARROW_ASSIGN_OR_RAISE(std::string name, in_.Name(given->second, "input"));
      step->inputs = {std::move(name)};
    }
    return in_.Located(given->second, CheckInputs(out_, spec, *step));
  }

  Result<Json> ReadArgs(const StepSpec& spec, const Entry& op) {
    Json args = Json::object();
    if (op.value.IsMap()) {
      ARROW_RETURN_NOT_OK(ReadNamedArgs(spec, op.value, &args));
    } else if (!op.value.IsNull()) {
      // `- limit: 100`: the step's first argument.
      if (spec.args.empty()) return in_.Error(op.value, "step '" + spec.name + "' has no arguments");
      ARROW_RETURN_NOT_OK(ReadArg(spec, spec.args[0], op.value, &args));
    }
    for (const ArgSpec& arg : spec.args) {
      if (!arg.required || args.contains(arg.name)) continue;
      return in_.Located(op.key_node, NormaliseArg(spec, arg, Json()).status());
    }
    return args;
  }

  Status ReadNamedArgs(const StepSpec& spec, const YAML::Node& map, Json* args) {
    ARROW_ASSIGN_OR_RAISE(const auto entries, in_.MapEntries(map));
    // `with_columns: {area: width * height}`: unless the first argument is named, keys that are no arguments
    // are its entries.
    const bool takes_rest = !spec.args.empty() && IsMapType(spec.args[0].type) &&
                            std::none_of(entries.begin(), entries.end(),
                                         [&](const Entry& entry) { return entry.key == spec.args[0].name; });
    YAML::Node rest(YAML::NodeType::Map);
    for (const Entry& entry : entries) {
      if (const ArgSpec* arg = spec.FindArg(entry.key)) {
        ARROW_RETURN_NOT_OK(ReadArg(spec, *arg, entry.value, args));
      } else if (takes_rest) {
        rest.force_insert(entry.key_node, entry.value);
      } else {
        return in_.Located(entry.key_node, UnknownArg(spec, entry.key));
      }
    }
    return rest.size() == 0 ? Status::OK() : ReadArg(spec, spec.args[0], rest, args, &map);
  }

  // `place`: where errors point to, for a node that is made here.
  Status ReadArg(const StepSpec& spec, const ArgSpec& arg, const YAML::Node& node, Json* args,
                 const YAML::Node* place = nullptr) {
    Json value;
    if (arg.type == ArgType::kSteps && !node.IsNull()) {
      ARROW_ASSIGN_OR_RAISE(value, ReadInnerSteps(node));
    } else {
      ARROW_ASSIGN_OR_RAISE(value, in_.Argument(node, arg.type));
    }
    ARROW_RETURN_NOT_OK(
        in_.Located(place == nullptr ? node : *place, NormaliseArg(spec, arg, value).status()));
    if (!value.is_null()) (*args)[arg.name] = std::move(value);
    return Status::OK();
  }

  YamlReader in_;
  const std::map<std::string, std::string>& set_;
  std::set<std::string> given_names_;
  Pipeline out_;
};

// Line and column of the first byte that is no part of UTF-8 text; control characters are none either.
bool FindBadText(std::string_view text, YAML::Mark* at) {
  int line = 0, column = 0;
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    size_t length = lead < 0x80                   ? 1
                    : lead >= 0xC2 && lead < 0xE0 ? 2
                    : lead >= 0xE0 && lead < 0xF0 ? 3
                    : lead >= 0xF0 && lead < 0xF5 ? 4
                                                  : 0;
    bool good = length > 0 && i + length <= text.size() &&
                (lead >= 0x20 || lead == '\n' || lead == '\r' || lead == '\t') && lead != 0x7F;
    for (size_t k = 1; good && k < length; ++k)
      good = (static_cast<unsigned char>(text[i + k]) & 0xC0) == 0x80;
    if (good && length > 2) {  // overlong forms, surrogates, beyond U+10FFFF
      const auto second = static_cast<unsigned char>(text[i + 1]);
      good = !(lead == 0xE0 && second < 0xA0) && !(lead == 0xED && second >= 0xA0) &&
             !(lead == 0xF0 && second < 0x90) && !(lead == 0xF4 && second >= 0x90);
    }
    if (!good) {
      at->line = line;
      at->column = column;
      return true;
    }
    column = lead == '\n' ? 0 : column + 1;
    line += lead == '\n';
    i += length;
  }
  return false;
}

// Looks for content behind the first document. (YAML::LoadAll goes on for ever where text that is no YAML
// follows it.)
class SecondDocument final : public YAML::EventHandler {
 public:
  bool IsIn(std::string_view text) {
    std::istringstream stream{std::string(text)};
    YAML::Parser parser(stream);
    if (!parser.HandleNextDocument(*this)) return false;
    found_ = false;
    return parser.HandleNextDocument(*this) && found_;
  }
  YAML::Mark mark = YAML::Mark::null_mark();

 private:
  void Found(const YAML::Mark& at) {
    if (!found_) mark = at;
    found_ = true;
  }
  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
  void OnAlias(const YAML::Mark& at, YAML::anchor_t) override { Found(at); }
  void OnScalar(const YAML::Mark& at, const std::string&, YAML::anchor_t, const std::string&) override {
    Found(at);
  }
  void OnSequenceStart(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                       YAML::EmitterStyle::value) override {
    Found(at);
  }
  void OnSequenceEnd() override {}
  void OnMapStart(const YAML::Mark& at, const std::string&, YAML::anchor_t,
                  YAML::EmitterStyle::value) override {
    Found(at);
  }
  void OnMapEnd() override {}

  bool found_ = false;
};

}  // namespace

Result<Pipeline> ParsePipelineYaml(std::string_view text, std::string_view file,
                                   const std::map<std::string, std::string>& set) {
  const YamlReader in(file);
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.size() > kMaxFileBytes) return in.Error(YAML::Mark::null_mark(), "the file is larger than 4 MiB");
  YAML::Mark bad = YAML::Mark::null_mark();
  if (FindBadText(text, &bad)) return in.Error(bad, "the file is no UTF-8 text", "save it as UTF-8");
  try {
    SecondDocument second;
    if (second.IsIn(text)) {
      return in.Error(second.mark, "the file holds two documents", "keep one pipeline a file");
    }
    const YAML::Node document = YAML::Load(std::string(text));
    if (document.IsNull()) {
      return in.Error(YAML::Mark::null_mark(), "the file is empty", "list steps under `steps:`");
    }
    return PipelineReader(file, set).Read(document);
  } catch (const YAML::Exception& error) {
    return in.Error(error.mark, "this is no YAML: " + error.msg);
  } catch (const std::exception& error) {
    return in.Error(YAML::Mark::null_mark(), std::string("this is no YAML: ") + error.what());
  }
}

}  // namespace partita
