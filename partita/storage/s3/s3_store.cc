#include "partita/storage/s3/s3_store.h"

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>

namespace partita {
namespace {

constexpr int kPage = 1000;
constexpr size_t kDeleters = 8;

class S3Store final : public Store {
 public:
  S3Store(std::string bucket, std::shared_ptr<S3Client> client, CancelToken cancel)
      : bucket_(std::move(bucket)), client_(std::move(client)), cancel_(std::move(cancel)) {}

  Result<Rooted> Tidy(std::string_view location) const override {
    ARROW_ASSIGN_OR_RAISE(S3Location at, ParseS3(location));
    Rooted out{"s3://" + at.bucket, std::move(at.key)};
    while (out.path.ends_with('/')) out.path.pop_back();  // inside, "a//b" names something else than "a/b"
    return out;
  }

  Result<Found> Stat(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    if (IsWalked(key)) return FromWalk(key);
    if (!key.empty()) {
      auto object = client_->Head(key, cancel_);
      if (object.ok() && *object) return Found{true, false, (*object)->size_bytes, 0, (*object)->etag};
      // Without the right to list, a missing key is "no permission" too: the list says which.
      if (!object.ok() && IsRetriable(object.status())) return object.status();
      ARROW_ASSIGN_OR_RAISE(const auto below, client_->List(key + "/", false, "", 1, cancel_));
      if (!below.objects.empty()) return Found{true, true, 0, 0, ""};
      ARROW_RETURN_NOT_OK(object.status());
      return Found{};
    }
    ARROW_RETURN_NOT_OK(client_->List("", false, "", 1, cancel_).status());
    return Found{true, true, 0, 0, ""};
  }

  Result<std::vector<StoredEntry>> ListDir(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    if (IsWalked(key)) {
      const auto folder = walked_.find(key);
      return folder == walked_.end() ? std::vector<StoredEntry>() : folder->second;
    }
    const std::string prefix = key.empty() ? "" : key + "/";
    std::vector<StoredEntry> entries;
    std::string next;
    do {
      ARROW_ASSIGN_OR_RAISE(auto page, client_->List(prefix, true, next, kPage, cancel_));
      for (auto& object : page.objects) {
        if (object.key == prefix) continue;  // what consoles make to show an empty folder
        entries.push_back({object.key.substr(prefix.size()), false, object.size_bytes, 0, object.etag});
      }
      for (const auto& folder : page.folders) {
        if (folder.size() > prefix.size() + 1 && folder.starts_with(prefix))
          entries.push_back(
              {folder.substr(prefix.size(), folder.size() - prefix.size() - 1), true, 0, 0, ""});
      }
      next = page.next;
    } while (!next.empty());
    SortByName(&entries);
    return entries;
  }

  // A request for a thousand keys, not for a folder.
  Status WillWalk(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    if (IsWalked(key)) return Status::OK();
    const std::string prefix = key.empty() ? "" : key + "/";
    std::map<std::string, std::vector<StoredEntry>> folders;
    std::string next;
    do {
      ARROW_ASSIGN_OR_RAISE(auto page, client_->List(prefix, false, next, kPage, cancel_));
      for (auto& object : page.objects) AddToWalk(std::move(object), key, &folders);
      next = page.next;
    } while (!next.empty());
    for (auto& [folder, entries] : folders) {
      SortByName(&entries);
      entries.erase(std::unique(entries.begin(), entries.end(),
                                [](const auto& a, const auto& b) {
                                  return a.name == b.name && a.is_directory && b.is_directory;
                                }),
                    entries.end());
    }
    walked_ = std::move(folders);
    walked_root_ = key;
    has_walked_ = true;
    return Status::OK();
  }

  Result<std::string> ReadText(const std::string& path, int64_t max_bytes) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    return client_->GetText(key, max_bytes, cancel_);
  }

  Result<bool> WriteText(const std::string& path, std::string_view bytes, bool if_absent) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    has_walked_ = false;
    return client_->Put(key, bytes, if_absent);
  }

  Status RemoveFile(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    has_walked_ = false;
    return client_->Delete(key);
  }

