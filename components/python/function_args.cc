#include "components/python/function_args.h"

#include <arrow/type.h>

#include <algorithm>
#include <set>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/block/schema.h"
#include "partita/operator/payload.h"
#include "partita/pipeline/keys.h"

namespace partita {
namespace {

constexpr int64_t kMostBatchRows = 1 << 30;
constexpr double kMostOfAResource = 1e9;

// "a: int64, b: string" is what a struct's type has between its brackets.
Result<std::shared_ptr<arrow::Schema>> ParseColumns(const std::string& text) {
  const bool whole = text.starts_with("struct<");
  auto type = ParseType(whole ? text : "struct<" + text + ">");
  if (!type.ok() || (*type)->id() != arrow::Type::STRUCT) {
    return UserError(
        "schema must name columns and types like `id: int64, vector: fixed_size_list<float>[64]`" +
        (type.ok() ? std::string() : ": " + MessageOf(type.status())));
  }
  std::set<std::string> names;
  for (const auto& field : (*type)->fields()) {
    if (!names.insert(field->name()).second)
      return UserError("schema names column '" + field->name() + "' twice");
  }
  return arrow::schema((*type)->fields());
}

Status ParseBatchSize(const Json& args, FunctionArgs* out) {
  const auto it = args.find("batch_size");
  if (it == args.end() || it->is_null()) return Status::OK();
  if (it->is_number_integer() && it->get<int64_t>() >= 1 && it->get<int64_t>() <= kMostBatchRows) {
    out->batch_rows = it->get<int64_t>();
    return Status::OK();
  }
  // A plain number in quotes, as a parameter may give it, is told: it could mean rows or bytes.
  const auto text = it->is_string() ? it->get<std::string>() : std::string();
  const bool has_unit = text.find_first_not_of("0123456789. ") != std::string::npos;
  const auto bytes = has_unit ? ParseBytes(text) : Result<int64_t>(int64_t{0});
  if (text == "partition" || (bytes.ok() && *bytes > 0)) {
    out->batch_rows = INT64_MAX;
    out->batch_bytes = text == "partition" ? 0 : *bytes;
    return Status::OK();
  }
  return UserError("batch_size must be a number of rows from 1 on, bytes like `64MiB`, or `partition`");
}

Status ParseResources(const Json& args, FunctionArgs* out) {
  const auto it = args.find("resources");
  if (it == args.end() || it->is_null()) return Status::OK();
  const std::string wrong = "resources must name what a worker holds and how many of it, like {licence: 1}";
  if (!it->is_object()) return UserError(wrong);
  for (const auto& [name, count] : it->items()) {
    if (name.empty() || name.find_first_of("=,") != std::string::npos || !count.is_number() ||
        !(count.get<double>() > 0 && count.get<double>() <= kMostOfAResource))
      return UserError(wrong);
    out->resources[name] = count.get<double>();
  }
  return Status::OK();
}

Status CheckFn(const std::string& fn) {
  if (fn.starts_with(kPayloadPrefix)) return Status::OK();
  const size_t colon = fn.find(':');
  if (colon != std::string::npos && colon > 0 && colon + 1 < fn.size()) return Status::OK();
  return UserError("fn must name a function like `package.module:function`, not '" + fn + "'",
                   "in Python, give the function itself to ds.map_batches");
}

Result<StepBinding> Bind(FunctionKind kind, const Json& args, const std::shared_ptr<arrow::Schema>& input) {
  ARROW_ASSIGN_OR_RAISE(const FunctionArgs parsed, ParseFunctionArgs(kind, args));
  if (kind == FunctionKind::kMapGroups) ARROW_RETURN_NOT_OK(CheckKeys("map_groups", parsed.by, *input));
  StepBinding binding;
  binding.reads_all = true;
  binding.is_volatile = !parsed.deterministic;
  if (parsed.schema == nullptr) {
    binding.output = input;
    return binding;
  }
  binding.drops_others = true;
  binding.output = parsed.schema;
  for (const auto& field : parsed.schema->fields()) binding.writes.push_back(field->name());
  return binding;
}

}  // namespace

std::string_view FunctionStepName(FunctionKind kind) {
  switch (kind) {
    case FunctionKind::kMapBatches:
      return "map_batches";
    case FunctionKind::kMap:
      return "map";
    case FunctionKind::kFlatMap:
      return "flat_map";
    case FunctionKind::kFilterRows:
      return "filter_rows";
    case FunctionKind::kMapGroups:
      return "map_groups";
  }
  return "map_batches";
}

Result<FunctionArgs> ParseFunctionArgs(FunctionKind kind, const Json& args) {
  FunctionArgs out;
  if (kind == FunctionKind::kMapGroups && args.value("fn", Json()).is_null()) {
    return UserError("map_groups needs `steps` or a Python function",
                     "write steps: [{sort: {by: [v]}}, {limit: 3}], or fn: package.module:name");
  }
  ARROW_ASSIGN_OR_RAISE(out.fn, GetString(args, "fn"));
  ARROW_RETURN_NOT_OK(CheckFn(out.fn));
  ARROW_ASSIGN_OR_RAISE(const std::string schema, GetStringOr(args, "schema", ""));
  if (kind != FunctionKind::kFilterRows) {
    if (schema.empty()) {
      return UserError("the columns that the function returns are not known",
                       "say them: schema: \"id: int64, text: string\"");
    }
    ARROW_ASSIGN_OR_RAISE(out.schema, ParseColumns(schema));
  }
  ARROW_RETURN_NOT_OK(ParseBatchSize(args, &out));
  ARROW_ASSIGN_OR_RAISE(out.by, GetStringsOr(args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(out.per_row, GetBoolOr(args, "per_row", false));
  ARROW_ASSIGN_OR_RAISE(out.batch_format, GetStringOr(args, "batch_format", "numpy"));
  ARROW_ASSIGN_OR_RAISE(const std::string compute, GetStringOr(args, "compute", "processes"));
  out.compute = compute == "inline"    ? FunctionArgs::Compute::kInline
                : compute == "threads" ? FunctionArgs::Compute::kThreads
                                       : FunctionArgs::Compute::kProcesses;
  ARROW_ASSIGN_OR_RAISE(out.max_workers, GetIntOr(args, "concurrency", 0));
  ARROW_ASSIGN_OR_RAISE(out.min_workers, GetIntOr(args, "min_concurrency", 0));
  if (out.compute != FunctionArgs::Compute::kProcesses) {
    for (const char* arg : {"timeout", "memory", "min_concurrency", "num_gpus", "resources"}) {
      if (args.contains(arg) && !args.at(arg).is_null() && args.at(arg) != 0) {
        return UserError(std::string(arg) + " needs a process that can be ended: the function runs in " +
                             (compute == "inline" ? "this one" : "threads"),
                         "leave out `" + std::string(arg) + "` or `compute`");
      }
    }
  }
  if (out.max_workers > 0 && out.min_workers > out.max_workers) {
    return UserError("min_concurrency is larger than concurrency");
  }
  ARROW_ASSIGN_OR_RAISE(out.memory_bytes, GetIntOr(args, "memory", 0));
  ARROW_ASSIGN_OR_RAISE(out.cpus, GetDoubleOr(args, "num_cpus", 1));
  ARROW_ASSIGN_OR_RAISE(out.gpus, GetDoubleOr(args, "num_gpus", 0));
  ARROW_RETURN_NOT_OK(ParseResources(args, &out));
  ARROW_ASSIGN_OR_RAISE(out.deterministic, GetBoolOr(args, "deterministic", true));
  ARROW_ASSIGN_OR_RAISE(out.timeout_s, GetDoubleOr(args, "timeout", 0));
  ARROW_ASSIGN_OR_RAISE(out.retries, GetIntOr(args, "retries", 1));
  return out;
}

StepSpec FunctionSpec(FunctionKind kind) {
  StepSpec spec;
  spec.name = FunctionStepName(kind);
  const bool groups = kind == FunctionKind::kMapGroups;
  const bool batches = kind == FunctionKind::kMapBatches || groups;
  const char* what = "";
  switch (kind) {
    case FunctionKind::kMapBatches:
      what = "Runs a Python function on batches of rows, in worker processes.";
      break;
    case FunctionKind::kMap:
      what = "Makes a row of every row with a Python function, in worker processes.";
      break;
    case FunctionKind::kFlatMap:
      what = "Makes any number of rows of every row with a Python function, in worker processes.";
      break;
    case FunctionKind::kFilterRows:
      what = "Keeps the rows for which a Python function is true; it runs in worker processes.";
      break;
    case FunctionKind::kMapGroups:
      what =
          "Runs native steps on each group of rows with equal keys: `sort`, `limit` and `with_row_index` "
          "mean "
          "the rows of a group, and steps of one row after the other what they mean outside. Or a Python "
          "function, in worker processes; for that the rows must stand together: behind repartition with the "
          "same `by`.";
      break;
  }
  spec.summary = what;
  spec.args = {{.name = "fn",
                .type = ArgType::kString,
                .required = !groups,
                .doc = "The function or class, as `package.module:name`; Python must find the module."}};
  if (kind != FunctionKind::kFilterRows) {
    spec.args.push_back({.name = "schema",
                         .type = ArgType::kString,
                         .doc =
                             "The columns it returns, like `id: int64, text: string`. Needed in a pipeline "
                             "file; Python asks the function itself when it is left out."});
  }
  if (groups) {
    spec.args.push_back({.name = "by",
                         .type = ArgType::kStringList,
                         .required = true,
                         .doc = "Key columns. Nulls are equal to each other."});
    spec.args.push_back({.name = "steps",
                         .type = ArgType::kSteps,
                         .doc =
                             "Steps that run on each group, instead of a function; `by` alone stands beside "
                             "them."});
  } else {
    spec.args.push_back({.name = "batch_size",
                         .type = ArgType::kJson,
                         .default_json = "1024",
                         .doc =
                             "Rows of a batch, counted in the partition of the step's input; or the bytes of "
                             "their values, like `64MiB`; or `partition`: all of it."});
  }
  if (batches) {
    spec.args.push_back(
        {.name = "batch_format",
         .type = ArgType::kString,
         .default_json = "\"numpy\"",
         .choices = {"numpy", "arrow", "pandas", "polars", "torch", "jax"},
         .doc = "What the function gets: a dict of NumPy arrays or torch tensors, a RecordBatch, a "
                "DataFrame."});
  }
  if (batches && !groups) {
    spec.args.push_back({.name = "per_row",
                         .type = ArgType::kBool,
                         .default_json = "false",
                         .doc = "Whether it makes a row of each row, in their order, whatever else is in the "
                                "batch. It is held "
                                "to it, and training ingest skips into its rows."});
  }
  const std::vector<ArgSpec> shared = {
      {.name = "fn_args", .type = ArgType::kJson, .doc = "A list of further arguments of every call."},
      {.name = "fn_kwargs", .type = ArgType::kJson, .doc = "A map of keyword arguments of every call."},
      {.name = "fn_constructor_args", .type = ArgType::kJson, .doc = "A list of arguments of the class."},
      {.name = "fn_constructor_kwargs",
       .type = ArgType::kJson,
       .doc = "A map of keyword arguments of the class."},
      {.name = "compute",
       .type = ArgType::kString,
       .default_json = "\"processes\"",
       .choices = {"processes", "threads", "inline"},
       .doc = "Where it runs: in worker processes; in threads of the process that runs the pipeline, for "
              "functions "
              "that let go of Python's lock; inline: in one such thread, for debuggers. `partita run` has "
              "processes "
              "alone."},
      {.name = "concurrency",
       .type = ArgType::kInt,
       .min = 1,
       .max = 1024,
       .doc = "Worker processes or threads at most; null: as many as the run has threads."},
      {.name = "min_concurrency",
       .type = ArgType::kInt,
       .default_json = "0",
       .min = 0,
       .max = 1024,
       .doc = "Worker processes that stay though nothing waits for them."},
      {.name = "memory",
       .type = ArgType::kBytes,
       .min = 1 << 20,
       .doc = "Bytes that a worker may allocate beside what it has after its start: claimed from the budget, "
              "and "
              "more is an error of the function. null: not fenced."},
      {.name = "num_cpus",
       .type = ArgType::kFloat,
       .default_json = "1.0",
       .min = 0.01,
       .max = 1024,
       .doc = "Processor cores that a worker keeps busy: without `concurrency` there are as many workers as "
              "fit in the "
              "run's threads, one at least."},
      {.name = "num_gpus",
       .type = ArgType::kFloat,
       .default_json = "0.0",
       .min = 0,
       .max = 64,
       .doc = "GPUs of a worker, or a share of one like 0.5: CUDA_VISIBLE_DEVICES names them in its process. "
              "There are "
              "no more workers at once than they are enough for."},
      {.name = "resources",
       .type = ArgType::kJson,
       .doc = "What a worker holds while it lives, and how many of it, like `{licence: 1}`. The run's option "
              "`resources` says how many there are (`licence=2,robot=1`); there are no more workers at once "
              "than they are enough for."},
      {.name = "timeout",
       .type = ArgType::kSeconds,
       .min = 0.01,
       .max = 1e6,
       .doc = "Seconds of one batch, after which its worker is ended. null: none."},
      {.name = "retries",
       .type = ArgType::kInt,
       .default_json = "1",
       .min = 0,
       .max = 100,
       .doc = "More attempts at a batch whose worker ended, before the row that ends it is looked for."},
      {.name = "deterministic",
       .type = ArgType::kBool,
       .default_json = "true",
       .doc = "Whether the function gives the same output for the same batch; if not, what it gave once is "
              "kept."},
  };
  spec.args.insert(spec.args.end(), shared.begin(), shared.end());
  for (ArgSpec& arg : spec.args) {
    // They change how long it takes and what it may need, never a row.
    arg.is_physical = arg.name == "compute" || arg.name == "concurrency" || arg.name == "min_concurrency" ||
                      arg.name == "memory" || arg.name == "retries" || arg.name == "num_cpus" ||
                      arg.name == "num_gpus" || arg.name == "resources";
  }
  spec.least_bytes = 32 << 20;
  spec.bind = [kind](const Json& args, const std::shared_ptr<arrow::Schema>& input) {
    return Bind(kind, args, input);
  };
  return spec;
}

}  // namespace partita
