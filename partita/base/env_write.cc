// Sequential writes of local files, with a bounded page cache.
#include <arrow/io/interfaces.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <vector>

#include "partita/base/env_direct.h"
#include "partita/base/env_errno.h"
#include "partita/base/env_files.h"

namespace partita {
namespace {

// Smaller writes are joined; larger ones go straight to the kernel.
constexpr int64_t kBufferBytes = 64 << 10;
// A file of bounded page cache goes around it behind so many bytes: then it is large, and writing it so costs
// less processor time than taking pages and dropping them.
constexpr int64_t kMostCachedBytes = 4 << 20;

class LocalOutput : public arrow::io::OutputStream {
 public:
  using arrow::io::OutputStream::Write;  // of a Buffer: nothing is kept, so no copy is needed

  LocalOutput(int fd, std::string path, int64_t position)
      : fd_(fd), path_(std::move(path)), position_(position) {
    set_mode(arrow::io::FileMode::WRITE);
  }
  ~LocalOutput() override {
    if (fd_ >= 0) close(fd_);
  }

  bool closed() const override { return fd_ < 0; }
  Result<int64_t> Tell() const override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    return position_;
  }
  Status Abort() override {
    if (fd_ >= 0) close(std::exchange(fd_, -1));
    return Status::OK();
  }

 protected:
  Status CheckOpen() const {
    return fd_ < 0 ? BugError("'" + path_ + "' is used after it was closed") : Status::OK();
  }

  Status CloseDescriptor() {
    // Never again after EINTR: the descriptor is gone, and its number may be another file already.
    if (close(std::exchange(fd_, -1)) != 0 && errno != EINTR) return ErrnoStatus(errno, "close", path_);
    return Status::OK();
  }

  int fd_;
  const std::string path_;
  int64_t position_;  // what Tell() says: bytes accepted
};

class LocalWriteFile final : public LocalOutput {
 public:
  LocalWriteFile(int fd, std::string path, WriteOptions options)
      : LocalOutput(fd, std::move(path), 0), window_bytes_(std::max<int64_t>(0, options.window_bytes)) {
    const int64_t cached =
        window_bytes_ > 0 ? std::min(kMostCachedBytes, 2 * window_bytes_) : options.cached_bytes;
    direct_from_ = cached / kDirectAlignment * kDirectAlignment;
  }
  ~LocalWriteFile() override { (void)Close(); }

  using LocalOutput::Write;
  Status Write(const void* data, int64_t nbytes) override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    ARROW_RETURN_NOT_OK(failed_);
    position_ += nbytes;
    const auto* bytes = static_cast<const uint8_t*>(data);
    if (static_cast<int64_t>(buffer_.size()) + nbytes > kBufferBytes) ARROW_RETURN_NOT_OK(Flush());
    if (direct_ || nbytes >= kBufferBytes) return WriteOut(bytes, nbytes);
    if (buffer_.capacity() == 0) buffer_.reserve(kBufferBytes);
    buffer_.insert(buffer_.end(), bytes, bytes + nbytes);
    return Status::OK();
  }

