// Where bytes are: listing and opening by location. A location is a local path, "file:///p",
// "http(s)://host/p", "s3://bucket/key". Everything downstream sees only FileEntry and arrow::io interfaces.
// Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace arrow {
class MemoryPool;
}

namespace partita {

// One file of a source, as the snapshot records it. (size, mtime or etag) tell whether it changed since.
struct FileEntry {
  std::string location;     // as opened: a path or URI
  int64_t size_bytes = -1;  // -1: unknown (HTTP without a length)
  int64_t mtime_ns = 0;     // local files; 0 = none
  std::string etag;         // remote files
  // Hive columns found in the path below the listed folder ("year=2024/…"), in path order, values
  // percent-decoded;
  // __HIVE_DEFAULT_PARTITION__ (Hive's null) is the empty string.
  std::vector<std::pair<std::string, std::string>> partition_values;

  Json ToJson() const;
  static Result<FileEntry> FromJson(const Json& value);
};

struct ListOptions {
  // Files whose name, or any folder below the listed one, begins with "_" or "." are left out (manifests,
  // temporary files), but for Hive folders like "_year=2024".
  bool include_hidden = false;
  bool recursive = true;
  bool hive_partitioning = true;
  // Keep only these endings (with the dot, lower case; empty: all). Not applied to a location that names one
  // file.
  std::vector<std::string> extensions;
  CancelToken cancel;  // looked at before each folder and URL, and while a URL answers
};

// Expands locations (a file, a folder, a glob with * ? [..] {a,b} **, each also below s3://; an http(s) URL) to
// files sorted by location, each once. A location that matches nothing is a user error that names it and, where near, what
// exists beside it.
Result<std::vector<FileEntry>> ListFiles(Env* env, const std::vector<std::string>& locations,
                                         const ListOptions& options);

// Opens for positioned reads. S3 and HTTP use range requests (and reads the whole body, at most 256 MiB, where the
// server has none). If the file is not what `entry` says (size, mtime, etag) any more: an environment error,
// not retriable.
Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenFile(Env* env, const FileEntry& entry,
                                                              arrow::MemoryPool* pool,
                                                              const CancelToken& cancel = {});

bool IsRemote(std::string_view location);
// Strips "file://" and percent-decoding; other locations as they are.
Result<std::string> LocalPath(std::string_view location);
// "%2F" -> "/"; what is no escape stays.
std::string PercentDecode(std::string_view text);

}  // namespace partita
