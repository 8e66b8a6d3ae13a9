#include "partita/base/env.h"

#include <arrow/io/interfaces.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "partita/base/env_errno.h"
#include "partita/base/env_files.h"
#include "partita/base/env_limits.h"
#include "partita/base/units.h"

namespace partita {
namespace {

// A descriptor that closes itself.
class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&&) = delete;
  ~Fd() {
    if (fd_ >= 0) close(fd_);
  }
  int get() const { return fd_; }
  bool ok() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

// A directory stream that closes itself.
using Dir = std::unique_ptr<DIR, decltype([](DIR* dir) { closedir(dir); })>;

// They wait for the disk, not for a processor.
constexpr size_t kMostSyncsAtOnce = 8;

Status Sync(const std::string& path) {
  Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.ok()) return ErrnoStatus(errno, "open", path);
  // Some file systems cannot sync a directory (EINVAL): they keep no order that a sync could ask for.
  if (fsync(fd.get()) != 0 && errno != EINVAL) return ErrnoStatus(errno, "sync", path);
  return Status::OK();
}

bool IsMissing(int error) { return error == ENOENT || error == ENOTDIR; }

int64_t ModifiedNanos(const struct stat& info) {
  return static_cast<int64_t>(info.st_mtim.tv_sec) * 1'000'000'000 + info.st_mtim.tv_nsec;
}

