// Run options: how a plan is computed. Never part of the plan. One table: the CLI's flags, PARTITA_*
// variables, pt.options, YAML's `options:` and the docs derive from it.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/engine/exchange_places.h"

namespace partita {

struct RunOptions {
  int64_t memory_bytes = 0;     // the budget; 0: DefaultBudgetBytes
  int threads = 0;              // 0: the processors this process may use
  std::string spill_dir;        // "": beside the first output
  std::string work_dir;         // books of runs that write to object stores; "": the user's cache
  std::string storage_options;  // storage/storage_options.h; of the whole process once set
  std::string resources;        // operator/resources.h
  std::string engine = "local";
  ExchangeChoice exchange;  // where rows lie between stages
  std::string on_error;     // "": as the steps say; else the policy of every step that names none
  std::string quarantine;   // "": <first output>/_quarantine; fixed when the pipeline is compiled
  int max_attempts = 3;     // of a task that fails for reasons outside the data
  bool fresh = false;       // start over: remove an earlier output of Partita at the same place
};

struct OptionSpec {
  std::string name;          // "memory": --memory, PARTITA_MEMORY, pt.options.memory, options: {memory: …}
  std::string value;         // what stands in the help: "BYTES", "N"; "" for a switch
  std::string default_text;  // "70 % of the limit, or 85 % of what is free"
  std::string doc;
  std::function<Status(RunOptions*, const std::string&)> set;
  std::function<std::string(const RunOptions&)> get;
};
const std::vector<OptionSpec>& RunOptionSpecs();
Status SetOption(RunOptions* options, std::string_view name, const std::string& value);
// Applies PARTITA_<NAME> variables found by `get_variable`.
Status ApplyEnvironment(RunOptions* options,
                        const std::function<const char*(const std::string&)>& get_variable);
Status ApplyJson(RunOptions* options, const Json& values);  // YAML's `options:`

// Fills in what is 0: budget and threads of this machine.
Result<RunOptions> ResolveOptions(RunOptions options, Env* env);

}  // namespace partita