  // What goes around the page cache leaves in whole buffers, and is all there after Close.
  Status Flush() override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    ARROW_RETURN_NOT_OK(failed_);
    if (direct_) return Status::OK();
    ARROW_RETURN_NOT_OK(WriteOut(buffer_.data(), static_cast<int64_t>(buffer_.size())));
    buffer_.clear();
    return Status::OK();
  }

  Status Close() override {
    if (fd_ < 0) return Status::OK();
    Status status = Flush();
    if (status.ok() && direct_) status = Finish(direct_->Finish());
    direct_.reset();
    if (status.ok() && window_bytes_ > 0 && window_start_ > 0) {
      status = Finish(DropWindow(previous_start_, window_start_ - previous_start_));
      // The rest starts on its way to disk; what is clean by now leaves the page cache.
      if (status.ok()) posix_fadvise(fd_, previous_start_, 0, POSIX_FADV_DONTNEED);
    }
    Status closed = CloseDescriptor();
    return status.ok() ? closed : status;
  }

 private:
  // Writes everything, window by window. The first error sticks: what follows a hole must not look written.
  Status WriteOut(const uint8_t* bytes, int64_t nbytes) {
    while (nbytes > 0) {
      if (written_ >= direct_from_) {
        direct_from_ = INT64_MAX;
        // What the page cache has starts its way to disk, and leaves it in the end.
        if (window_bytes_ > 0 && written_ > window_start_) ARROW_RETURN_NOT_OK(Finish(EndWindow()));
        direct_ = DirectWriter::Make(fd_, path_, written_);
      }
      if (direct_) return Finish(direct_->Write(bytes, nbytes));
      int64_t want = std::min(nbytes, direct_from_ - written_);
      if (window_bytes_ > 0) want = std::min(want, window_start_ + window_bytes_ - written_);
      const ssize_t done = write(fd_, bytes, want);
      if (done < 0) {
        if (errno == EINTR) continue;
        return Finish(ErrnoStatus(errno, "write", path_));
      }
      bytes += done;
      nbytes -= done;
      written_ += done;
      if (window_bytes_ > 0 && written_ == window_start_ + window_bytes_) {
        ARROW_RETURN_NOT_OK(Finish(EndWindow()));
      }
    }
    return Status::OK();
  }

  // The finished window starts its way to disk; the one before, which had a whole window of time, is waited
  // for and dropped. So a file holds two windows of page cache, and the disk never idles.
  Status EndWindow() {
    if (sync_file_range(fd_, window_start_, written_ - window_start_, SYNC_FILE_RANGE_WRITE) != 0) {
      return SyncFailed(errno);
    }
    if (window_start_ > 0) ARROW_RETURN_NOT_OK(DropWindow(previous_start_, window_start_ - previous_start_));
    previous_start_ = window_start_;
    window_start_ = written_;
    return Status::OK();
  }

  Status DropWindow(int64_t start, int64_t bytes) {
    constexpr unsigned kWait =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    if (sync_file_range(fd_, start, bytes, kWait) != 0) return SyncFailed(errno);
    posix_fadvise(fd_, start, bytes, POSIX_FADV_DONTNEED);
    return Status::OK();
  }

  // Pipes, devices and some file systems have no page cache to bound.
  Status SyncFailed(int error) {
    if (error == EIO || error == ENOSPC || error == EDQUOT) return ErrnoStatus(error, "write", path_);
    window_bytes_ = 0;
    return Status::OK();
  }

  Status Finish(Status status) {
    if (!status.ok() && failed_.ok()) failed_ = status;
    return status;
  }

  int64_t window_bytes_;
  int64_t direct_from_;  // where the page cache is left
  std::unique_ptr<DirectWriter> direct_;
  int64_t written_ = 0;         // bytes the kernel has, through the page cache
  int64_t window_start_ = 0;    // of the window being written
  int64_t previous_start_ = 0;  // of the window on its way to disk
  std::vector<uint8_t> buffer_;
  Status failed_;
};

class LocalAppendFile final : public LocalOutput {
 public:
  using LocalOutput::LocalOutput;

  using LocalOutput::Write;
  Status Write(const void* data, int64_t nbytes) override {
    ARROW_RETURN_NOT_OK(CheckOpen());
    ssize_t done;
    do {
      done = write(fd_, data, nbytes);
    } while (done < 0 && errno == EINTR);
    if (done < 0) return ErrnoStatus(errno, "append to", path_);
    position_ += done;
    // One call is one record: the rest must not be glued on after somebody else's. Only a full disk writes a
    // part.
    if (done < nbytes) return ErrnoStatus(ENOSPC, "append to", path_);
    return Status::OK();
  }

  Status Close() override { return fd_ < 0 ? Status::OK() : CloseDescriptor(); }
};

}  // namespace

Result<std::shared_ptr<arrow::io::OutputStream>> OpenLocalWrite(const std::string& path,
                                                                WriteOptions options) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus(errno, "create", path);
  return std::make_shared<LocalWriteFile>(fd, path, options);
}

Result<std::shared_ptr<arrow::io::OutputStream>> OpenLocalAppend(const std::string& path) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (fd < 0) return ErrnoStatus(errno, "open", path);
  struct stat info;
  if (fstat(fd, &info) != 0) {
    const int error = errno;
    close(fd);
    return ErrnoStatus(error, "stat", path);
  }
  return std::make_shared<LocalAppendFile>(fd, path, info.st_size);
}

}  // namespace partita
