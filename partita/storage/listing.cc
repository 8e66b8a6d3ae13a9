// ListFiles: what locations name, by way of a Store. A glob is walked component by component; a folder, named
// or matched by a glob, stands for the files below it.
#include <algorithm>

#include "partita/block/schema.h"
#include "partita/storage/file_system.h"
#include "partita/storage/glob.h"
#include "partita/storage/http/http_file.h"
#include "partita/storage/store.h"

namespace partita {
namespace {

// A symbolic link to a parent folder makes paths without end; the kernel gives up at 40 links.
constexpr int kMaxDepth = 32;
constexpr size_t kMaxNamesShown = 5;

// A Hive folder may name a column that begins with "_": "__step=parse".
bool IsHidden(const StoredEntry& entry) {
  if (entry.name.empty()) return false;
  return entry.name[0] == '.' ||
         (entry.name[0] == '_' && !(entry.is_directory && entry.name.find('=') != std::string::npos));
}

std::string LowerCase(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

bool HasExtension(std::string_view name, const std::vector<std::string>& extensions) {
  if (extensions.empty()) return true;
  const std::string lower = LowerCase(name);
  return std::any_of(extensions.begin(), extensions.end(),
                     [&](const std::string& e) { return lower.ends_with(e); });
}

std::string Below(const std::string& folder, const std::string& name) {
  return folder == "." ? name : JoinPath(folder, name);
}

using HiveValues = std::vector<std::pair<std::string, std::string>>;

class Lister {
 public:
  Lister(Env* env, const ListOptions& options) : env_(env), options_(options) {}

  Status Add(const std::string& location);
  std::vector<FileEntry> Take() { return std::move(files_); }

 private:
  Status AddFolder(const std::string& path, const HiveValues& values, int depth);
  Status AddGlob(const Store::Rooted& pattern);
  Status MatchBelow(const std::string& folder, size_t index, const HiveValues& values, int depth);
  Status MatchEntry(const std::string& folder, const StoredEntry& entry, size_t index,
                    const HiveValues& values, int depth);
  template <typename Known>  // StoredEntry or Store::Found
  void AddFile(const std::string& path, const Known& known, const HiveValues& values) {
    files_.push_back({.location = path,
                      .size_bytes = known.size_bytes,
                      .mtime_ns = known.mtime_ns,
                      .etag = known.etag,
                      .partition_values = values});
  }
  HiveValues WithHive(const HiveValues& values, const std::string& folder_name) const;
  Status NothingFound(const std::string& location, const std::string& path) const;

  Env* env_;
  std::unique_ptr<Store> store_;  // of the location that is looked at
  const ListOptions& options_;
  std::vector<FileEntry> files_;
  std::vector<std::string> parts_;  // of the glob being matched
  bool filter_matches_ = true;      // apply `extensions` to files that the glob's last part matches
};

HiveValues Lister::WithHive(const HiveValues& values, const std::string& folder_name) const {
  const size_t equals = folder_name.find('=');
  if (!options_.hive_partitioning || equals == std::string::npos || equals == 0) return values;
  HiveValues out = values;
  std::string value = PercentDecode(std::string_view(folder_name).substr(equals + 1));
  if (value == "__HIVE_DEFAULT_PARTITION__") value.clear();
  out.emplace_back(PercentDecode(std::string_view(folder_name).substr(0, equals)), std::move(value));
  return out;
}

Status TooDeep(const std::string& path) {
  return UserError(
      "folders nest more than 32 levels deep at '" + path + "'",
      "look for a symbolic link that points to a folder above it, or list with recursive: false");
}

Status Lister::AddFolder(const std::string& path, const HiveValues& values, int depth) {
  if (depth > kMaxDepth) return TooDeep(path);
  ARROW_RETURN_NOT_OK(options_.cancel.Check());
  if (options_.recursive) ARROW_RETURN_NOT_OK(store_->WillWalk(path));
  ARROW_ASSIGN_OR_RAISE(const std::vector<StoredEntry> entries, store_->ListDir(path));
  for (const StoredEntry& entry : entries) {
    if (!options_.include_hidden && IsHidden(entry)) continue;
    const std::string full = Below(path, entry.name);
    if (entry.is_directory) {
      if (options_.recursive) ARROW_RETURN_NOT_OK(AddFolder(full, WithHive(values, entry.name), depth + 1));
    } else if (HasExtension(entry.name, options_.extensions)) {
      AddFile(full, entry, values);
    }
  }
  return Status::OK();
}

Status Lister::MatchEntry(const std::string& folder, const StoredEntry& entry, size_t index,
                          const HiveValues& values, int depth) {
  const std::string& part = parts_[index];
  // As shells do it: a hidden name is matched only by a pattern that spells out its first character.
  if (!options_.include_hidden && IsHidden(entry) && part[0] != entry.name[0]) return Status::OK();
  if (!MatchesGlob(part, entry.name)) return Status::OK();
  const std::string full = Below(folder, entry.name);
  const bool last = index + 1 == parts_.size();
  if (entry.is_directory) {
    const HiveValues inner = WithHive(values, entry.name);
    return last ? AddFolder(full, inner, depth + 1) : MatchBelow(full, index + 1, inner, depth + 1);
  }
  if (last && (!filter_matches_ || HasExtension(entry.name, options_.extensions))) {
    AddFile(full, entry, values);
  }
  return Status::OK();
}

Status Lister::MatchBelow(const std::string& folder, size_t index, const HiveValues& values, int depth) {
  if (depth > kMaxDepth) return TooDeep(folder);
  ARROW_RETURN_NOT_OK(options_.cancel.Check());
  const std::string& part = parts_[index];
  if (part == "**") {
    ARROW_RETURN_NOT_OK(store_->WillWalk(folder));
    if (index + 1 == parts_.size()) return AddFolder(folder, values, depth);
    ARROW_RETURN_NOT_OK(MatchBelow(folder, index + 1, values, depth));  // no folder between
    ARROW_ASSIGN_OR_RAISE(const std::vector<StoredEntry> entries, store_->ListDir(folder));
    for (const StoredEntry& entry : entries) {
      if (!entry.is_directory || (!options_.include_hidden && IsHidden(entry))) continue;
      ARROW_RETURN_NOT_OK(
          MatchBelow(Below(folder, entry.name), index, WithHive(values, entry.name), depth + 1));
    }
    return Status::OK();
  }
  if (!HasGlob(part)) {  // a plain name needs no listing
    const std::string name = UnescapeGlob(part);
    ARROW_ASSIGN_OR_RAISE(const Store::Found status, store_->Stat(Below(folder, name)));
    if (!status.exists) return Status::OK();
    return MatchEntry(folder, {name, status.is_directory, status.size_bytes, status.mtime_ns, status.etag},
                      index, values, depth);
  }
  ARROW_ASSIGN_OR_RAISE(const std::vector<StoredEntry> entries, store_->ListDir(folder));
  for (const StoredEntry& entry : entries) {
    ARROW_RETURN_NOT_OK(MatchEntry(folder, entry, index, values, depth));
  }
  return Status::OK();
}

Status Lister::AddGlob(const Store::Rooted& pattern) {
  ARROW_ASSIGN_OR_RAISE(const std::vector<std::string> alternatives, ExpandBraces(pattern.path));
  for (const std::string& alternative : alternatives) {
    std::string base = pattern.root.empty() ? "." : pattern.root;
    parts_.clear();
    size_t begin = 0;
    while (begin <= alternative.size()) {
      const size_t end = std::min(alternative.find('/', begin), alternative.size());
      const std::string part = alternative.substr(begin, end - begin);
      begin = end + 1;
      if (part.empty() || part == ".") continue;
      if (parts_.empty() && !HasGlob(part) && end < alternative.size()) {
        base = Below(base, UnescapeGlob(part));  // the fixed beginning; Hive columns are looked for after it
      } else if (part != "**" || parts_.empty() || parts_.back() != "**") {  // "**/**" is "**"
        parts_.push_back(part);
      }
    }
    if (parts_.empty()) continue;
    ARROW_ASSIGN_OR_RAISE(const Store::Found status, store_->Stat(base));
    if (!status.is_directory) continue;
    // "logs/*.log" asks for .log files, whatever the format's usual extensions are.
    const size_t wild = parts_.back().find_last_of("*?]");
    filter_matches_ = wild != std::string::npos && parts_.back().find('.', wild + 1) == std::string::npos;
    ARROW_RETURN_NOT_OK(MatchBelow(base, 0, {}, 0));
  }
  return Status::OK();
}

Status Lister::NothingFound(const std::string& location, const std::string& path) const {
  // The deepest folder of the path that exists, and the name that does not.
  std::string folder = path, missing;
  while (true) {
    auto status = store_->Stat(folder);
    if (status.ok() && status->is_directory) break;
    if (folder == "." || folder == "/") return UserError("nothing is found at '" + location + "'");
    missing = std::string(BaseName(folder));
    folder = std::string(DirName(folder));
  }
  std::vector<std::string> names;
  if (auto entries = store_->ListDir(folder); entries.ok()) {
    for (const StoredEntry& entry : *entries) names.push_back(entry.name + (entry.is_directory ? "/" : ""));
  }
  std::string hint;
  std::vector<std::string> plain = names;
  for (std::string& name : plain) {
    if (name.ends_with('/')) name.pop_back();
  }
  const std::string near = missing.empty() || HasGlob(missing) ? "" : NearestName(missing, plain);
  if (!near.empty()) {
    hint = "did you mean '" + Below(folder, near) + "'?";
  } else if (names.empty()) {
    hint = "'" + folder + "' is empty";
  } else {
    hint = "'" + folder + "' holds ";
    for (size_t i = 0; i < std::min(names.size(), kMaxNamesShown); ++i) hint += (i ? ", " : "") + names[i];
    if (names.size() > kMaxNamesShown)
      hint += " and " + std::to_string(names.size() - kMaxNamesShown) + " more";
  }
  std::string message = "no file is found at '" + location + "'";
  if (missing.empty() && !options_.extensions.empty()) {
    message = "the folder '" + location + "' holds no file that ends in ";
    for (size_t i = 0; i < options_.extensions.size(); ++i)
      message += (i ? " or " : "") + options_.extensions[i];
  }
  return UserError(message, hint);
}

Status Lister::Add(const std::string& location) {
  ARROW_ASSIGN_OR_RAISE(store_, OpenStore(env_, location, options_.cancel));
  ARROW_ASSIGN_OR_RAISE(const Store::Rooted rooted, store_->Tidy(location));
  std::string path = rooted.root.empty()   ? rooted.path
                     : rooted.path.empty() ? rooted.root
                                           : JoinPath(rooted.root, rooted.path);
  if (path.empty()) path = ".";
  const size_t before = files_.size();
  // A name that exists is that file, even where it looks like a pattern ("photo[1].png").
  ARROW_ASSIGN_OR_RAISE(const Store::Found status, store_->Stat(path));
  if (status.is_directory) {
    ARROW_RETURN_NOT_OK(AddFolder(path, {}, 0));
  } else if (status.exists) {
    AddFile(path, status, {});
  } else if (HasGlob(rooted.path)) {
    ARROW_RETURN_NOT_OK(AddGlob(rooted));
  }
  return files_.size() == before ? NothingFound(location, path) : Status::OK();
}

}  // namespace

Result<std::vector<FileEntry>> ListFiles(Env* env, const std::vector<std::string>& locations,
                                         const ListOptions& options) {
  if (locations.empty()) return UserError("no location is given");
  Lister lister(env, options);
  std::vector<FileEntry> remote;
  for (const std::string& location : locations) {
    ARROW_RETURN_NOT_OK(options.cancel.Check());
    if (IsRemote(location) && !IsObjectStore(location)) {
      ARROW_ASSIGN_OR_RAISE(FileEntry entry, ProbeHttp(location, options.cancel));
      remote.push_back(std::move(entry));
    } else {
      ARROW_RETURN_NOT_OK(lister.Add(location));
    }
  }
  std::vector<FileEntry> files = lister.Take();
  std::move(remote.begin(), remote.end(), std::back_inserter(files));
  std::stable_sort(files.begin(), files.end(),
                   [](const FileEntry& a, const FileEntry& b) { return a.location < b.location; });
  files.erase(std::unique(files.begin(), files.end(),
                          [](const FileEntry& a, const FileEntry& b) { return a.location == b.location; }),
              files.end());
  return files;
}

}  // namespace partita
