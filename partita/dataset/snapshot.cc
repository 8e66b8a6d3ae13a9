#include "partita/dataset/snapshot.h"

#include <arrow/type.h>

#include <set>
#include <utility>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

constexpr int kSnapshotVersion = 1;

// Units are written as [rows, bytes] pairs: a large Parquet dataset has hundreds of thousands of them.
Json UnitsToJson(const std::vector<FileInfo::Unit>& units) {
  Json out = Json::array();
  for (const auto& unit : units) out.push_back(Json::array({unit.rows, unit.bytes}));
  return out;
}

Result<std::vector<FileInfo::Unit>> UnitsFromJson(const Json& value) {
  std::vector<FileInfo::Unit> units;
  if (!value.is_array()) return DataError("snapshot: 'units' must be a list of [rows, bytes]");
  units.reserve(value.size());
  for (const auto& pair : value) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_number_integer() ||
        !pair[1].is_number_integer()) {
      return DataError("snapshot: a unit must be [rows, bytes]");
    }
    FileInfo::Unit unit{pair[0].get<int64_t>(), pair[1].get<int64_t>()};
    if (unit.rows < 0 || unit.bytes < 0) return DataError("snapshot: a unit has negative rows or bytes");
    units.push_back(unit);
  }
  return units;
}

Json FileToJson(const SourceFile& file) {
  Json out = Json::object();
  out["entry"] = file.entry.ToJson();
  if (file.inspected) {
    out["num_rows"] = file.num_rows;
    out["units"] = UnitsToJson(file.units);
  }
  return out;
}

Result<SourceFile> FileFromJson(const Json& value) {
  if (!value.is_object() || !value.contains("entry"))
    return DataError("snapshot: a file must have an 'entry'");
  SourceFile file;
  ARROW_ASSIGN_OR_RAISE(file.entry, FileEntry::FromJson(value["entry"]));
  file.inspected = value.contains("units");
  if (!file.inspected) return file;
  ARROW_ASSIGN_OR_RAISE(file.num_rows, GetIntOr(value, "num_rows", -1));
  ARROW_ASSIGN_OR_RAISE(file.units, UnitsFromJson(value["units"]));
  if (file.num_rows < -1) {
    return DataError("snapshot: file '" + file.entry.location + "' has a negative number of rows");
  }
  return file;
}

Json SourceToJson(const SourceSnapshot& source) {
  Json out = Json::object();
  out["step"] = source.step;
  out["format"] = source.format;
  out["schema"] = source.schema ? SchemaToJson(*source.schema) : Json::array();
  if (!source.partition_columns.empty()) out["partition_columns"] = source.partition_columns;
  if (!source.files.empty()) {
    Json files = Json::array();
    for (const auto& file : source.files) files.push_back(FileToJson(file));
    out["files"] = std::move(files);
  }
  if (source.num_rows >= 0) out["num_rows"] = source.num_rows;
  if (!source.digest.empty()) out["digest"] = source.digest;
  return out;
}

Result<SourceSnapshot> SourceFromJson(const Json& value) {
  if (!value.is_object()) return DataError("snapshot: a source must be an object");
  SourceSnapshot source;
  ARROW_ASSIGN_OR_RAISE(source.step, GetString(value, "step"));
  ARROW_ASSIGN_OR_RAISE(source.format, GetString(value, "format"));
  if (!value.contains("schema")) {
    return DataError("snapshot: source '" + source.step + "' has no schema");
  }
  ARROW_ASSIGN_OR_RAISE(source.schema, SchemaFromJson(value["schema"]));
  ARROW_ASSIGN_OR_RAISE(source.partition_columns, GetStringsOr(value, "partition_columns", {}));
  for (const auto& column : source.partition_columns) {
    if (source.schema->GetFieldIndex(column) < 0) {
      return DataError("snapshot: partition column '" + column + "' of source '" + source.step +
                       "' is not in its schema");
    }
  }
  if (auto files = value.find("files"); files != value.end()) {
    if (!files->is_array()) return DataError("snapshot: 'files' must be a list");
    source.files.reserve(files->size());
    for (const auto& file : *files) {
      ARROW_ASSIGN_OR_RAISE(auto parsed, FileFromJson(file));
      source.files.push_back(std::move(parsed));
    }
  }
  ARROW_ASSIGN_OR_RAISE(source.num_rows, GetIntOr(value, "num_rows", -1));
  if (source.num_rows < -1) return DataError("snapshot: source '" + source.step + "' has negative rows");
  ARROW_ASSIGN_OR_RAISE(source.digest, GetStringOr(value, "digest", ""));
  return source;
}

}  // namespace

Json Snapshot::ToJson() const {
  Json list = Json::array();
  for (const auto& source : sources) list.push_back(SourceToJson(source));
  Json out = Json::object();
  out["version"] = kSnapshotVersion;
  out["sources"] = std::move(list);
  return out;
}

Result<Snapshot> Snapshot::FromJson(const Json& value) {
  if (!value.is_object()) return DataError("a snapshot must be a JSON object");
  ARROW_ASSIGN_OR_RAISE(auto version, GetInt(value, "version"));
  if (version != kSnapshotVersion) {
    return UserError("this snapshot has version " + std::to_string(version) + ", Partita reads version " +
                         std::to_string(kSnapshotVersion),
                     "compile the pipeline again");
  }
  auto list = value.find("sources");
  if (list == value.end() || !list->is_array()) return DataError("snapshot: 'sources' must be a list");
  Snapshot snapshot;
  std::set<std::string> names;
  for (const auto& item : *list) {
    ARROW_ASSIGN_OR_RAISE(auto source, SourceFromJson(item));
    if (!names.insert(source.step).second) {
      return DataError("snapshot: two sources are named '" + source.step + "'");
    }
    snapshot.sources.push_back(std::move(source));
  }
  return snapshot;
}

std::string Snapshot::Hash() const { return Sha256Hex(CanonicalJson(ToJson())); }

const SourceSnapshot* Snapshot::Find(std::string_view step) const {
  for (const auto& source : sources) {
    if (source.step == step) return &source;
  }
  return nullptr;
}

}  // namespace partita
