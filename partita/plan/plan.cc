#include "partita/plan/plan.h"

#include <arrow/type.h>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/pipeline/step_spec.h"
#include "partita/plan/plan_check.h"

namespace partita {
namespace {

// Reads one object strictly: a key that is not asked for is an error, so that nothing that a newer writer
// meant is lost.
class ObjectReader {
 public:
  ObjectReader(const Json& object, std::string what, std::vector<std::string_view> keys)
      : object_(object), what_(std::move(what)), keys_(std::move(keys)) {}

  Status Check() const {
    if (!object_.is_object()) return Bad("is no JSON object");
    for (const auto& [key, value] : object_.items()) {
      if (std::find(keys_.begin(), keys_.end(), key) == keys_.end())
        return Bad("has the unknown key '" + key + "'");
    }
    for (std::string_view key : keys_) {
      if (!object_.contains(key)) return Bad("has no '" + std::string(key) + "'");
    }
    return Status::OK();
  }

  Status Read(std::string_view key, std::string* out) const {
    return Take(GetString(object_, key), key, out);
  }
  Status Read(std::string_view key, int64_t* out) const { return Take(GetInt(object_, key), key, out); }
  Status Read(std::string_view key, bool* out) const { return Take(GetBool(object_, key), key, out); }
  Status Read(std::string_view key, int* out) const {
    int64_t wide = 0;
    ARROW_RETURN_NOT_OK(Read(key, &wide));
    if (wide < INT32_MIN || wide > INT32_MAX) return Bad("has a '" + std::string(key) + "' out of range");
    *out = static_cast<int>(wide);
    return Status::OK();
  }
  Status Read(std::string_view key, OnError* out) const {
    std::string name;
    ARROW_RETURN_NOT_OK(Read(key, &name));
    return Take(ParseOnError(name), key, out);
  }
  Status Read(std::string_view key, std::shared_ptr<arrow::Schema>* out) const {
    return Take(SchemaFromJson(object_.at(std::string(key))), key, out);
  }
  Status ReadObject(std::string_view key, Json* out) const {
    *out = object_.at(std::string(key));
    return out->is_object() ? Status::OK() : Bad("has a '" + std::string(key) + "' that is no JSON object");
  }
  template <typename T>
  Status ReadKind(std::string_view key, std::initializer_list<std::pair<std::string_view, T>> kinds,
                  T* out) const {
    std::string name;
    ARROW_RETURN_NOT_OK(Read(key, &name));
    for (const auto& [kind_name, kind] : kinds) {
      if (kind_name == name) {
        *out = kind;
        return Status::OK();
      }
    }
    return Bad("has the unknown " + std::string(key) + " '" + name + "'");
  }
  template <typename T, typename FromJson>
  Status ReadList(std::string_view key, FromJson from_json, std::vector<T>* out) const {
    const Json& list = object_.at(std::string(key));
    if (!list.is_array()) return Bad("has '" + std::string(key) + "' that are no list");
    for (const Json& item : list) {
      ARROW_ASSIGN_OR_RAISE(T value, from_json(item));
      out->push_back(std::move(value));
    }
    return Status::OK();
  }

  Status Bad(const std::string& why) const { return BadPlan(what_ + " " + why); }

 private:
  template <typename T>
  Status Take(Result<T> value, std::string_view key, T* out) const {
    if (!value.ok()) return Bad("has a bad '" + std::string(key) + "': " + MessageOf(value.status()));
    *out = *std::move(value);
    return Status::OK();
  }

