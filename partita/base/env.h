// The one door to the operating system: files, clock, randomness, machine limits. No other room calls the kernel for these
// (network libraries own their sockets). LocalEnv is the real one; FaultEnv (env_fault.h) is its twin for tests.
//
// All methods are thread-safe. Paths are local paths, UTF-8, absolute or relative to the working directory. Errors are
// kind environment (retriable when errno says so: EINTR, EAGAIN, EIO, ESTALE), kind resource for ENOSPC/EDQUOT/EMFILE, and
// carry the path.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class MemoryPool;
}  // namespace arrow

namespace arrow::io {
class OutputStream;
class RandomAccessFile;
}  // namespace arrow::io

namespace partita {

struct FileStatus {
  bool exists = false;
  bool is_directory = false;
  int64_t size_bytes = 0;
  int64_t mtime_ns = 0;
};

struct DirEntry {
  std::string name;  // without the directory
  bool is_directory = false;
  int64_t size_bytes = 0;   // 0 for directories
  int64_t mtime_ns = 0;
};

struct WriteOptions {
  // Written bytes are flushed in windows of this size and dropped from the page cache, so that a run's page cache stays
  // bounded. 0: leave them to the kernel (small files).
  int64_t window_bytes = 8 << 20;
  // With window_bytes 0: what a file has behind these bytes goes around the page cache, where its file system can. For
  // files that live shorter than the run and are larger than the memory it leaves to the kernel.
  int64_t cached_bytes = INT64_MAX;
};

// Reads around the page cache begin at multiples of this, are as long, and go to memory as aligned.
inline constexpr int64_t kDirectAlignment = 4096;

struct ReadOptions {
  // Read bytes are dropped from the page cache behind the reader, unless they were there before.
  bool drop_cache = false;
  // Aligned reads behind these bytes go around the page cache, where the file system can; what the kernel reads before them
  // is what was asked for, not more. As the file's writer was given.
  int64_t cached_bytes = INT64_MAX;
  // Where the buffers that Read and ReadAt return are allocated; must outlive the file. Null: arrow::default_memory_pool(),
  // which no budget counts.
  arrow::MemoryPool* pool = nullptr;
};

// What the machine allows a process now, read from /proc and the cgroup hierarchy (v1 and v2).
struct MachineLimits {
  int64_t total_bytes = 0;         // physical memory
  int64_t available_bytes = 0;     // MemAvailable
  int64_t cgroup_limit_bytes = 0;  // least limit up the hierarchy; 0 = none
  int64_t cgroup_used_bytes = 0;   // used in that cgroup, without reclaimable page cache
  int cpus = 1;                    // affinity mask and cgroup quota, rounded up, at least 1
};

struct ProcessMemory {
  int64_t anonymous_bytes = 0;  // RssAnon + RssShmem
  int64_t resident_bytes = 0;   // VmRSS
  int64_t peak_resident_bytes = 0;
};

class Env {
 public:
  virtual ~Env() = default;
  static Env* Default();

  // Positioned reads (pread); may be shared by threads. The file must exist.
  virtual Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenRead(const std::string& path, ReadOptions options = {}) = 0;
  // Creates or truncates. One writer thread at a time. Close() reports every write error; it does not sync.
  virtual Result<std::shared_ptr<arrow::io::OutputStream>> OpenWrite(const std::string& path, WriteOptions options = {}) = 0;
  // Appends; each Write call is one write(2) to an O_APPEND descriptor.
  virtual Result<std::shared_ptr<arrow::io::OutputStream>> OpenAppend(const std::string& path) = 0;

  virtual Result<FileStatus> Stat(const std::string& path) = 0;  // a missing file is exists=false, not an error
  virtual Result<std::vector<DirEntry>> ListDir(const std::string& path) = 0;  // sorted by name; no "." and ".."
  virtual Status CreateDirs(const std::string& path) = 0;                      // like mkdir -p
  virtual Status Rename(const std::string& from, const std::string& to) = 0;   // atomic, replaces
  virtual Status RemoveFile(const std::string& path) = 0;                      // missing is OK
  virtual Status RemoveTree(const std::string& path) = 0;                      // missing is OK; never follows links
  // fsync of files and directories, side by side: a few journal commits serve all. Meant for few. Errors of
  // `if_possible`, which need not be readable, are not told.
  virtual Status SyncFiles(const std::vector<std::string>& paths, const std::vector<std::string>& if_possible = {}) = 0;
  virtual Status SyncFileSystem(const std::string& path) = 0;                  // syncfs: the one sync before a manifest
  // Takes an exclusive advisory lock on a file (created); held until the returned handle dies. An environment error when
  // another process holds it; the message names the pid that wrote it.
  virtual Result<std::shared_ptr<void>> LockFile(const std::string& path) = 0;

  virtual int64_t NowUnixMicros() = 0;     // wall clock: records and file times only, never data
  virtual int64_t MonotonicNanos() = 0;    // durations
  virtual std::string RandomHex(int bytes) = 0;

  virtual Result<MachineLimits> Limits() = 0;
  virtual Result<ProcessMemory> Memory() = 0;
};

// Whole small files, for records and documents. ReadSmallFile refuses more than max_bytes (resource error).
Result<std::string> ReadSmallFile(Env* env, const std::string& path, int64_t max_bytes = 256 << 20);
// Writes `path`.tmp-<random> and renames it: readers see the old or the new bytes. Nothing is synced.
Status WriteFileAtomically(Env* env, const std::string& path, std::string_view bytes);
// Its first half: returns the temporary file's path, for who syncs it before renaming it.
Result<std::string> WriteFileBeside(Env* env, const std::string& path, std::string_view bytes);

// Path arithmetic, no system call.
// An absolute `b` wins; names that come from data pass IsSafeRelativePath first.
std::string JoinPath(std::string_view a, std::string_view b);
std::string_view BaseName(std::string_view path);
std::string_view DirName(std::string_view path);  // "." where there is none
// True for a relative path without ".", "..", empty parts, NUL or a leading "/": safe to place below a folder of ours.
bool IsSafeRelativePath(std::string_view path);

}  // namespace partita
