#include "partita/pipeline/steps_markdown.h"

#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

// A table cell: one line, no cell border inside.
std::string Cell(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '|') out += '\\';
    out += c == '\n' ? ' ' : c;
  }
  return out;
}

std::string Number(double value) {
  const Json json = value == static_cast<double>(static_cast<int64_t>(value))
                        ? Json(static_cast<int64_t>(value))
                        : Json(value);
  return json.dump();
}

std::string DefaultOf(const ArgSpec& arg) {
  if (arg.required) return "required";
  const Json value = Json::parse(arg.default_json, nullptr, false);
  const bool bare = value.is_string() && (arg.type == ArgType::kBytes || arg.type == ArgType::kSeconds);
  return "`" + Cell(bare ? value.get<std::string>() : arg.default_json) + "`";
}

std::string LimitsOf(const ArgSpec& arg) {
  std::string text;
  for (const std::string& choice : arg.choices) text += (text.empty() ? " One of `" : ", `") + choice + "`";
  if (!text.empty()) text += ".";
  // "At least one path" is what `required` says already.
  const bool counted = arg.type == ArgType::kStringList || arg.type == ArgType::kStringMap ||
                       arg.type == ArgType::kTypeMap || arg.type == ArgType::kExpressionMap ||
                       arg.type == ArgType::kAggregateMap;
  if (counted) return text;
  if (arg.min && arg.max) return text + " From " + Number(*arg.min) + " to " + Number(*arg.max) + ".";
  if (arg.min) text += " At least " + Number(*arg.min) + ".";
  if (arg.max) text += " At most " + Number(*arg.max) + ".";
  return text;
}

std::string StepSection(const StepSpec& spec) {
  std::string out = "### " + spec.name + "\n\n" + spec.summary;
  if (spec.is_volatile) out += " Two runs may give other bytes.";
  out += "\n\n";
  if (!spec.aliases.empty()) {
    std::string names;
    for (const std::string& alias : spec.aliases) names += (names.empty() ? "`" : ", `") + alias + "`";
    out += "Also known as " + names + ".\n\n";
  }
  if (spec.args.empty()) return out + "No arguments.\n\n";
  out += "| argument | type | default | meaning |\n| --- | --- | --- | --- |\n";
  for (const ArgSpec& arg : spec.args) {
    out += "| `" + arg.name + "` | " + std::string(ArgTypeName(arg.type)) + " | " + DefaultOf(arg) + " | " +
           Cell(arg.doc) + LimitsOf(arg) + " |\n";
  }
  return out + "\n";
}

}  // namespace

std::string StepsMarkdown() {
  std::string out =
      "# Steps\n\n"
      "Every step, with its arguments in the order of the short form: `- limit: 100` gives the first one. "
      "How a pipeline file is written: [pipeline.md](pipeline.md).\n\n"
      "Types: `bytes` are written as 1048576 or 1MiB, `seconds` as 10 or 500ms, an `expression` with SQL's "
      "operators; a `string list` "
      "may be one string, a `bool list` one bool; a `type map` names a type for each column, an `aggregate "
      "map` an "
      "aggregate like sum(v) for each new column; `steps` are a list of steps, as in the file.\n\n";
  for (const auto& [kind, title] :
       {std::pair{StepKind::kSource, "Sources"}, std::pair{StepKind::kTransform, "Transforms"},
        std::pair{StepKind::kSink, "Sinks"}}) {
    out += std::string("## ") + title + "\n\n";
    for (const StepSpec* spec : AllSteps()) {
      if (spec->kind == kind && !spec->is_internal) out += StepSection(*spec);
    }
  }
  while (out.ends_with("\n\n")) out.pop_back();
  return out;
}

}  // namespace partita
