// partita validate: is the pipeline right? Nothing is run or written.
#include <arrow/type.h>

#include <cstdio>

#include "cli/load.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/compile/compile.h"
#include "partita/session/summary.h"

namespace partita::cli {
namespace {

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "validate FILE [OPTIONS]";
  spec.description =
      "Checks a pipeline.yaml (or a compiled plan.json): its structure, the names and values of arguments, "
      "and, against the first "
      "file of each source, the columns and types of every step. Says `ok`, or what is wrong with file, line "
      "and column. Runs nothing.";
  spec.min_positional = spec.max_positional = 1;
  spec.flags = {
      SetFlag(),
      OnErrorFlag(),
      {"no-sources", "", "check the file alone; look at no source"},
      {"schemas", "", "print the columns that each step gives"},
      {"json", "", "print the result as one JSON object"},
  };
  spec.examples =
      "  partita validate pipeline.yaml --schemas\n"
      "  partita validate pipeline.yaml --no-sources --set urls=later.parquet\n";
  return spec;
}

struct Checked {
  std::string name;
  size_t steps = 0;
  std::vector<std::pair<std::string, std::shared_ptr<arrow::Schema>>>
      schemas;  // of steps; empty with --no-sources
};

Result<Checked> Check(const std::string& file, const Arguments& arguments) {
  Session session(Env::Default());
  ARROW_ASSIGN_OR_RAISE(auto loaded, Load(file, arguments));
  ARROW_RETURN_NOT_OK(
      OptionsOf(arguments, loaded.is_plan ? loaded.compiled.options : loaded.pipeline.options).status());
  Checked checked;
  if (loaded.is_plan) {
    const auto& plan = loaded.compiled.plan;
    checked.name = plan.name;
    for (const auto& stage : plan.stages) {
      checked.steps += stage.nodes.size() + (stage.source.kind == PlanSource::Kind::kScan ? 1 : 0);
    }
    checked.steps += plan.sinks.size();
    return checked;
  }
  checked.name = loaded.pipeline.name;
  checked.steps = loaded.pipeline.steps.size();
  if (arguments.Has("no-sources")) return checked;
  const auto in_file = [&](const Status& status) { return InFile(status, file, loaded.pipeline); };
  auto snapshot = session.TakeSnapshot(loaded.pipeline, Session::Look::kSchema);
  if (!snapshot.ok()) return in_file(snapshot.status());
  auto schemas = StepSchemas(loaded.pipeline, *snapshot);
  if (!schemas.ok()) return in_file(schemas.status());
  auto plan = Compile(loaded.pipeline, *snapshot);
  if (!plan.ok()) return in_file(plan.status());
  for (size_t i = 0; i < schemas->size(); ++i)
    checked.schemas.emplace_back(loaded.pipeline.steps[i].name, (*schemas)[i]);
  return checked;
}

Json ToJson(const Checked& checked) {
  Json steps = Json::array();
  for (const auto& [name, schema] : checked.schemas) {
    steps.push_back({{"name", name}, {"columns", schema ? SchemaToJson(*schema) : Json()}});
  }
  return {{"ok", true}, {"pipeline", checked.name}, {"steps", std::move(steps)}};
}

void Print(const std::string& file, const Checked& checked, bool with_schemas) {
  std::printf("ok: %s: pipeline '%s', %zu steps\n", file.c_str(), checked.name.c_str(), checked.steps);
  if (!with_schemas) return;
  for (const auto& [name, schema] : checked.schemas) {
    std::printf("\n%s\n", name.c_str());
    if (!schema) continue;
    for (const auto& field : schema->fields()) {
      std::printf("  %s %s%s\n", field->name().c_str(), TypeToString(*field->type()).c_str(),
                  field->nullable() ? "" : " not null");
    }
  }
}

}  // namespace

int Validate(const std::vector<std::string>& words) {
  int exit_code = 0;
  auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  OnErrorAsOption(&*arguments);
  const auto& file = arguments->positional[0];
  auto checked = Check(file, *arguments);
  if (!checked.ok()) {
    if (arguments->Has("json"))
      std::fputs(PrettyJson({{"ok", false}, {"error", ErrorJson(checked.status())}}).c_str(), stdout);
    return Report(checked.status());
  }
  if (arguments->Has("json")) {
    std::fputs(PrettyJson(ToJson(*checked)).c_str(), stdout);
  } else {
    Print(file, *checked, arguments->Has("schemas"));
  }
  return 0;
}

}  // namespace partita::cli
