// Positioned reads of local files.
#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <mutex>
#include <utility>

#include "partita/base/env_direct.h"
#include "partita/base/env_errno.h"
#include "partita/base/env_files.h"

namespace partita {
namespace {

constexpr int64_t kPageBytes = 4096;
// One read(2) at most; with drop_cache also the most page cache a large read holds.
constexpr int64_t kReadChunkBytes = 8 << 20;
// Small reads are dropped together: a system call for each would cost more than the read.
constexpr int64_t kDropEachBytes = 64 << 10;
constexpr int64_t kDropTogetherBytes = 8 << 20;

class LocalReadFile final : public arrow::io::RandomAccessFile {
 public:
  LocalReadFile(int fd, std::string path, ReadOptions options)
      : fd_(fd),
        path_(std::move(path)),
        drop_cache_(options.drop_cache),
        cached_bytes_(options.cached_bytes),
        pool_(options.pool ? options.pool : arrow::default_memory_pool()),
        context_(pool_) {
    set_mode(arrow::io::FileMode::READ);
    if (cached_bytes_ == INT64_MAX) return;
    // Of what is not read in order, reading ahead would only drive out what is still needed.
    posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM);
    if (IsOnLocalDisk(fd_)) direct_fd_ = open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  }
  ~LocalReadFile() override { (void)Close(); }

  Status Close() override {
    const int fd = fd_.exchange(-1);
    if (fd < 0) return Status::OK();
    if (drop_cache_ && missed_) posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);  // nothing was written: no error to report
    if (direct_fd_ >= 0) close(direct_fd_);
    return Status::OK();
  }
  bool closed() const override { return fd_ < 0; }

