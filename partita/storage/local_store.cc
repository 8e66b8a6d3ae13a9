// The store of local files: Env, as it is; and the choice among all stores.
#include "partita/storage/file_system.h"
#include "partita/storage/s3/s3_store.h"
#include "partita/storage/store.h"

namespace partita {
namespace {

class LocalStore final : public Store {
 public:
  explicit LocalStore(Env* env) : env_(env) {}

  Result<Rooted> Tidy(std::string_view location) const override {
    ARROW_ASSIGN_OR_RAISE(const std::string raw, LocalPath(location));
    if (raw.empty()) return UserError("a location is empty");
    Rooted out;
    if (raw[0] == '/') out.root = "/";
    size_t begin = 0;
    while (begin <= raw.size()) {
      const size_t end = std::min(raw.find('/', begin), raw.size());
      const std::string_view part = std::string_view(raw).substr(begin, end - begin);
      if (!part.empty() && part != ".") out.path += (out.path.empty() ? "" : "/") + std::string(part);
      begin = end + 1;
    }
    return out;
  }

  Result<Found> Stat(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(const FileStatus status, env_->Stat(path));
    return Found{status.exists, status.is_directory, status.size_bytes, status.mtime_ns, ""};
  }

  Result<std::vector<StoredEntry>> ListDir(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(std::vector<DirEntry> found, env_->ListDir(path));
    std::vector<StoredEntry> entries;
    entries.reserve(found.size());
    for (DirEntry& entry : found) {
      entries.push_back({std::move(entry.name), entry.is_directory, entry.size_bytes, entry.mtime_ns, ""});
    }
    return entries;
  }

  Status WillWalk(const std::string&) override { return Status::OK(); }

  Result<std::string> ReadText(const std::string& path, int64_t max_bytes) override {
    return ReadSmallFile(env_, path, max_bytes);
  }

  Result<bool> WriteText(const std::string& path, std::string_view bytes, bool if_absent) override {
    if (if_absent) {  // whoever writes local documents holds a lock
      ARROW_ASSIGN_OR_RAISE(const FileStatus status, env_->Stat(path));
      if (status.exists) return false;
    }
    ARROW_RETURN_NOT_OK(WriteFileAtomically(env_, path, bytes));
    return true;
  }

  Status RemoveFile(const std::string& path) override { return env_->RemoveFile(path); }
  Status RemoveTree(const std::string& path) override { return env_->RemoveTree(path); }

 private:
  Env* env_;
};

}  // namespace

bool IsObjectStore(std::string_view location) { return IsS3(location); }

Result<std::unique_ptr<Store>> OpenStore(Env* env, std::string_view location, const CancelToken& cancel) {
  if (IsS3(location)) return OpenS3Store(location, cancel);
  if (IsRemote(location)) {
    return UserError("'" + std::string(location) + "': there are no folders of " +
                         std::string(location.substr(0, location.find("://"))) + "://",
                     "use a local path, file:// or s3://");
  }
  return std::make_unique<LocalStore>(env);
}

}  // namespace partita
