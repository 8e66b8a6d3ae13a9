#include "partita/dataset/output_folder.h"

#include <cctype>
#include <cstdlib>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/dataset/manifest.h"

namespace partita {
namespace {

// Names that only Partita gives to data files: part-<digits>-<3 digits>.<ext>, and part-r<round>-… of a
// retry.
bool IsDataFile(std::string_view name) {
  if (!name.starts_with("part-")) return false;
  name.remove_prefix(5);
  if (name.starts_with("r")) name.remove_prefix(1);
  size_t digits = 0;
  while (digits < name.size() &&
         (std::isdigit(static_cast<unsigned char>(name[digits])) || name[digits] == '-'))
    ++digits;
  if (digits < 5 || digits >= name.size() || name[digits] != '.') return false;
  return std::isdigit(static_cast<unsigned char>(name[digits - 1])) != 0;
}

bool IsHiveFolder(const StoredEntry& entry) {
  return entry.is_directory && entry.name.find('=') != std::string::npos;
}

std::string WorkDir(const std::string& given) {
  if (!given.empty()) return given;
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value == nullptr ? "" : value;
  };
  if (const std::string cache = variable("XDG_CACHE_HOME"); cache.starts_with("/"))
    return JoinPath(cache, "partita/runs");
  if (const std::string home = variable("HOME"); home.starts_with("/"))
    return JoinPath(home, ".cache/partita/runs");
  return "/tmp/partita/runs";
}

struct Walker {
  Store* store;
  const std::set<std::string>& committed;

  Status Walk(const std::string& folder, const std::string& relative) {
    ARROW_ASSIGN_OR_RAISE(auto entries, store->ListDir(folder));
    for (const auto& entry : entries) {
      const std::string path = JoinPath(folder, entry.name);
      const std::string name = JoinPath(relative, entry.name);
      if (entry.is_directory) {
        if (!entry.name.starts_with("_")) ARROW_RETURN_NOT_OK(Walk(path, name));
      } else if ((IsDataFile(entry.name) && !committed.contains(name)) ||
                 entry.name.starts_with(std::string(kManifestName) + ".tmp-")) {
        ARROW_RETURN_NOT_OK(store->RemoveFile(path));
      }
    }
    return Status::OK();
  }
};

}  // namespace

std::string OwnerFile(const std::string& folder) {
  return JoinPath(JoinPath(folder, kStateName), "owner.json");
}

std::string BooksOf(const std::string& folder, const std::string& work_dir) {
  if (!IsObjectStore(folder)) return JoinPath(folder, kStateName);
  std::string location = folder;
  while (location.ends_with('/')) location.pop_back();
  return JoinPath(WorkDir(work_dir), Sha256Hex(location).substr(0, 32));
}

Result<FolderOwner> ReadOwner(Store* store, const std::string& folder) {
  FolderOwner owner;
  ARROW_ASSIGN_OR_RAISE(const auto status, store->Stat(OwnerFile(folder)));
  if (!status.exists) return owner;
  ARROW_ASSIGN_OR_RAISE(const auto text, store->ReadText(OwnerFile(folder), 1 << 20));
  ARROW_ASSIGN_OR_RAISE(const auto json, ParseJson(text));
  owner.exists = true;
  ARROW_ASSIGN_OR_RAISE(owner.plan_hash, GetString(json, "plan"));
  ARROW_ASSIGN_OR_RAISE(owner.snapshot_hash, GetString(json, "snapshot"));
  return owner;
}

Result<std::string> FindForeign(Store* store, const std::string& folder) {
  ARROW_ASSIGN_OR_RAISE(auto entries, store->ListDir(folder));
  for (const auto& entry : entries) {
    if (entry.name == kStateName || entry.name == kManifestName) continue;
    if (entry.is_directory && entry.name == kQuarantineName) continue;
    if (!entry.is_directory && IsDataFile(entry.name)) continue;
    if (!IsHiveFolder(entry)) return JoinPath(folder, entry.name);
    ARROW_ASSIGN_OR_RAISE(auto foreign, FindForeign(store, JoinPath(folder, entry.name)));
    if (!foreign.empty()) return foreign;
  }
  return std::string();
}

Status RemoveOurs(Store* store, Env* env, const std::string& folder, const std::string& books) {
  // The manifest goes first: a folder that is being emptied must not look finished.
  ARROW_RETURN_NOT_OK(store->RemoveFile(JoinPath(folder, kManifestName)));
  ARROW_ASSIGN_OR_RAISE(auto entries, store->ListDir(folder));
  for (const auto& entry : entries) {
    const std::string path = JoinPath(folder, entry.name);
    if (path == books) continue;
    ARROW_RETURN_NOT_OK(entry.is_directory ? store->RemoveTree(path) : store->RemoveFile(path));
  }
  ARROW_ASSIGN_OR_RAISE(auto kept, env->ListDir(books));
  for (const auto& entry : kept) {
    if (entry.name == "lock" || entry.name == "runs") continue;
    ARROW_RETURN_NOT_OK(env->RemoveTree(JoinPath(books, entry.name)));
  }
  return Status::OK();
}

Status RemoveUncommitted(Store* store, const std::string& folder, const std::set<std::string>& committed) {
  return Walker{store, committed}.Walk(folder, "");
}

}  // namespace partita