  Result<int64_t> GetSize() override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    struct stat info;
    if (fstat(fd_, &info) != 0) return ErrnoStatus(errno, "stat", path_);
    return info.st_size;
  }

  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    if (position < 0 || nbytes < 0) {
      return BugError("a read of " + std::to_string(nbytes) + " bytes at " + std::to_string(position) +
                      " of '" + path_ + "' was asked for");
    }
    int64_t done = 0;
    if (direct_fd_ >= 0 && position >= cached_bytes_ && IsAligned(position, nbytes, out)) {
      done = ReadDirect(position, nbytes, static_cast<uint8_t*>(out));
    }
    // The rest, or what could not be read so: the end of the file, and errors.
    while (done < nbytes) {
      const int64_t want = std::min(nbytes - done, kReadChunkBytes);
      uint8_t* to = static_cast<uint8_t*>(out) + done;
      if (drop_cache_ && !missed_) {
        const int64_t cached = ReadCached(position + done, want, to);
        done += cached;
        if (cached > 0) continue;
      }
      const ssize_t got = pread(fd_, to, want, position + done);
      if (got < 0) {
        if (errno == EINTR) continue;
        return ErrnoStatus(errno, "read", path_);
      }
      if (got == 0) break;
      if (drop_cache_) {
        missed_ = true;
        DropBehind(position + done, got);
      }
      done += got;
    }
    return done;
  }

  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, bool allow_short_read, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position, nbytes, out));
    if (!allow_short_read && got < nbytes) return ShortRead(position, nbytes, got);
    return got;
  }

  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    // A size from a hostile footer must not become an allocation: no file gives more than it has.
    ARROW_ASSIGN_OR_RAISE(const int64_t size, GetSize());
    const int64_t left = std::max<int64_t>(0, size - position);
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(std::min(nbytes, left), pool_));
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position, buffer->size(), buffer->mutable_data()));
    if (got < buffer->size()) ARROW_RETURN_NOT_OK(buffer->Resize(got));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }

  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes,
                                                bool allow_short_read) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(position, nbytes));
    if (!allow_short_read && buffer->size() < nbytes) return ShortRead(position, nbytes, buffer->size());
    return buffer;
  }

  Result<int64_t> Read(int64_t nbytes, void* out) override {
    std::lock_guard lock(position_mutex_);
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position_, nbytes, out));
    position_ += got;
    return got;
  }

  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override {
    std::lock_guard lock(position_mutex_);
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(position_, nbytes));
    position_ += buffer->size();
    return buffer;
  }

  Status Seek(int64_t position) override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    if (position < 0) return BugError("a seek to " + std::to_string(position) + " in '" + path_ + "'");
    std::lock_guard lock(position_mutex_);
    position_ = position;
    return Status::OK();
  }

  Result<int64_t> Tell() const override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    std::lock_guard lock(position_mutex_);
    return position_;
  }

  Status WillNeed(const std::vector<arrow::io::ReadRange>& ranges) override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    // Only advice: the page cache it fills is the kernel's to bound, and a refusal changes nothing.
    for (const auto& range : ranges) posix_fadvise(fd_, range.offset, range.length, POSIX_FADV_WILLNEED);
    return Status::OK();
  }

  const arrow::io::IOContext& io_context() const override { return context_; }

  int DirectDescriptor(int64_t position, int64_t nbytes, const uint8_t* out) const {
    return position >= cached_bytes_ && IsAligned(position, nbytes, out) && fd_ >= 0 ? direct_fd_ : -1;
  }

 private:
  Status CheckOpen() const {
    return fd_ < 0 ? BugError("'" + path_ + "' is used after it was closed") : Status::OK();
  }

  static bool IsAligned(int64_t position, int64_t nbytes, const void* out) {
    return (position | nbytes | static_cast<int64_t>(reinterpret_cast<uintptr_t>(out))) % kDirectAlignment ==
           0;
  }

  // What is in the page cache already, up to the first page that is not. What was there before this file was
  // opened is somebody's: it stays. From the first page that was not, all is dropped, as the kernel reads
  // ahead.
  int64_t ReadCached(int64_t position, int64_t nbytes, uint8_t* out) const {
    iovec piece{out, static_cast<size_t>(nbytes)};
    return std::max<int64_t>(0, preadv2(fd_, &piece, 1, position, RWF_NOWAIT));
  }

  int64_t ReadDirect(int64_t position, int64_t nbytes, uint8_t* out) {
    int64_t done = 0;
    while (done < nbytes) {
      const ssize_t got =
          pread(direct_fd_, out + done, std::min(nbytes - done, kReadChunkBytes), position + done);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return done;
      done += got;
      if (done % kDirectAlignment != 0) return done;
    }
    return done;
  }

  Status ShortRead(int64_t position, int64_t nbytes, int64_t got) const {
    ErrorContext context;
    context.file = path_;
    return WithContext(
        DataError("'" + path_ + "' ends early: " + std::to_string(nbytes) + " bytes expected at " +
                  std::to_string(position) + ", " + std::to_string(got) + " found"),
        std::move(context));
  }

  void DropBehind(int64_t position, int64_t nbytes) {
    if (nbytes >= kDropEachBytes) {
      // From the start of the first page, which an earlier read may have shared; the kernel keeps a partial
      // last page.
      const int64_t start = position / kPageBytes * kPageBytes;
      posix_fadvise(fd_, start, position + nbytes - start, POSIX_FADV_DONTNEED);
      return;
    }
    if (small_bytes_.fetch_add(nbytes) + nbytes >= kDropTogetherBytes) {
      small_bytes_ = 0;
      posix_fadvise(fd_, 0, 0, POSIX_FADV_DONTNEED);
    }
  }

  std::atomic<int> fd_;
  const std::string path_;
  const bool drop_cache_;
  std::atomic<bool> missed_{false};  // some of it was not in the page cache
  const int64_t cached_bytes_;
  int direct_fd_ = -1;  // around the page cache
  arrow::MemoryPool* const pool_;
  const arrow::io::IOContext context_;
  std::atomic<int64_t> small_bytes_{0};
  mutable std::mutex position_mutex_;
  int64_t position_ = 0;
};

}  // namespace

int DirectDescriptor(const arrow::io::RandomAccessFile& file, int64_t position, int64_t nbytes,
                     const uint8_t* out) {
  const auto* local = dynamic_cast<const LocalReadFile*>(&file);
  return local == nullptr ? -1 : local->DirectDescriptor(position, nbytes, out);
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenLocalRead(const std::string& path,
                                                                   ReadOptions options) {
  // Non-blocking: opening a FIFO must not hang. Regular files do not care.
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  auto file = std::make_shared<LocalReadFile>(fd, path, options);
  struct stat info;
  if (fstat(fd, &info) != 0) return ErrnoStatus(errno, "stat", path);
  if (S_ISDIR(info.st_mode)) return ErrnoStatus(EISDIR, "open", path);
  if (S_ISFIFO(info.st_mode) || S_ISSOCK(info.st_mode)) {
    return EnvironmentError("cannot open '" + path + "': it is a pipe or a socket", "name a regular file",
                            /*retriable=*/false);
  }
  return file;
}

}  // namespace partita
