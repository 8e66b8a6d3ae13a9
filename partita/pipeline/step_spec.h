// What a step is, declared once: its name, arguments and effect on the schema. YAML, Python, the CLI's help,
// the JSON schema and the docs derive from it. Built-in steps are in pipeline/builtin_steps.cc; components
// bring their own (components/*/).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace arrow {
class Schema;
}

namespace partita {

enum class StepKind { kSource, kTransform, kSink };

enum class ArgType {
  kBool,
  kInt,
  kFloat,
  kString,
  kBytes,          // 1048576 or "1MiB"; normalised to an integer
  kSeconds,        // 10 or "500ms"; normalised to a float
  kColumn,         // a column's name
  kStringList,     // a list of strings; a single string is a list of one
  kBoolList,       // a list of bools; a single bool is a list of one
  kStringMap,      // {string: string}
  kExpression,     // text or JSON of an expression; normalised to JSON
  kExpressionMap,  // {new column: expression}; order kept: normalised to [[name, expression JSON], ...]
  kAggregateMap,   // {new column: aggregate like "sum(v)"}; order kept: normalised to [[name, text], ...]
  kTypeMap,        // {column: type}
  kSteps,          // steps that stand inside this one; normalised by NormaliseGroupSteps (group_steps.h)
  kJson,           // anything
};

struct ArgSpec {
  std::string name;
  ArgType type = ArgType::kString;
  bool required = false;
  std::string default_json = "null";      // JSON text
  std::vector<std::string> choices = {};  // of a string; empty: any
  std::optional<double> min = std::nullopt, max = std::nullopt;
  std::string doc;  // one sentence, with unit
  bool is_physical = false;  // says how, never what: no part of a plan's hash
};

// A step bound to its input: a pure function of arguments and input schema.
struct StepBinding {
  std::shared_ptr<arrow::Schema> output;
  std::vector<std::string> reads;  // input columns whose values it needs
  bool reads_all = false;
  std::vector<std::string>
      writes;  // columns it adds or replaces; all other columns pass through unless `drops_others`
  bool drops_others = false;
  bool is_volatile = false;  // as these arguments make it, though the step is not by itself
};
using BindStep =
    std::function<Result<StepBinding>(const Json& args, const std::shared_ptr<arrow::Schema>& input)>;

// The same of a step with a left and a right input. `reads`, `writes` and `drops_others` say nothing then.
using BindPair =
    std::function<Result<StepBinding>(const Json& args, const std::shared_ptr<arrow::Schema>& left,
                                      const std::shared_ptr<arrow::Schema>& right)>;

struct StepSpec {
  std::string name;  // "resize_images"
  std::string version = "1";
  StepKind kind = StepKind::kTransform;
  std::string summary;  // one sentence
  std::vector<ArgSpec> args;
  bool is_volatile = false;  // two runs may give other bytes (a download)
  // Rows change partition: compile makes an exchange of it. It computes no row, so that only on_error: fail
  // has a meaning.
  bool is_exchange = false;
  int64_t rows_per_partition =
      0;  // a source is cut in partitions of at most so many rows when this step follows; 0: no wish
  int64_t least_bytes =
      1 << 20;    // least memory the step needs for ordinary rows; part of `explain`'s least budget
  BindStep bind;  // transforms only
  BindPair bind_pair = nullptr;  // instead of `bind`: a transform that takes exactly two inputs (join)
  std::vector<std::string> aliases = {};  // other names users know: "read_json"; a pipeline holds only `name`
  bool is_internal = false;  // made by the bindings, never written by people: not in YAML, schema or docs

  const ArgSpec* FindArg(std::string_view arg) const;
  bool takes_pair() const { return static_cast<bool>(bind_pair); }
};

std::string_view StepKindName(StepKind kind);  // "source", "transform", "sink"
std::string_view ArgTypeName(ArgType type);    // "int", "string list", ... as people read it

// Process-wide registry; registration happens at start-up, before any look-up from another thread.
Status RegisterStep(StepSpec spec);  // a name that is taken is a bug error
// Also by alias. Built-in steps are always there.
const StepSpec* FindStep(std::string_view name);
std::vector<const StepSpec*> AllSteps();  // by name
void RegisterBuiltinSteps();              // idempotent
// The user error for a name that FindStep does not know, with the nearest one.
Status UnknownStep(std::string_view name);

// Checks and normalises arguments: unknown names (with the nearest right one), missing, wrong type, choices,
// range; fills in defaults. Values may come from YAML as strings ("10" for an int is fine when exact).
// Idempotent: normalised arguments stay as they are.
Result<Json> NormaliseArgs(const StepSpec& spec, const Json& args);
// One argument that is given (null: its default); `spec` is for messages.
Result<Json> NormaliseArg(const StepSpec& spec, const ArgSpec& arg, const Json& value);
// The user error for an argument that the step does not have, with the nearest one.
Status UnknownArg(const StepSpec& spec, std::string_view name);

}  // namespace partita
