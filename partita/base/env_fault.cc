#include "partita/base/env_fault.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <algorithm>
#include <mutex>
#include <utility>

namespace partita {

struct FaultEnv::State {
  mutable std::mutex mutex;
  Hook hook;
  int64_t operations = 0;
  int64_t bytes_written = 0;
  int64_t countdown = 0;  // to the operation that fails; 0: off
  Status nth_status;
  bool stay = false;
  bool down = false;  // `stay` has struck
  int64_t disk_left = -1;
  bool failed = false;

  Status Before(std::string_view op, const std::string& path) {
    Hook to_call;
    {
      std::lock_guard lock(mutex);
      ++operations;
      if (down) return nth_status;
      if (countdown > 0 && --countdown == 0) {
        failed = true;
        down = stay;
        return nth_status;
      }
      to_call = hook;
    }
    return to_call ? to_call(op, path) : Status::OK();
  }

  // How many of `nbytes` the disk takes.
  int64_t TakeDisk(int64_t nbytes) {
    std::lock_guard lock(mutex);
    const int64_t taken = disk_left < 0 ? nbytes : std::min(nbytes, disk_left);
    if (disk_left >= 0) disk_left -= taken;
    if (taken < nbytes) failed = true;
    bytes_written += taken;
    return taken;
  }
};

namespace {

using State = FaultEnv::State;

class FaultReadFile final : public arrow::io::RandomAccessFile {
 public:
  FaultReadFile(std::shared_ptr<State> state, std::shared_ptr<arrow::io::RandomAccessFile> file,
                std::string path)
      : state_(std::move(state)), file_(std::move(file)), path_(std::move(path)) {}

  Status Close() override {
    const Status status = Before("close");
    ARROW_RETURN_NOT_OK(file_->Close());
    return status;
  }
  Status Abort() override { return file_->Abort(); }
  bool closed() const override { return file_->closed(); }
  Result<int64_t> Tell() const override { return file_->Tell(); }
  Status Seek(int64_t position) override { return file_->Seek(position); }
  Result<int64_t> GetSize() override {
    ARROW_RETURN_NOT_OK(Before("stat"));
    return file_->GetSize();
  }
  Result<int64_t> Read(int64_t nbytes, void* out) override {
    ARROW_RETURN_NOT_OK(Before("read"));
    return file_->Read(nbytes, out);
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override {
    ARROW_RETURN_NOT_OK(Before("read"));
    return file_->Read(nbytes);
  }
  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override {
    ARROW_RETURN_NOT_OK(Before("read"));
    return file_->ReadAt(position, nbytes, out);
  }
  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, bool allow_short_read, void* out) override {
    ARROW_RETURN_NOT_OK(Before("read"));
    return file_->ReadAt(position, nbytes, allow_short_read, out);
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override {
    ARROW_RETURN_NOT_OK(Before("read"));
    return file_->ReadAt(position, nbytes);
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes,
                                                bool allow_short_read) override {
    ARROW_RETURN_NOT_OK(Before("read"));
    return file_->ReadAt(position, nbytes, allow_short_read);
  }
  const arrow::io::IOContext& io_context() const override { return file_->io_context(); }

 private:
  Status Before(std::string_view op) { return state_->Before(op, path_); }

  const std::shared_ptr<State> state_;
  const std::shared_ptr<arrow::io::RandomAccessFile> file_;
  const std::string path_;
};

class FaultOutput final : public arrow::io::OutputStream {
 public:
  FaultOutput(std::shared_ptr<State> state, std::shared_ptr<arrow::io::OutputStream> file, std::string path)
      : state_(std::move(state)), file_(std::move(file)), path_(std::move(path)) {}

  using arrow::io::OutputStream::Write;
  Status Write(const void* data, int64_t nbytes) override {
    ARROW_RETURN_NOT_OK(state_->Before("write", path_));
    const int64_t taken = state_->TakeDisk(nbytes);
    ARROW_RETURN_NOT_OK(file_->Write(data, taken));
    if (taken == nbytes) return Status::OK();
    ErrorContext context;
    context.file = path_;
    return WithContext(ResourceError("cannot write '" + path_ + "': No space left on device",
                                     "free disk space, or use a folder on another disk"),
                       std::move(context));
  }
  Status Flush() override {
    ARROW_RETURN_NOT_OK(state_->Before("write", path_));
    return file_->Flush();
  }
  // A close that fails has closed all the same, like close(2).
  Status Close() override {
    if (file_->closed()) return Status::OK();
    const Status status = state_->Before("close", path_);
    if (!status.ok()) {
      (void)file_->Abort();
      return status;
    }
    return file_->Close();
  }
  Status Abort() override { return file_->Abort(); }
  bool closed() const override { return file_->closed(); }
  Result<int64_t> Tell() const override { return file_->Tell(); }

