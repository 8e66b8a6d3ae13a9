// A kind of storage that has folders: what listing, and the writing of datasets, need of it. Local files and
// S3; a further kind is one more implementation beside them. Reading goes through OpenFile (file_system.h).
//
// Paths are whole locations ("out/x", "s3://bucket/x"), put together with JoinPath. Made for one look or one
// change at a time: an object store may keep what it listed. Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"

namespace partita {

struct StoredEntry {
  std::string name;  // without the folder
  bool is_directory = false;
  int64_t size_bytes = 0;
  int64_t mtime_ns = 0;  // local files
  std::string etag;      // objects
};

class Store {
 public:
  virtual ~Store() = default;

  // Splits a location in what stands before all folders ("", "/", "s3://bucket") and the rest, without "."
  // parts and needless slashes.
  struct Rooted {
    std::string root, path;
  };
  virtual Result<Rooted> Tidy(std::string_view location) const = 0;

  struct Found {
    bool exists = false, is_directory = false;
    int64_t size_bytes = 0, mtime_ns = 0;
    std::string etag;
  };
  virtual Result<Found> Stat(const std::string& path) = 0;  // a missing one is exists=false
  virtual Result<std::vector<StoredEntry>> ListDir(const std::string& path) = 0;  // sorted by name
  // All below `path` is about to be listed: object stores do so at once. A hint.
  virtual Status WillWalk(const std::string& path) = 0;

  // Documents of bounded size.
  virtual Result<std::string> ReadText(const std::string& path, int64_t max_bytes) = 0;
  // Readers see the old or the new bytes. With `if_absent`: false, and nothing happens, where there is one.
  virtual Result<bool> WriteText(const std::string& path, std::string_view bytes, bool if_absent = false) = 0;
  virtual Status RemoveFile(const std::string& path) = 0;  // missing is OK
  virtual Status RemoveTree(const std::string& path) = 0;  // missing is OK
};

// The store of a location: local paths and file://, s3://. Another scheme is a user error.
Result<std::unique_ptr<Store>> OpenStore(Env* env, std::string_view location, const CancelToken& cancel = {});
// Does the location belong to a store whose files are no files of this machine?
bool IsObjectStore(std::string_view location);

}  // namespace partita
