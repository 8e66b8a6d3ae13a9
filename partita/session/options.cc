#include "partita/session/options.h"

#include <charconv>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/block/schema.h"
#include "partita/memory/default_budget.h"
#include "partita/operator/resources.h"
#include "partita/pipeline/pipeline.h"
#include "partita/storage/storage_options.h"

namespace partita {
namespace {

Result<int> ParseCount(const std::string& text, int least, int most) {
  int value = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value < least || value > most) {
    return UserError("'" + text + "' is no number from " + std::to_string(least) + " to " +
                     std::to_string(most));
  }
  return value;
}

Result<bool> ParseSwitch(const std::string& text) {
  if (text == "1" || text == "true" || text == "yes" || text == "on" || text.empty()) return true;
  if (text == "0" || text == "false" || text == "no" || text == "off") return false;
  return UserError("'" + text + "' is neither true nor false");
}

std::string HintOf(const Status& status) {
  const auto* detail = DetailOf(status);
  return detail == nullptr ? "" : detail->context.hint;
}

std::vector<OptionSpec> MakeSpecs() {
  std::vector<OptionSpec> specs;
  specs.push_back({"memory", "BYTES", "the smaller of 70 % of the limit and 85 % of what is free",
                   "memory the run may hold, over all of reading, steps and writing (\"2GiB\")",
                   [](RunOptions* o, const std::string& v) {
                     ARROW_ASSIGN_OR_RAISE(o->memory_bytes, ParseBytes(v));
                     if (o->memory_bytes < 16 * kMiB)
                       return UserError("a budget of " + v + " is too small", "give at least 16MiB");
                     return Status::OK();
                   },
                   [](const RunOptions& o) {
                     return o.memory_bytes == 0 ? std::string() : std::to_string(o.memory_bytes);
                   }});
  specs.push_back(
      {"threads", "N", "the processors this process may use", "threads that work on the plan",
       [](RunOptions* o, const std::string& v) { return ParseCount(v, 0, 4096).Value(&o->threads); },
       [](const RunOptions& o) { return std::to_string(o.threads); }});
  specs.push_back({"spill-dir", "FOLDER", "beside the first output",
                   "local folder for what must leave memory",
                   [](RunOptions* o, const std::string& v) {
                     o->spill_dir = v;
                     return Status::OK();
                   },
                   [](const RunOptions& o) { return o.spill_dir; }});
  specs.push_back({"work-dir", "FOLDER", "~/.cache/partita/runs",
                   "local folder for the books of runs that write to S3: what is done, what is under way",
                   [](RunOptions* o, const std::string& v) {
                     o->work_dir = v;
                     return Status::OK();
                   },
                   [](const RunOptions& o) { return o.work_dir; }});
  specs.push_back({"storage-options", "NAME=VALUE,…", "AWS_ENDPOINT_URL, AWS_REGION",
                   "how S3 is asked: endpoint_url, region, anon, addressing; holds for the whole process",
                   [](RunOptions* o, const std::string& v) {
                     o->storage_options = v;
                     return SetStorageOptions(v);
                   },
                   [](const RunOptions& o) { return o.storage_options; }});
  specs.push_back({"resources", "NAME=COUNT,…", "none",
                   "how many licences, connections, … there are that workers of Python steps hold; holds for "
                   "all runs of the process",
                   [](RunOptions* o, const std::string& v) {
                     o->resources = v;
                     return ParseResources(v).status();
                   },
                   [](const RunOptions& o) { return o.resources; }});
  specs.push_back(
      {"engine", "NAME", "local",
       "where tasks run: local, processes[:N], ray, ray://HOST:PORT, dask, dask://HOST:PORT",
       [](RunOptions* o, const std::string& v) {
         const std::string scheme = v.substr(0, v.find(':'));
         const bool known = v == "local" || scheme == "processes" || scheme == "ray" || scheme == "dask";
         if (!known)
           return UserError("unknown engine '" + v + "'", "use one of: local, processes, ray, dask");
         o->engine = v;
         return Status::OK();
       },
       [](const RunOptions& o) { return o.engine; }});
  specs.push_back(
      {"exchange", "WHERE", "auto",
       "where rows between stages lie, of all exchanges and of those of a step (\"auto,sort=disk\"). memory: "
       "there "
       "where they fit and cost seconds to make again; disk: all are written beside the output, and after a "
       "kill "
       "none of their tasks is done again; nodes: on a cluster they stay on the disks of the nodes that made "
       "them, "
       "and what is lost with a node is made again; auto: memory, and nodes on a cluster where little is "
       "read to "
       "make them again and no Python function is called. `partita explain` tells",
       [](RunOptions* o, const std::string& v) { return ExchangeChoice::Parse(v).Value(&o->exchange); },
       [](const RunOptions& o) { return o.exchange.Text(); }});
  specs.push_back({"on-error", "POLICY", "as the steps say (fail)",
                   "fail, skip or quarantine: bad rows of steps that name no policy",
                   [](RunOptions* o, const std::string& v) {
                     ARROW_RETURN_NOT_OK(ParseOnError(v).status());
                     o->on_error = v;
                     return Status::OK();
                   },
                   [](const RunOptions& o) { return o.on_error; }});
  specs.push_back({"quarantine", "FOLDER", "_quarantine in the first output",
                   "where rows go that a step puts in quarantine; of a compiled plan it is fixed",
                   [](RunOptions* o, const std::string& v) {
                     o->quarantine = v;
                     return Status::OK();
                   },
                   [](const RunOptions& o) { return o.quarantine; }});
  specs.push_back(
      {"max-attempts", "N", "3", "how often a task is tried that fails for reasons outside the data",
       [](RunOptions* o, const std::string& v) { return ParseCount(v, 1, 1000).Value(&o->max_attempts); },
       [](const RunOptions& o) { return std::to_string(o.max_attempts); }});
  specs.push_back({"fresh", "", "false", "start over: remove an earlier output of Partita at the same place",
                   [](RunOptions* o, const std::string& v) { return ParseSwitch(v).Value(&o->fresh); },
                   [](const RunOptions& o) { return std::string(o.fresh ? "true" : "false"); }});
  return specs;
}

}  // namespace

