#include "cli/looked.h"

#include <algorithm>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/dataset/manifest.h"
#include "partita/storage/file_system.h"
#include "partita/storage/format.h"
#include "partita/storage/glob.h"

namespace partita::cli {
namespace {

constexpr int64_t kMaxPlanBytes = int64_t{64} << 20;

bool HasExtension(const Format& format, const std::string& location) {
  std::string lower = location.substr(0, location.find_first_of("?#"));
  std::transform(lower.begin(), lower.end(), lower.begin(),
                 [](unsigned char c) { return c < 0x80 ? std::tolower(c) : c; });
  for (const auto& extension : format.extensions()) {
    if (lower.ends_with(extension)) return true;
  }
  return false;
}

// The first file with a name that a format knows decides; files of other kinds are rows of their own.
const Format* FormatOf(const std::vector<FileEntry>& files) {
  for (const auto& file : files) {
    for (const Format* format : AllFormats()) {
      if (HasExtension(*format, file.location)) return format;
    }
  }
  return FindFormat("files");
}

Result<const Format*> FormatNamed(const std::string& name) {
  std::vector<std::string> names;
  for (const Format* format : AllFormats()) {
    if (format->name() == name) return format;
    names.emplace_back(format->name());
  }
  const auto nearest = NearestName(name, names);
  std::string known;
  for (const auto& each : names) known += (known.empty() ? "" : ", ") + each;
  return UserError(
      "unknown format '" + name + "'" + (nearest.empty() ? "" : "; did you mean '" + nearest + "'?"),
      "one of: " + known);
}

}  // namespace

Result<Looked> LookAt(Env* env, const std::string& path, const std::string& format_name) {
  Looked looked;
  const Format* format = nullptr;
  if (!format_name.empty()) {
    ARROW_ASSIGN_OR_RAISE(format, FormatNamed(format_name));
  }
  if (!IsRemote(path)) {
    ARROW_ASSIGN_OR_RAISE(const auto folder, LocalPath(path));
    if (auto manifest = Manifest::Read(env, folder); manifest.ok()) {
      looked.rows = manifest->num_rows;
      looked.plan_hash = manifest->plan_hash;
      if (format == nullptr) format = FindFormat(manifest->format);
    } else if (auto state = env->Stat(JoinPath(folder, "_partita/owner.json")); state.ok()) {
      looked.unfinished = state->exists;
    }
  }
  // By name first: a folder may hold other files beside the dataset's.
  ARROW_ASSIGN_OR_RAISE(auto files, ListFiles(env, {path}, ListOptions()));
  if (format == nullptr) format = FormatOf(files);
  looked.format = format->name();
  if (files.size() > 1 && !format->extensions().empty()) {
    std::erase_if(files, [&](const FileEntry& file) { return !HasExtension(*format, file.location); });
  }
  if (!files.empty()) {
    looked.first_file = files[0].location;
    looked.has_hive_columns = !files[0].partition_values.empty();
  }
  looked.files = static_cast<int64_t>(files.size());
  looked.bytes = 0;
  for (const auto& file : files) {
    if (file.size_bytes < 0 || looked.bytes < 0) {
      looked.bytes = -1;
    } else {
      looked.bytes += file.size_bytes;
    }
  }
  return looked;
}

Result<std::optional<CompiledPlan>> PlanAt(Env* env, const std::string& path) {
  if (!path.ends_with(".json") || IsRemote(path)) return std::nullopt;
  auto status = env->Stat(path);
  if (!status.ok() || !status->exists || status->is_directory || status->size_bytes > kMaxPlanBytes)
    return std::nullopt;
  ARROW_ASSIGN_OR_RAISE(const auto text, ReadSmallFile(env, path, kMaxPlanBytes));
  const auto json = ParseJson(text);
  if (!json.ok() || !json->is_object() || !json->contains("plan") || !json->contains("snapshot"))
    return std::nullopt;
  ARROW_ASSIGN_OR_RAISE(auto compiled, CompiledPlan::FromText(text));
  return compiled;
}

std::optional<Pipeline> FirstFile(const Pipeline& pipeline, const Looked& looked) {
  if (looked.files < 2 || looked.has_hive_columns || HasGlob(looked.first_file)) return std::nullopt;
  Pipeline first = pipeline;
  first.steps[0].args["path"] = Json::array({looked.first_file});
  return first;
}

Json SplitNames(const std::string& text) {
  Json names = Json::array();
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) names.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

}  // namespace partita::cli
