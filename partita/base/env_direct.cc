#include "partita/base/env_direct.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

#include "partita/base/env.h"
#include "partita/base/env_errno.h"

namespace partita {
namespace {

constexpr int64_t kBufferBytes = 1 << 20;
constexpr long kXfsMagic = 0x58465342;  // not in linux/magic.h everywhere

std::atomic<int> writers{0};

}  // namespace

bool IsOnLocalDisk(int fd) {
  struct statfs info;
  if (fstatfs(fd, &info) != 0) return false;
  return info.f_type == EXT4_SUPER_MAGIC || info.f_type == kXfsMagic || info.f_type == OVERLAYFS_SUPER_MAGIC;
}

void DirectWriter::Unmap::operator()(uint8_t* memory) const { munmap(memory, kBufferBytes); }

DirectWriter::Memory DirectWriter::NewBuffer() {
  void* memory = mmap(nullptr, kBufferBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return Memory(memory == MAP_FAILED ? nullptr : static_cast<uint8_t*>(memory));
}

std::unique_ptr<DirectWriter> DirectWriter::Make(int fd, const std::string& path, int64_t offset) {
  const int flags = fcntl(fd, F_GETFL);
  if (offset % kDirectAlignment != 0 || flags < 0 || writers >= kMaxWriters || !IsOnLocalDisk(fd))
    return nullptr;
  auto writer = std::unique_ptr<DirectWriter>(new DirectWriter(fd, path, offset));
  writer->filling_ = NewBuffer();
  if (!writer->filling_ || fcntl(fd, F_SETFL, flags | O_DIRECT) != 0) return nullptr;
  return writer;
}

DirectWriter::DirectWriter(int fd, std::string path, int64_t offset)
    : fd_(fd), path_(std::move(path)), offset_(offset) {
  ++writers;
}

DirectWriter::~DirectWriter() {
  --writers;
  if (!thread_.joinable()) return;
  {
    std::lock_guard lock(mutex_);
    stop_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Status DirectWriter::Write(const uint8_t* bytes, int64_t nbytes) {
  while (nbytes > 0) {
    const int64_t count = std::min(nbytes, kBufferBytes - filled_bytes_);
    std::memcpy(filling_.get() + filled_bytes_, bytes, static_cast<size_t>(count));
    filled_bytes_ += count;
    bytes += count;
    nbytes -= count;
    if (filled_bytes_ == kBufferBytes) ARROW_RETURN_NOT_OK(Submit());
  }
  return Status::OK();
}

// The full buffer goes to the thread; where there can be none, straight to the disk.
Status DirectWriter::Submit() {
  if (!thread_.joinable()) {
    leaving_ = NewBuffer();
    if (leaving_) {
      try {
        thread_ = std::thread([this] { Run(); });
      } catch (const std::system_error&) {
        leaving_.reset();
      }
    }
  }
  ARROW_RETURN_NOT_OK(Wait());
  if (!thread_.joinable()) {
    status_ = WriteAll(filling_.get(), kBufferBytes, offset_);
    ARROW_RETURN_NOT_OK(status_);
  } else {
    std::swap(filling_, leaving_);
    {
      std::lock_guard lock(mutex_);
      leaving_offset_ = offset_;
      busy_ = true;
    }
    changed_.notify_all();
  }
  offset_ += kBufferBytes;
  filled_bytes_ = 0;
  return Status::OK();
}

Status DirectWriter::Wait() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !busy_; });
  return status_;
}

void DirectWriter::Run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return busy_ || stop_; });
    if (!busy_) return;
    const int64_t offset = leaving_offset_;
    lock.unlock();
    Status status = WriteAll(leaving_.get(), kBufferBytes, offset);
    lock.lock();
    if (status_.ok()) status_ = std::move(status);
    busy_ = false;
    changed_.notify_all();
  }
}

Status DirectWriter::WriteAll(const uint8_t* bytes, int64_t nbytes, int64_t offset) {
  while (nbytes > 0) {
    const ssize_t done = pwrite(fd_, bytes, static_cast<size_t>(nbytes), offset);
    if (done < 0) {
      if (errno == EINTR) continue;
      // A disk with larger sectors, or a layer between that does not take such writes after all.
      const int flags = fcntl(fd_, F_GETFL);
      if (errno == EINVAL && (flags & O_DIRECT) != 0 && fcntl(fd_, F_SETFL, flags & ~O_DIRECT) == 0) continue;
      return ErrnoStatus(errno, "write", path_);
    }
    bytes += done;
    nbytes -= done;
    offset += done;
  }
  return Status::OK();
}

Status DirectWriter::Finish() {
  ARROW_RETURN_NOT_OK(Wait());
  const int64_t even_bytes = filled_bytes_ / kDirectAlignment * kDirectAlignment;
  status_ = WriteAll(filling_.get(), even_bytes, offset_);
  ARROW_RETURN_NOT_OK(status_);
  if (even_bytes == filled_bytes_) return Status::OK();
  // The last page is not full: the page cache has it.
  const int flags = fcntl(fd_, F_GETFL);
  if (fcntl(fd_, F_SETFL, flags & ~O_DIRECT) != 0) status_ = ErrnoStatus(errno, "write", path_);
  if (status_.ok())
    status_ = WriteAll(filling_.get() + even_bytes, filled_bytes_ - even_bytes, offset_ + even_bytes);
  return status_;
}

}  // namespace partita