int64_t ClockNanos(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return static_cast<int64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

// Names of a directory without "." and ".."; takes the descriptor.
Result<std::vector<std::string>> ReadNames(Fd fd, const std::string& path) {
  Dir dir(fdopendir(fd.get()));
  if (dir == nullptr) return ErrnoStatus(errno, "list", path);
  fd.release();
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(dir.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return ErrnoStatus(errno, "list", path);
  return names;
}

// Removes large files, several at a time: letting go of pages, and of blocks on a disk that wants to hear of
// it, takes long, and most of it is waiting. What fails is tried again by the caller, one after the other.
void RemoveLargeFiles(int parent, const std::vector<std::string>& names) {
  constexpr int64_t kLargeBytes = 32 << 20;
  constexpr size_t kMaxThreads = 8;
  std::vector<const std::string*> large;
  for (const std::string& name : names) {
    struct stat info;
    if (fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(info.st_mode) &&
        info.st_size >= kLargeBytes) {
      large.push_back(&name);
    }
  }
  if (large.size() < 2) return;
  std::atomic<size_t> next{0};
  const auto remove = [&] {
    for (size_t i = next++; i < large.size(); i = next++) unlinkat(parent, large[i]->c_str(), 0);
  };
  std::vector<std::thread> threads;
  try {
    while (threads.size() + 1 < std::min(kMaxThreads, large.size())) threads.emplace_back(remove);
  } catch (const std::system_error&) {
    // Those that did start, and this one, do it.
  }
  remove();
  for (auto& thread : threads) thread.join();
}

// Removes `name` in the directory `parent` with everything below it. Relative to descriptors and without
// following links, so nobody can redirect it while it runs.
Status RemoveBelow(int parent, const std::string& name, const std::string& path) {
  if (unlinkat(parent, name.c_str(), 0) == 0 || IsMissing(errno)) return Status::OK();
  const int refused = errno;
  if (refused != EISDIR && refused != EPERM) return ErrnoStatus(refused, "remove", path);
  Fd fd(openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!fd.ok()) {
    if (errno == ENOENT) return Status::OK();
    return ErrnoStatus(errno == ENOTDIR ? refused : errno, "remove", path);
  }
  Fd listing(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!listing.ok()) return ErrnoStatus(errno, "remove", path);
  ARROW_ASSIGN_OR_RAISE(const auto names, ReadNames(std::move(listing), path));
  RemoveLargeFiles(fd.get(), names);
  for (const std::string& child : names) {
    ARROW_RETURN_NOT_OK(RemoveBelow(fd.get(), child, path + "/" + child));
  }
  if (unlinkat(parent, name.c_str(), AT_REMOVEDIR) == 0 || errno == ENOENT) return Status::OK();
  return ErrnoStatus(errno, "remove", path);
}

// What the holder of a lock wrote into it.
std::string LockOwner(int fd) {
  char text[32];
  const ssize_t size = pread(fd, text, sizeof(text), 0);
  int64_t pid = 0;
  if (size <= 0 || std::from_chars(text, text + size, pid).ec != std::errc()) return "another process";
  return "process " + std::to_string(pid);
}

class LocalEnv final : public Env {
 public:
  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenRead(const std::string& path,
                                                                ReadOptions options) override {
    return OpenLocalRead(path, options);
  }
  Result<std::shared_ptr<arrow::io::OutputStream>> OpenWrite(const std::string& path,
                                                             WriteOptions options) override {
    return OpenLocalWrite(path, options);
  }
  Result<std::shared_ptr<arrow::io::OutputStream>> OpenAppend(const std::string& path) override {
    return OpenLocalAppend(path);
  }

  Result<FileStatus> Stat(const std::string& path) override {
    struct stat info;
    FileStatus status;
    if (stat(path.c_str(), &info) != 0) {
      if (IsMissing(errno)) return status;
      return ErrnoStatus(errno, "stat", path);
    }
    status.exists = true;
    status.is_directory = S_ISDIR(info.st_mode);
    status.size_bytes = status.is_directory ? 0 : info.st_size;
    status.mtime_ns = ModifiedNanos(info);
    return status;
  }

  Result<std::vector<DirEntry>> ListDir(const std::string& path) override {
    Fd fd(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!fd.ok()) return ErrnoStatus(errno, "list", path);
    Fd listing(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
    if (!listing.ok()) return ErrnoStatus(errno, "list", path);
    ARROW_ASSIGN_OR_RAISE(auto names, ReadNames(std::move(listing), path));
    std::sort(names.begin(), names.end());
    std::vector<DirEntry> entries;
    entries.reserve(names.size());
    for (std::string& name : names) {
      struct stat info;
      // A link stands for what it points to; a dangling one for itself. What vanished meanwhile is not
      // listed.
      if (fstatat(fd.get(), name.c_str(), &info, 0) != 0 &&
          fstatat(fd.get(), name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
        if (IsMissing(errno)) continue;
        return ErrnoStatus(errno, "stat", JoinPath(path, name));
      }
      DirEntry entry;
      entry.name = std::move(name);
      entry.is_directory = S_ISDIR(info.st_mode);
      entry.size_bytes = entry.is_directory ? 0 : info.st_size;
      entry.mtime_ns = ModifiedNanos(info);
      entries.push_back(std::move(entry));
    }
    return entries;
  }

  Status CreateDirs(const std::string& path) override {
    std::error_code error;
    std::filesystem::create_directories(path, error);
    if (error) return ErrnoStatus(error.value(), "create the directory", path);
    return Status::OK();
  }

  Status Rename(const std::string& from, const std::string& to) override {
    if (rename(from.c_str(), to.c_str()) != 0)
      return ErrnoStatus(errno, "rename to '" + to + "' the file", from);
    return Status::OK();
  }

  Status RemoveFile(const std::string& path) override {
    if (unlink(path.c_str()) == 0 || IsMissing(errno)) return Status::OK();
    return ErrnoStatus(errno, "remove", path);
  }

  Status RemoveTree(const std::string& path) override {
    // "link/" would name what the link points to.
    std::string_view trimmed = path;
    while (trimmed.size() > 1 && trimmed.back() == '/') trimmed.remove_suffix(1);
    return RemoveBelow(AT_FDCWD, std::string(trimmed), std::string(trimmed));
  }

  Status SyncFiles(const std::vector<std::string>& paths, const std::vector<std::string>& if_possible) override {
    std::vector<Status> statuses(paths.size() + if_possible.size());
    std::atomic<size_t> next{0};
    const auto sync_next = [&] {
      for (size_t i; (i = next++) < statuses.size();) {
        statuses[i] = Sync(i < paths.size() ? paths[i] : if_possible[i - paths.size()]);
      }
    };
    std::vector<std::jthread> others;
    try {
      for (size_t i = 1; i < std::min<size_t>(statuses.size(), kMostSyncsAtOnce); ++i) others.emplace_back(sync_next);
    } catch (const std::system_error&) {  // no more threads: those there are, this one at least, do it all
    }
    sync_next();
    others.clear();  // joins
    for (size_t i = 0; i < paths.size(); ++i) ARROW_RETURN_NOT_OK(statuses[i]);
    return Status::OK();
  }

  Status SyncFileSystem(const std::string& path) override {
    Fd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.ok()) return ErrnoStatus(errno, "open", path);
    if (syncfs(fd.get()) == 0) return Status::OK();
    if (errno != ENOSYS) return ErrnoStatus(errno, "sync the file system of", path);
    sync();
    return Status::OK();
  }

  Result<std::shared_ptr<void>> LockFile(const std::string& path) override {
    for (;;) {
      Fd fd(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666));
      if (!fd.ok()) return ErrnoStatus(errno, "open", path);
      if (flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
        if (errno == EINTR) continue;
        if (errno != EWOULDBLOCK) return ErrnoStatus(errno, "lock", path);
        ErrorContext context;
        context.file = path;
        return WithContext(
            EnvironmentError("cannot lock '" + path + "': " + LockOwner(fd.get()) + " holds it",
                             "wait for that process, or stop it", /*retriable=*/false),
            std::move(context));
      }
      // Whoever removed the file meanwhile made the lock worthless: the next one would lock a new file.
      struct stat held, named;
      if (fstat(fd.get(), &held) != 0) return ErrnoStatus(errno, "stat", path);
      if (stat(path.c_str(), &named) != 0 || held.st_ino != named.st_ino || held.st_dev != named.st_dev)
        continue;
      const std::string pid = std::to_string(getpid()) + "\n";
      if (ftruncate(fd.get(), 0) != 0 || pwrite(fd.get(), pid.data(), pid.size(), 0) < 0) {
        return ErrnoStatus(errno, "write", path);
      }
      return std::static_pointer_cast<void>(std::make_shared<Fd>(std::move(fd)));
    }
  }

  int64_t NowUnixMicros() override { return ClockNanos(CLOCK_REALTIME) / 1000; }
  int64_t MonotonicNanos() override { return ClockNanos(CLOCK_MONOTONIC); }

  std::string RandomHex(int bytes) override {
    static constexpr char kHex[] = "0123456789abcdef";
    std::string raw(static_cast<size_t>(std::max(0, bytes)), '\0');
    size_t done = 0;
    while (done < raw.size()) {
      const ssize_t got = getrandom(raw.data() + done, raw.size() - done, 0);
      if (got > 0) done += static_cast<size_t>(got);
    }
    std::string hex;
    hex.reserve(2 * raw.size());
    for (const char c : raw) {
      hex += kHex[static_cast<unsigned char>(c) >> 4];
      hex += kHex[static_cast<unsigned char>(c) & 15];
    }
    return hex;
  }

  Result<MachineLimits> Limits() override { return ReadMachineLimits("", AffinityCpus()); }
  Result<ProcessMemory> Memory() override { return ReadProcessMemory(""); }
};

}  // namespace

Env* Env::Default() {
  // Never destroyed: threads and destructors use it until the process ends.
  static Env* const env = new LocalEnv;
  return env;
}

}  // namespace partita