 private:
  const std::shared_ptr<State> state_;
  const std::shared_ptr<arrow::io::OutputStream> file_;
  const std::string path_;
};

}  // namespace

FaultEnv::FaultEnv(Env* base, Hook hook) : ForwardingEnv(base), state_(std::make_shared<State>()) {
  state_->hook = std::move(hook);
}
FaultEnv::~FaultEnv() = default;

void FaultEnv::SetHook(Hook hook) {
  std::lock_guard lock(state_->mutex);
  state_->hook = std::move(hook);
}

void FaultEnv::FailNth(int64_t n, Status status, bool stay) {
  std::lock_guard lock(state_->mutex);
  state_->countdown = n;
  state_->nth_status = std::move(status);
  state_->stay = stay;
  state_->down = false;
  state_->failed = false;
}

void FaultEnv::FailAfterBytes(int64_t bytes) {
  std::lock_guard lock(state_->mutex);
  state_->disk_left = bytes;
  state_->failed = false;
}

int64_t FaultEnv::operations() const {
  std::lock_guard lock(state_->mutex);
  return state_->operations;
}

int64_t FaultEnv::bytes_written() const {
  std::lock_guard lock(state_->mutex);
  return state_->bytes_written;
}

bool FaultEnv::failed() const {
  std::lock_guard lock(state_->mutex);
  return state_->failed;
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> FaultEnv::OpenRead(const std::string& path,
                                                                        ReadOptions options) {
  ARROW_RETURN_NOT_OK(state_->Before("open_read", path));
  ARROW_ASSIGN_OR_RAISE(auto file, base()->OpenRead(path, options));
  return std::make_shared<FaultReadFile>(state_, std::move(file), path);
}

Result<std::shared_ptr<arrow::io::OutputStream>> FaultEnv::OpenWrite(const std::string& path,
                                                                     WriteOptions options) {
  ARROW_RETURN_NOT_OK(state_->Before("open_write", path));
  ARROW_ASSIGN_OR_RAISE(auto file, base()->OpenWrite(path, options));
  return std::make_shared<FaultOutput>(state_, std::move(file), path);
}

Result<std::shared_ptr<arrow::io::OutputStream>> FaultEnv::OpenAppend(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("open_append", path));
  ARROW_ASSIGN_OR_RAISE(auto file, base()->OpenAppend(path));
  return std::make_shared<FaultOutput>(state_, std::move(file), path);
}

Result<FileStatus> FaultEnv::Stat(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("stat", path));
  return base()->Stat(path);
}

Result<std::vector<DirEntry>> FaultEnv::ListDir(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("list_dir", path));
  return base()->ListDir(path);
}

Status FaultEnv::CreateDirs(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("create_dirs", path));
  return base()->CreateDirs(path);
}

Status FaultEnv::Rename(const std::string& from, const std::string& to) {
  ARROW_RETURN_NOT_OK(state_->Before("rename", from));
  return base()->Rename(from, to);
}

Status FaultEnv::RemoveFile(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("remove_file", path));
  return base()->RemoveFile(path);
}

Status FaultEnv::RemoveTree(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("remove_tree", path));
  return base()->RemoveTree(path);
}

Status FaultEnv::SyncFiles(const std::vector<std::string>& paths,
                           const std::vector<std::string>& if_possible) {
  for (const auto& path : paths) ARROW_RETURN_NOT_OK(state_->Before("sync_file", path));
  return base()->SyncFiles(paths, if_possible);
}

Status FaultEnv::SyncFileSystem(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("sync_file_system", path));
  return base()->SyncFileSystem(path);
}

Result<std::shared_ptr<void>> FaultEnv::LockFile(const std::string& path) {
  ARROW_RETURN_NOT_OK(state_->Before("lock_file", path));
  return base()->LockFile(path);
}

Result<MachineLimits> FaultEnv::Limits() {
  ARROW_RETURN_NOT_OK(state_->Before("limits", ""));
  return base()->Limits();
}

Result<ProcessMemory> FaultEnv::Memory() {
  ARROW_RETURN_NOT_OK(state_->Before("memory", ""));
  return base()->Memory();
}

}  // namespace partita
