#include <arrow/api.h>

#include <algorithm>
#include <charconv>
#include <future>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/session/session.h"
#include "partita/storage/format.h"

namespace partita {
namespace {

// The type of a Hive column: int64 when every value is one, else string.
std::shared_ptr<arrow::DataType> HiveType(const std::vector<FileEntry>& files, const std::string& name) {
  bool all_int = true;
  for (const auto& file : files) {
    for (const auto& [key, value] : file.partition_values) {
      if (key != name || value.empty()) continue;
      int64_t parsed = 0;
      auto [end, ec] = std::from_chars(value.data(), value.data() + value.size(), parsed);
      all_int = all_int && ec == std::errc() && end == value.data() + value.size() &&
                std::to_string(parsed) == value;
    }
  }
  return all_int ? arrow::int64() : arrow::utf8();
}

struct Looker {
  Env* env;
  Session::Look look;
  arrow::MemoryPool* pool;
  CancelToken cancel;

  Result<SourceSnapshot> LookAt(const SourceRequest& request) {
    const Format* format = FindFormat(request.format);
    if (format == nullptr) return BugError("unknown format '" + request.format + "'");
    ListOptions list;
    ARROW_ASSIGN_OR_RAISE(list.include_hidden, GetBoolOr(request.args, "include_hidden", false));
    ARROW_ASSIGN_OR_RAISE(list.hive_partitioning, GetBoolOr(request.args, "hive_partitioning", true));
    list.extensions = format->extensions();
    list.cancel = cancel;
    ARROW_ASSIGN_OR_RAISE(auto files, ListFiles(env, request.locations, list));
    SourceSnapshot source;
    source.step = request.step;
    source.format = request.format;
    for (size_t i = 0; i < files.size(); ++i) {
      ARROW_RETURN_NOT_OK(cancel.Check());
      SourceFile file;
      file.entry = files[i];
      const bool cut = look == Session::Look::kPlan && files[i].size_bytes > request.split_bytes &&
                       format->name() != "files";
      // Columns come from the first file that has bytes; empty files have no rows and no say.
      const bool first = source.schema == nullptr && (files[i].size_bytes != 0 || i + 1 == files.size());
      if (first || ((cut || look == Session::Look::kRowCounts) && files[i].size_bytes != 0)) {
        ARROW_ASSIGN_OR_RAISE(auto info, format->Inspect(env, files[i], request.args, pool));
        file.inspected = true;
        file.num_rows = info.num_rows;
        file.units = std::move(info.units);
        if (first) source.schema = info.schema;
      }
      source.files.push_back(std::move(file));
      if (look == Session::Look::kSchema && source.schema != nullptr) break;
    }
    if (!files.empty()) {
      auto fields = source.schema->fields();
      for (const auto& [name, value] : files[0].partition_values) {
        if (source.schema->GetFieldIndex(name) >= 0) continue;  // the file's own column wins
        source.partition_columns.push_back(name);
        fields.push_back(arrow::field(name, HiveType(files, name)));
      }
      source.schema = arrow::schema(std::move(fields));
      // As the plan writes it: a plan read back from its file must give the same bytes (names of list
      // elements, metadata).
      ARROW_ASSIGN_OR_RAISE(source.schema, SchemaFromJson(SchemaToJson(*source.schema)));
    }
    return source;
  }
};

}  // namespace

// Where the caller wants to be polled, the look-up runs on a thread of its own: a file system or server that
// is slow to answer must not keep a signal waiting.
Result<Snapshot> Session::TakeSnapshot(const Pipeline& pipeline, Look look, const RunControl& control) {
  if (!control.poll) return LookAtSources(pipeline, look, control.cancel);
  const CancelToken stop;
  auto looking = std::async(std::launch::async, [&] { return LookAtSources(pipeline, look, stop); });
  Status asked;
  while (looking.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
    if (asked.ok()) asked = control.cancel.Check();
    if (asked.ok()) asked = control.poll();
    if (!asked.ok()) stop.Cancel();
  }
  auto snapshot = looking.get();
  ARROW_RETURN_NOT_OK(asked);
  return snapshot;
}

Result<Snapshot> Session::LookAtSources(const Pipeline& pipeline, Look look, const CancelToken& cancel) {
  ARROW_ASSIGN_OR_RAISE(auto requests, SourcesOf(pipeline));
  auto budget = Budget::Make(int64_t{512} << 20);
  auto pool = budget->root();
  Snapshot snapshot;
  for (const auto& request : requests) {
    if (request.format == "range") {
      SourceSnapshot source;
      source.step = request.step;
      source.format = request.format;
      ARROW_ASSIGN_OR_RAISE(auto column, GetStringOr(request.args, "column", "id"));
      source.schema = arrow::schema({arrow::field(column, arrow::int64(), false)});
      ARROW_ASSIGN_OR_RAISE(source.num_rows, GetInt(request.args, "n"));
      snapshot.sources.push_back(std::move(source));
      continue;
    }
    if (request.format == "memory") {
      ARROW_ASSIGN_OR_RAISE(auto id, GetString(request.args, "id"));
      std::lock_guard lock(mutex_);
      auto it = tables_.find(id);
      if (it == tables_.end())
        return UserError("the rows of step '" + request.step + "' are gone", "make the dataset again");
      SourceSnapshot source;
      source.step = request.step;
      source.format = request.format;
      source.schema = it->second->schema;
      source.num_rows = it->second->num_rows;
      source.digest = id;
      for (size_t i = 0; i < it->second->blocks.size(); ++i) {
        SourceFile block;
        block.entry.location = "block " + std::to_string(i);
        block.entry.size_bytes = it->second->blocks[i].size_bytes;
        block.inspected = true;
        block.num_rows = it->second->blocks[i].rows;
        source.files.push_back(std::move(block));
      }
      snapshot.sources.push_back(std::move(source));
      continue;
    }
    auto source = Looker{env_, look, pool.get(), cancel}.LookAt(request);
    if (!source.ok()) return WithContext(source.status(), {.step = request.step});
    snapshot.sources.push_back(std::move(*source));
  }
  return snapshot;
}

Result<CompiledPlan> Session::CompilePipeline(const Pipeline& pipeline, Look look,
                                              const RunControl& control) {
  CompiledPlan compiled;
  ARROW_ASSIGN_OR_RAISE(compiled.snapshot, TakeSnapshot(pipeline, look, control));
  ARROW_ASSIGN_OR_RAISE(compiled.plan, Compile(pipeline, compiled.snapshot));
  compiled.plan_hash = compiled.plan.Hash();
  compiled.snapshot_hash = compiled.snapshot.Hash();
  compiled.options = pipeline.options;
  return compiled;
}

Result<std::shared_ptr<arrow::Schema>> Session::SchemaOf(const Pipeline& pipeline, const std::string& step,
                                                         const RunControl& control) {
  ARROW_ASSIGN_OR_RAISE(auto snapshot, TakeSnapshot(pipeline, Look::kSchema, control));
  ARROW_ASSIGN_OR_RAISE(auto schemas, StepSchemas(pipeline, snapshot));
  if (schemas.empty()) return UserError("the pipeline has no step");
  if (step.empty()) return schemas.back();
  for (size_t i = 0; i < pipeline.steps.size(); ++i) {
    if (pipeline.steps[i].name == step) return schemas[i];
  }
  return UserError("there is no step '" + step + "'");
}

}  // namespace partita