  Status RemoveTree(const std::string& path) override {
    ARROW_ASSIGN_OR_RAISE(const std::string key, KeyOf(path));
    if (key.empty()) return BugError("a whole bucket is not emptied");
    has_walked_ = false;
    std::vector<std::string> keys{key};
    std::string next;
    do {
      ARROW_ASSIGN_OR_RAISE(auto page, client_->List(key + "/", false, next, kPage, cancel_));
      for (auto& object : page.objects) keys.push_back(std::move(object.key));
      next = page.next;
    } while (!next.empty());
    return DeleteAll(keys);
  }

 private:
  static void SortByName(std::vector<StoredEntry>* entries) {
    std::sort(entries->begin(), entries->end(), [](const StoredEntry& a, const StoredEntry& b) {
      return a.name != b.name ? a.name < b.name : a.is_directory < b.is_directory;
    });
  }

  Result<std::string> KeyOf(const std::string& path) const {
    ARROW_ASSIGN_OR_RAISE(S3Location at, ParseS3(path));
    if (at.bucket != bucket_) return BugError("'" + path + "' is not in the bucket " + bucket_);
    return at.key;
  }

  bool IsWalked(const std::string& key) const {
    return has_walked_ &&
           (walked_root_.empty() || key == walked_root_ || key.starts_with(walked_root_ + "/"));
  }

  Found FromWalk(const std::string& key) const {
    if (walked_.contains(key)) return {true, true, 0, 0, ""};
    const size_t slash = key.rfind('/');
    const auto folder = walked_.find(slash == std::string::npos ? "" : key.substr(0, slash));
    if (folder == walked_.end()) return {};
    const std::string name = key.substr(slash == std::string::npos ? 0 : slash + 1);
    for (const auto& entry : folder->second) {
      if (entry.name == name && !entry.is_directory) return {true, false, entry.size_bytes, 0, entry.etag};
    }
    return {};
  }

  static void AddToWalk(S3Object object, const std::string& root,
                        std::map<std::string, std::vector<StoredEntry>>* folders) {
    // "root/a/b/x": the file x of root/a/b, which makes b a folder of root/a, and a one of root.
    size_t slash = object.key.rfind('/');
    std::string folder = slash == std::string::npos ? "" : object.key.substr(0, slash);
    if (slash == std::string::npos || slash + 1 < object.key.size()) {
      (*folders)[folder].push_back({object.key.substr(slash == std::string::npos ? 0 : slash + 1), false,
                                    object.size_bytes, 0, std::move(object.etag)});
    } else {
      (*folders)[folder];  // a folder's marker
    }
    while (folder.size() > root.size()) {
      slash = folder.rfind('/');
      const std::string parent = slash == std::string::npos ? "" : folder.substr(0, slash);
      std::string name = folder.substr(slash == std::string::npos ? 0 : slash + 1);
      auto& entries = (*folders)[parent];
      // Keys come in order: a folder's come together, but for names that sort before its "/".
      if (entries.empty() || !entries.back().is_directory || entries.back().name != name)
        entries.push_back({std::move(name), true, 0, 0, ""});
      folder = parent;
    }
  }

  Status DeleteAll(const std::vector<std::string>& keys) {
    std::atomic<size_t> next{0};
    std::vector<Status> statuses(std::min(kDeleters, keys.size()));
    const auto work = [&](Status* status) {
      for (size_t i = next++; i < keys.size() && status->ok(); i = next++) *status = client_->Delete(keys[i]);
    };
    std::vector<std::thread> threads;
    for (size_t t = 1; t < statuses.size(); ++t) threads.emplace_back(work, &statuses[t]);
    work(&statuses[0]);
    for (auto& thread : threads) thread.join();
    for (const auto& status : statuses) ARROW_RETURN_NOT_OK(status);
    return Status::OK();
  }

  const std::string bucket_;
  std::shared_ptr<S3Client> client_;
  CancelToken cancel_;
  bool has_walked_ = false;
  std::string walked_root_;
  std::map<std::string, std::vector<StoredEntry>> walked_;  // by folder's key
};

}  // namespace

Result<std::unique_ptr<Store>> OpenS3Store(std::string_view location, const CancelToken& cancel) {
  ARROW_ASSIGN_OR_RAISE(const S3Location at, ParseS3(location));
  ARROW_ASSIGN_OR_RAISE(auto client, S3Client::Of(at.bucket));
  return std::make_unique<S3Store>(at.bucket, std::move(client), cancel);
}

}  // namespace partita