  const Json& object_;
  std::string what_;
  std::vector<std::string_view> keys_;
};

Json SchemaJson(const std::shared_ptr<arrow::Schema>& schema) {
  return schema == nullptr ? Json::array() : SchemaToJson(*schema);
}

Json ToJson(const PlanSource& source);
Json ToJson(const PlanNode& node);
Json ToJson(const PlanOutput& output);
Json ToJson(const PlanStage& stage);
Json ToJson(const PlanSink& sink);
Json ToJson(const PlanOrderKey& key);
Json ToJson(const PlanExchange& exchange);

template <typename T>
Json ListToJson(const std::vector<T>& values) {
  Json out = Json::array();
  for (const T& value : values) out.push_back(ToJson(value));
  return out;
}

Json ToJson(const PlanSource& source) {
  if (source.kind == PlanSource::Kind::kExchange) {
    return {{"kind", "exchange"},
            {"exchange", source.exchange},
            {"right_exchange", source.right_exchange},
            {"reduce", source.reduce},
            {"schema", SchemaJson(source.schema)},
            {"limit", source.limit}};
  }
  return {{"kind", "scan"},
          {"step", source.step},
          {"op", source.op},
          {"format", source.format},
          {"args", source.args},
          {"filter", source.filter},
          {"schema", SchemaJson(source.schema)},
          {"limit", source.limit},
          {"on_error", std::string(OnErrorName(source.on_error))}};
}

Result<PlanSource> SourceFromJson(const Json& value) {
  PlanSource out;
  if (value.is_object() && value.contains("kind") && value["kind"] == "exchange") {
    ObjectReader in(value, "a source", {"kind", "exchange", "right_exchange", "reduce", "schema", "limit"});
    ARROW_RETURN_NOT_OK(in.Check());
    out.kind = PlanSource::Kind::kExchange;
    ARROW_RETURN_NOT_OK(in.Read("exchange", &out.exchange));
    ARROW_RETURN_NOT_OK(in.Read("right_exchange", &out.right_exchange));
    out.reduce = value["reduce"];
    ARROW_RETURN_NOT_OK(in.Read("schema", &out.schema));
    ARROW_RETURN_NOT_OK(in.Read("limit", &out.limit));
    return out;
  }
  ObjectReader in(value, "a source",
                  {"kind", "step", "op", "format", "args", "filter", "schema", "limit", "on_error"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.ReadKind<PlanSource::Kind>("kind", {{"scan", PlanSource::Kind::kScan}}, &out.kind));
  ARROW_RETURN_NOT_OK(in.Read("step", &out.step));
  ARROW_RETURN_NOT_OK(in.Read("op", &out.op));
  ARROW_RETURN_NOT_OK(in.Read("format", &out.format));
  ARROW_RETURN_NOT_OK(in.ReadObject("args", &out.args));
  out.filter = value["filter"];
  ARROW_RETURN_NOT_OK(in.Read("schema", &out.schema));
  ARROW_RETURN_NOT_OK(in.Read("limit", &out.limit));
  ARROW_RETURN_NOT_OK(in.Read("on_error", &out.on_error));
  return out;
}

Json ToJson(const PlanNode& node) {
  return {{"input", node.input},
          {"step", node.step},
          {"op", node.op},
          {"version", node.version},
          {"args", node.args},
          {"output", SchemaJson(node.output)},
          {"on_error", std::string(OnErrorName(node.on_error))},
          {"table", node.table}};
}

Result<PlanNode> NodeFromJson(const Json& value) {
  PlanNode out;
  ObjectReader in(value, "a node", {"input", "step", "op", "version", "args", "output", "on_error", "table"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.Read("input", &out.input));
  ARROW_RETURN_NOT_OK(in.Read("step", &out.step));
  ARROW_RETURN_NOT_OK(in.Read("op", &out.op));
  ARROW_RETURN_NOT_OK(in.Read("version", &out.version));
  ARROW_RETURN_NOT_OK(in.ReadObject("args", &out.args));
  ARROW_RETURN_NOT_OK(in.Read("output", &out.output));
  ARROW_RETURN_NOT_OK(in.Read("on_error", &out.on_error));
  ARROW_RETURN_NOT_OK(in.Read("table", &out.table));
  return out;
}

Json ToJson(const PlanOutput& output) {
  return {{"kind", output.kind == PlanOutput::Kind::kSink ? "sink" : "exchange"},
          {"node", output.node},
          {"target", output.target},
          {"input_index", output.input_index},
          {"limit", output.limit}};
}

Result<PlanOutput> OutputFromJson(const Json& value) {
  PlanOutput out;
  ObjectReader in(value, "an output", {"kind", "node", "target", "input_index", "limit"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.ReadKind<PlanOutput::Kind>(
      "kind", {{"sink", PlanOutput::Kind::kSink}, {"exchange", PlanOutput::Kind::kExchange}}, &out.kind));
  ARROW_RETURN_NOT_OK(in.Read("node", &out.node));
  ARROW_RETURN_NOT_OK(in.Read("target", &out.target));
  ARROW_RETURN_NOT_OK(in.Read("input_index", &out.input_index));
  ARROW_RETURN_NOT_OK(in.Read("limit", &out.limit));
  return out;
}

Json ToJson(const PlanStage& stage) {
  return {{"source", ToJson(stage.source)},
          {"nodes", ListToJson(stage.nodes)},
          {"outputs", ListToJson(stage.outputs)},
          {"is_volatile", stage.is_volatile}};
}

Result<PlanStage> StageFromJson(const Json& value) {
  PlanStage out;
  ObjectReader in(value, "a stage", {"source", "nodes", "outputs", "is_volatile"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_ASSIGN_OR_RAISE(out.source, SourceFromJson(value["source"]));
  ARROW_RETURN_NOT_OK(in.ReadList("nodes", NodeFromJson, &out.nodes));
  ARROW_RETURN_NOT_OK(in.ReadList("outputs", OutputFromJson, &out.outputs));
  ARROW_RETURN_NOT_OK(in.Read("is_volatile", &out.is_volatile));
  return out;
}

Json ToJson(const PlanSink& sink) {
  return {{"step", sink.step},
          {"op", sink.op},
          {"format", sink.format},
          {"args", sink.args},
          {"schema", SchemaJson(sink.schema)},
          {"inputs", sink.inputs},
          {"limit", sink.limit}};
}

Result<PlanSink> SinkFromJson(const Json& value) {
  PlanSink out;
  ObjectReader in(value, "a sink", {"step", "op", "format", "args", "schema", "inputs", "limit"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.Read("step", &out.step));
  ARROW_RETURN_NOT_OK(in.Read("op", &out.op));
  ARROW_RETURN_NOT_OK(in.Read("format", &out.format));
  ARROW_RETURN_NOT_OK(in.ReadObject("args", &out.args));
  ARROW_RETURN_NOT_OK(in.Read("schema", &out.schema));
  ARROW_RETURN_NOT_OK(in.Read("inputs", &out.inputs));
  ARROW_RETURN_NOT_OK(in.Read("limit", &out.limit));
  return out;
}

Json ToJson(const PlanOrderKey& key) {
  return {{"column", key.column}, {"descending", key.descending}, {"nulls_first", key.nulls_first}};
}

Result<PlanOrderKey> OrderKeyFromJson(const Json& value) {
  PlanOrderKey out;
  ObjectReader in(value, "a key", {"column", "descending", "nulls_first"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.Read("column", &out.column));
  ARROW_RETURN_NOT_OK(in.Read("descending", &out.descending));
  ARROW_RETURN_NOT_OK(in.Read("nulls_first", &out.nulls_first));
  return out;
}

Json ToJson(const PlanExchange& exchange) {
  Json out = {{"kind", std::string(ExchangeKindName(exchange.kind))},
              {"step", exchange.step},
              {"schema", SchemaJson(exchange.schema)},
              {"inputs", exchange.inputs},
              {"limit", exchange.limit},
              {"rows_per_partition", exchange.rows_per_partition},
              {"keys", ListToJson(exchange.keys)},
              {"seed", exchange.seed},
              {"partitions", exchange.partitions},
              {"partition_bytes", exchange.partition_bytes}};
  // Only where there is one: plans without it are what they were before there was any.
  if (!exchange.order.empty()) out["order"] = ListToJson(exchange.order);
  return out;
}

Result<PlanExchange> ExchangeFromJson(const Json& value) {
  PlanExchange out;
  using Kind = PlanExchange::Kind;
  std::vector<std::string_view> keys = {
      "kind", "step", "schema",     "inputs",         "limit", "rows_per_partition",
      "keys", "seed", "partitions", "partition_bytes"};
  const bool has_order = value.is_object() && value.contains("order");
  if (has_order) keys.push_back("order");
  ObjectReader in(value, "an exchange", std::move(keys));
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.ReadKind<Kind>("kind",
                                        {{ExchangeKindName(Kind::kGather), Kind::kGather},
                                         {ExchangeKindName(Kind::kRebalance), Kind::kRebalance},
                                         {ExchangeKindName(Kind::kSort), Kind::kSort},
                                         {ExchangeKindName(Kind::kShuffle), Kind::kShuffle},
                                         {ExchangeKindName(Kind::kHash), Kind::kHash}},
                                        &out.kind));
  ARROW_RETURN_NOT_OK(in.Read("step", &out.step));
  ARROW_RETURN_NOT_OK(in.Read("schema", &out.schema));
  ARROW_RETURN_NOT_OK(in.Read("inputs", &out.inputs));
  ARROW_RETURN_NOT_OK(in.Read("limit", &out.limit));
  ARROW_RETURN_NOT_OK(in.Read("rows_per_partition", &out.rows_per_partition));
  ARROW_RETURN_NOT_OK(in.ReadList("keys", OrderKeyFromJson, &out.keys));
  if (has_order) ARROW_RETURN_NOT_OK(in.ReadList("order", OrderKeyFromJson, &out.order));
  int64_t seed = 0;
  ARROW_RETURN_NOT_OK(in.Read("seed", &seed));
  if (seed < 0) return in.Bad("has a negative seed");
  out.seed = static_cast<uint64_t>(seed);
  ARROW_RETURN_NOT_OK(in.Read("partitions", &out.partitions));
  ARROW_RETURN_NOT_OK(in.Read("partition_bytes", &out.partition_bytes));
  return out;
}

// The version comes first: of another version no key can be judged.
Status CheckVersion(const Json& value) {
  if (!value.is_object()) return BadPlan("it is no JSON object");
  auto version = GetInt(value, "partita_plan");
  if (!version.ok()) return BadPlan("it has no 'partita_plan' with its version");
  if (*version == kPlanVersion) return Status::OK();
  return UserError("the plan has version " + std::to_string(*version) + "; this Partita reads version " +
                       std::to_string(kPlanVersion),
                   "compile the pipeline again");
}

}  // namespace

std::vector<std::string> PlanExchange::key_names() const {
  std::vector<std::string> names;
  for (const PlanOrderKey& key : keys) names.push_back(key.column);
  return names;
}

bool PlanStage::Reads(int exchange) const {
  if (source.kind == PlanSource::Kind::kExchange &&
      (source.exchange == exchange || source.right_exchange == exchange)) {
    return true;
  }
  return std::any_of(nodes.begin(), nodes.end(),
                     [exchange](const PlanNode& node) { return exchange >= 0 && node.table == exchange; });
}

std::string_view ExchangeKindName(PlanExchange::Kind kind) {
  switch (kind) {
    case PlanExchange::Kind::kGather:
      return "gather";
    case PlanExchange::Kind::kRebalance:
      return "rebalance";
    case PlanExchange::Kind::kSort:
      return "sort";
    case PlanExchange::Kind::kShuffle:
      return "shuffle";
    case PlanExchange::Kind::kHash:
      return "hash";
  }
  return "gather";
}

Json Plan::ToJson() const {
  return {{"partita_plan", version},
          {"name", name},
          {"stages", ListToJson(stages)},
          {"sinks", ListToJson(sinks)},
          {"exchanges", ListToJson(exchanges)},
          {"quarantine", quarantine}};
}

Result<Plan> Plan::FromJson(const Json& value) {
  ARROW_RETURN_NOT_OK(CheckVersion(value));
  Plan out;
  ObjectReader in(value, "it", {"partita_plan", "name", "stages", "sinks", "exchanges", "quarantine"});
  ARROW_RETURN_NOT_OK(in.Check());
  ARROW_RETURN_NOT_OK(in.Read("name", &out.name));
  ARROW_RETURN_NOT_OK(in.ReadList("stages", StageFromJson, &out.stages));
  ARROW_RETURN_NOT_OK(in.ReadList("sinks", SinkFromJson, &out.sinks));
  ARROW_RETURN_NOT_OK(in.ReadList("exchanges", ExchangeFromJson, &out.exchanges));
  ARROW_RETURN_NOT_OK(in.Read("quarantine", &out.quarantine));
  ARROW_RETURN_NOT_OK(CheckPlan(out));
  return out;
}

std::string Plan::Hash() const {
  Plan logical = *this;
  for (auto& stage : logical.stages) {
    for (auto& node : stage.nodes) {
      const StepSpec* spec = FindStep(node.op);
      for (const ArgSpec& arg : spec == nullptr ? std::vector<ArgSpec>() : spec->args) {
        if (arg.is_physical) node.args.erase(arg.name);
      }
    }
  }
  return Sha256Hex(CanonicalJson(logical.ToJson()));
}

}  // namespace partita
