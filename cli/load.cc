#include "cli/load.h"

#include "partita/base/json.h"

namespace partita::cli {

Result<Loaded> Load(const std::string& file, const Arguments& arguments) {
  Loaded loaded;
  auto text = ReadSmallFile(Env::Default(), file, 512 << 20);
  if (!text.ok()) {
    return UserError("cannot read '" + file + "': " + MessageOf(text.status()), "name a pipeline.yaml or a compiled plan.json");
  }
  if (file.ends_with(".json")) {
    ARROW_ASSIGN_OR_RAISE(loaded.compiled, CompiledPlan::FromText(*text));
    loaded.is_plan = true;
    return loaded;
  }
  std::map<std::string, std::string> set;
  if (auto it = arguments.flags.find("set"); it != arguments.flags.end()) {
    for (const auto& word : it->second) {
      const auto equals = word.find('=');
      if (equals == std::string::npos) return UserError("--set takes NAME=VALUE; got '" + word + "'");
      set[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }
  ARROW_ASSIGN_OR_RAISE(loaded.pipeline, ParsePipelineYaml(*text, file, set));
  return loaded;
}

Result<Loaded> LoadAndCompile(Session* session, const std::string& file, const Arguments& arguments, RunOptions* options) {
  ARROW_ASSIGN_OR_RAISE(auto loaded, Load(file, arguments));
  ARROW_ASSIGN_OR_RAISE(*options, OptionsOf(arguments, loaded.is_plan ? loaded.compiled.options : loaded.pipeline.options));
  if (loaded.is_plan) return loaded;
  if (!options->on_error.empty()) {
    ARROW_ASSIGN_OR_RAISE(auto policy, ParseOnError(options->on_error));
    for (auto& step : loaded.pipeline.steps) {
      if (step.on_error == OnError::kFail) step.on_error = policy;
    }
  }
  ARROW_ASSIGN_OR_RAISE(loaded.compiled, session->CompilePipeline(loaded.pipeline));
  return loaded;
}

}  // namespace partita::cli
