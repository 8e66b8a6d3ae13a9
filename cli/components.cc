// partita components: the steps of this build, and one of them in full.
#include <cstdio>

#include "cli/arguments.h"
#include "cli/table.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"
#include "partita/pipeline/steps_markdown.h"

namespace partita::cli {
namespace {

constexpr size_t kWidth = 110, kListColumn = 28, kDocColumn = 44;

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "components [NAME] [OPTIONS]";
  spec.description = "Lists the steps a pipeline can have, or tells one step's arguments.";
  spec.max_positional = 1;
  spec.flags = {
      {"json", "", "print it as JSON"},
      {"markdown", "", "all steps as a page of documentation: `docs/steps.md` is this text"},
  };
  spec.examples = "  partita components resize_images\n";
  return spec;
}

Json DefaultOf(const ArgSpec& arg) { return Json::parse(arg.default_json, nullptr, false); }

Json ArgJson(const ArgSpec& arg) {
  Json json = {{"name", arg.name},
               {"type", std::string(ArgTypeName(arg.type))},
               {"required", arg.required},
               {"doc", arg.doc}};
  if (!arg.required) json["default"] = DefaultOf(arg);
  if (!arg.choices.empty()) json["choices"] = arg.choices;
  if (arg.min) json["min"] = *arg.min;
  if (arg.max) json["max"] = *arg.max;
  return json;
}

Json StepJson(const StepSpec& spec) {
  Json args = Json::array();
  for (const auto& arg : spec.args) args.push_back(ArgJson(arg));
  return {{"name", spec.name},
          {"version", spec.version},
          {"kind", std::string(StepKindName(spec.kind))},
          {"summary", spec.summary},
          {"volatile", spec.is_volatile},
          {"aliases", spec.aliases},
          {"args", std::move(args)}};
}

std::string ChoicesOf(const ArgSpec& arg) {
  std::string text;
  for (const auto& choice : arg.choices) text += (text.empty() ? " One of: " : ", ") + choice;
  return text.empty() ? "" : text + ".";
}

void PrintStep(const StepSpec& spec) {
  std::printf("%s (%s, version %s)%s\n%s\n", spec.name.c_str(), std::string(StepKindName(spec.kind)).c_str(),
              spec.version.c_str(), spec.is_volatile ? ", volatile: two runs may give other bytes" : "",
              spec.summary.c_str());
  for (const auto& alias : spec.aliases) std::printf("also known as %s\n", alias.c_str());
  if (spec.args.empty()) return;
  std::printf("\nArguments:\n");
  for (const auto& arg : spec.args) {
    const std::string head = "  " + arg.name + "  " + std::string(ArgTypeName(arg.type)) +
                             (arg.required ? "  (required)" : "  [" + arg.default_json + "]");
    std::fputs(WrapText(head, arg.doc + ChoicesOf(arg), kDocColumn, kWidth).c_str(), stdout);
  }
}

void PrintList(const std::vector<const StepSpec*>& steps) {
  for (const StepKind kind : {StepKind::kSource, StepKind::kTransform, StepKind::kSink}) {
    std::printf("%ss\n", std::string(StepKindName(kind)).c_str());
    for (const auto* spec : steps) {
      if (spec->kind == kind)
        std::fputs(WrapText("  " + spec->name, spec->summary, kListColumn, kWidth).c_str(), stdout);
    }
  }
  std::printf("\n`partita components NAME` tells a step's arguments.\n");
}

}  // namespace

int Components(const std::vector<std::string>& words) {
  int exit_code = 0;
  const auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  if (arguments->Has("markdown")) {
    std::fputs(StepsMarkdown().c_str(), stdout);
    return 0;
  }
  if (!arguments->positional.empty()) {
    const auto* spec = FindStep(arguments->positional[0]);
    if (spec == nullptr || spec->is_internal) return Report(UnknownStep(arguments->positional[0]));
    if (arguments->Has("json")) {
      std::fputs(PrettyJson(StepJson(*spec)).c_str(), stdout);
    } else {
      PrintStep(*spec);
    }
    return 0;
  }
  auto steps = AllSteps();
  std::erase_if(steps, [](const StepSpec* spec) { return spec->is_internal; });
  if (arguments->Has("json")) {
    Json list = Json::array();
    for (const auto* spec : steps) list.push_back(StepJson(*spec));
    std::fputs(PrettyJson(list).c_str(), stdout);
  } else {
    PrintList(steps);
  }
  return 0;
}

}  // namespace partita::cli
