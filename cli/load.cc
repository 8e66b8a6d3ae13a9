#include "cli/load.h"

#include <cstdio>

#include "partita/base/json.h"

namespace partita::cli {
namespace {

constexpr int64_t kMaxDocumentBytes = int64_t{512} << 20;

Result<std::map<std::string, std::string>> ParametersOf(const Arguments& arguments) {
  std::map<std::string, std::string> set;
  const auto it = arguments.flags.find("set");
  if (it == arguments.flags.end()) return set;
  for (const auto& word : it->second) {
    const auto equals = word.find('=');
    if (equals == std::string::npos || equals == 0)
      return UserError("--set takes NAME=VALUE; got '" + word + "'");
    set[word.substr(0, equals)] = word.substr(equals + 1);
  }
  return set;
}

}  // namespace

Result<Loaded> Load(const std::string& file, const Arguments& arguments) {
  Loaded loaded;
  auto text = ReadSmallFile(Env::Default(), file, kMaxDocumentBytes);
  if (!text.ok()) {
    // Which file it is, is the user's choice: not a fault of the machine.
    return UserError("cannot read the pipeline: " + MessageOf(text.status()),
                     "name a pipeline.yaml or a compiled plan.json");
  }
  ARROW_ASSIGN_OR_RAISE(const auto set, ParametersOf(arguments));
  if (file.ends_with(".json")) {
    if (!set.empty())
      return UserError("--set has no effect on a compiled plan", "give --set to `partita compile`");
    for (const auto& [name, value] : arguments.run_options) {
      if (name != "quarantine") continue;
      return UserError("--quarantine has no effect on a compiled plan",
                       "give it to `partita run` of the pipeline");
    }
    auto compiled = CompiledPlan::FromText(*text);
    if (!compiled.ok()) return WithContext(compiled.status(), {.file = file});
    loaded.compiled = std::move(*compiled);
    loaded.is_plan = true;
    return loaded;
  }
  ARROW_ASSIGN_OR_RAISE(loaded.pipeline, ParsePipelineYaml(*text, file, set));
  return loaded;
}

Result<Loaded> LoadAndCompile(Session* session, const std::string& file, const Arguments& arguments,
                              RunOptions* options) {
  ARROW_ASSIGN_OR_RAISE(auto loaded, Load(file, arguments));
  ARROW_ASSIGN_OR_RAISE(
      *options, OptionsOf(arguments, loaded.is_plan ? loaded.compiled.options : loaded.pipeline.options));
  if (loaded.is_plan) return loaded;
  if (!options->on_error.empty()) {
    ARROW_ASSIGN_OR_RAISE(auto policy, ParseOnError(options->on_error));
    for (auto& step : loaded.pipeline.steps) {
      if (step.on_error == OnError::kFail && CanHaveBadRows(step.op)) step.on_error = policy;
    }
  }
  if (!options->quarantine.empty()) loaded.pipeline.options["quarantine"] = options->quarantine;
  auto compiled = session->CompilePipeline(loaded.pipeline);
  if (!compiled.ok()) return InFile(compiled.status(), file, loaded.pipeline);
  loaded.compiled = std::move(*compiled);
  return loaded;
}

Status InFile(const Status& status, const std::string& file, const Pipeline& pipeline) {
  if (status.ok() || status.message().starts_with(file)) return status;
  int line = 0, column = 0, prefix = 0;
  if (std::sscanf(status.message().c_str(), "line %d, column %d: %n", &line, &column, &prefix) < 2 ||
      prefix == 0) {
    const auto* detail = DetailOf(status);
    const auto* step = detail == nullptr ? nullptr : pipeline.Find(detail->context.step);
    if (step == nullptr || step->line <= 0) return status;
    line = step->line, column = step->column, prefix = 0;
  }
  const std::string where = file + ":" + std::to_string(line) + ":" + std::to_string(column) + ": ";
  return Status(status.code(), where + status.message().substr(static_cast<size_t>(prefix)), status.detail());
}

FlagSpec SetFlag() { return {"set", "NAME=VALUE", "a parameter of the pipeline; may be given again", true}; }

FlagSpec OnErrorFlag() {
  return {"on-error", "POLICY",
          "fail, skip or quarantine: bad rows of steps that name no policy [as the steps say (fail)]"};
}

void OnErrorAsOption(Arguments* arguments) {
  if (arguments->Has("on-error")) arguments->run_options.emplace_back("on-error", arguments->Get("on-error"));
}

}  // namespace partita::cli