const std::vector<OptionSpec>& RunOptionSpecs() {
  static const auto* specs = new std::vector<OptionSpec>(MakeSpecs());
  return *specs;
}

Status SetOption(RunOptions* options, std::string_view name, const std::string& value) {
  std::string dashed(name);
  for (auto& c : dashed) {
    if (c == '_') c = '-';
  }
  std::vector<std::string> names;
  for (const auto& spec : RunOptionSpecs()) {
    if (spec.name == dashed) {
      Status status = spec.set(options, value);
      if (status.ok()) return status;
      return UserError("option " + dashed + ": " + MessageOf(status), HintOf(status));
    }
    names.push_back(spec.name);
  }
  const auto nearest = NearestName(dashed, names);
  return UserError("unknown option '" + dashed + "'",
                   nearest.empty() ? "" : "did you mean '" + nearest + "'?");
}

Status ApplyEnvironment(RunOptions* options,
                        const std::function<const char*(const std::string&)>& get_variable) {
  for (const auto& spec : RunOptionSpecs()) {
    std::string variable = "PARTITA_";
    for (char c : spec.name)
      variable += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    if (const char* value = get_variable(variable)) {
      Status status = spec.set(options, value);
      if (!status.ok()) return UserError("variable " + variable + ": " + MessageOf(status), HintOf(status));
    }
  }
  return Status::OK();
}

Status ApplyJson(RunOptions* options, const Json& values) {
  if (!values.is_object()) return values.is_null() ? Status::OK() : UserError("options must be a mapping");
  for (const auto& [name, value] : values.items()) {
    ARROW_RETURN_NOT_OK(
        SetOption(options, name, value.is_string() ? value.get<std::string>() : value.dump()));
  }
  return Status::OK();
}

Result<RunOptions> ResolveOptions(RunOptions options, Env* env) {
  if (options.memory_bytes > 0 && options.threads > 0) return options;
  ARROW_ASSIGN_OR_RAISE(auto limits, env->Limits());
  if (options.memory_bytes <= 0) options.memory_bytes = DefaultBudgetBytes(limits);
  if (options.threads <= 0) options.threads = limits.cpus;
  return options;
}

}  // namespace partita
