#include "partita/dataset/manifest.h"

#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita {

std::string Manifest::ToText() const {
  Json list = Json::array();
  for (const auto& partition : partitions) {
    Json files = Json::array();
    for (const auto& file : partition.files) {
      files.push_back({{"path", file.path}, {"rows", file.rows}, {"bytes", file.size_bytes}});
    }
    list.push_back({{"partition", partition.partition}, {"files", std::move(files)}});
  }
  Json names = Json::array();
  for (const auto& name : schema->field_names()) names.push_back(name);
  const Json json = {{"version", version},
                     {"format", format},
                     {"schema", SchemaToJson(*schema)},
                     {"plan", plan_hash},
                     {"snapshot", snapshot_hash},
                     {"num_rows", num_rows},
                     {"columns", Json::array({{{"location", "."}, {"names", std::move(names)}}})},
                     {"partitions", std::move(list)}};
  return PrettyJson(json);
}

Result<Manifest> Manifest::FromText(std::string_view text) {
  ARROW_ASSIGN_OR_RAISE(auto json, ParseJson(text));
  Manifest manifest;
  ARROW_ASSIGN_OR_RAISE(int64_t version, GetInt(json, "version"));
  if (version != 1)
    return UserError("manifest version " + std::to_string(version) + " is not known to this build");
  ARROW_ASSIGN_OR_RAISE(manifest.format, GetString(json, "format"));
  ARROW_ASSIGN_OR_RAISE(manifest.plan_hash, GetString(json, "plan"));
  ARROW_ASSIGN_OR_RAISE(manifest.snapshot_hash, GetString(json, "snapshot"));
  ARROW_ASSIGN_OR_RAISE(manifest.num_rows, GetInt(json, "num_rows"));
  ARROW_ASSIGN_OR_RAISE(manifest.schema, SchemaFromJson(json.value("schema", Json())));
  const Json partitions = json.value("partitions", Json::array());
  if (!partitions.is_array()) return DataError("manifest: 'partitions' is no list");
  for (const auto& p : partitions) {
    ManifestPartition partition;
    ARROW_ASSIGN_OR_RAISE(partition.partition, GetInt(p, "partition"));
    const Json files = p.value("files", Json::array());
    if (!files.is_array()) return DataError("manifest: 'files' is no list");
    for (const auto& f : files) {
      CommittedFile file;
      ARROW_ASSIGN_OR_RAISE(file.path, GetString(f, "path"));
      if (!IsSafeRelativePath(file.path)) return DataError("manifest: unsafe path '" + file.path + "'");
      ARROW_ASSIGN_OR_RAISE(file.rows, GetInt(f, "rows"));
      ARROW_ASSIGN_OR_RAISE(file.size_bytes, GetInt(f, "bytes"));
      partition.files.push_back(std::move(file));
    }
    manifest.partitions.push_back(std::move(partition));
  }
  return manifest;
}

Result<Manifest> Manifest::Read(Env* env, const std::string& folder) {
  ARROW_ASSIGN_OR_RAISE(auto text, ReadSmallFile(env, JoinPath(folder, kManifestName), int64_t{2} << 30));
  return FromText(text);
}

}  // namespace partita
