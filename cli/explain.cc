// partita explain: the plan as people read it.
#include "partita/compile/compile.h"

#include <cstdio>

#include "cli/load.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/engine/exchange_places.h"

namespace partita::cli {
namespace {

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "explain FILE [OPTIONS]";
  spec.description =
      "Shows the plan of a pipeline.yaml or a compiled plan.json: stages and their partitions, the columns "
      "and filters that reach the "
      "sources, what is written where, and the least memory it can run in. Runs nothing.";
  spec.min_positional = spec.max_positional = 1;
  spec.flags = {
      SetFlag(),
      OnErrorFlag(),
      {"exchange", "WHERE", "as of `partita run`: where rows between stages lie is told for this choice"},
      {"json", "", "print it as one JSON object: hashes, least memory, stages, text"}};
  spec.examples = "  partita explain pipeline.yaml\n";
  return spec;
}

Status ExplainFile(const Arguments& arguments) {
  Session session(Env::Default());
  RunOptions options;
  ARROW_ASSIGN_OR_RAISE(auto loaded, LoadAndCompile(&session, arguments.positional[0], arguments, &options));
  const auto& compiled = loaded.compiled;
  ARROW_ASSIGN_OR_RAISE(const auto text, partita::Explain(compiled.plan, compiled.snapshot));
  if (arguments.Has("exchange"))
    ARROW_RETURN_NOT_OK(SetOption(&options, "exchange", arguments.Get("exchange")));
  ARROW_RETURN_NOT_OK(options.exchange.Check(compiled.plan));
  const auto placed = PlaceExchanges(compiled.plan, compiled.snapshot, options.exchange);
  if (!arguments.Has("json")) {
    std::fputs(text.c_str(), stdout);
    std::fputs(DescribePlaces(compiled.plan, placed).c_str(), stdout);
    return Status::OK();
  }
  Json exchanges = Json::array();
  for (size_t x = 0; x < placed.size(); ++x)
    exchanges.push_back({{"step", compiled.plan.exchanges[x].step},
                         {"on_nodes", placed[x].on_nodes},
                         {"why", placed[x].why}});
  Json stages = Json::array();
  for (size_t i = 0; i < compiled.plan.stages.size(); ++i) {
    Json partitions;  // null: known once the exchange before it is
    if (compiled.plan.stages[i].source.kind == PlanSource::Kind::kScan) {
      ARROW_ASSIGN_OR_RAISE(const auto cut,
                            ScanPartitions(compiled.plan, static_cast<int>(i), compiled.snapshot));
      partitions = cut.size();
    }
    stages.push_back({{"stage", i}, {"partitions", std::move(partitions)}});
  }
  std::fputs(PrettyJson({{"pipeline", compiled.plan.name},
                         {"plan", compiled.plan_hash},
                         {"snapshot", compiled.snapshot_hash},
                         {"least_memory_bytes", LeastBudgetBytes(compiled.plan)},
                         {"stages", std::move(stages)},
                         {"exchanges", std::move(exchanges)},
                         {"text", text}})
                 .c_str(),
             stdout);
  return Status::OK();
}

}  // namespace

int Explain(const std::vector<std::string>& words) {
  int exit_code = 0;
  auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  OnErrorAsOption(&*arguments);
  return Report(ExplainFile(*arguments));
}

}  // namespace partita::cli
