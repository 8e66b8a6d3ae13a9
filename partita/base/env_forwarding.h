// An Env that does everything through another one: what Envs are made of that do some things differently.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/base/env.h"

namespace partita {

class ForwardingEnv : public Env {
 public:
  // `base` outlives it and the files that it opens.
  explicit ForwardingEnv(Env* base) : base_(base) {}

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenRead(const std::string& path,
                                                                ReadOptions options = {}) override {
    return base_->OpenRead(path, options);
  }
  Result<std::shared_ptr<arrow::io::OutputStream>> OpenWrite(const std::string& path,
                                                             WriteOptions options = {}) override {
    return base_->OpenWrite(path, options);
  }
  Result<std::shared_ptr<arrow::io::OutputStream>> OpenAppend(const std::string& path) override {
    return base_->OpenAppend(path);
  }
  Result<FileStatus> Stat(const std::string& path) override { return base_->Stat(path); }
  Result<std::vector<DirEntry>> ListDir(const std::string& path) override { return base_->ListDir(path); }
  Status CreateDirs(const std::string& path) override { return base_->CreateDirs(path); }
  Status Rename(const std::string& from, const std::string& to) override { return base_->Rename(from, to); }
  Status RemoveFile(const std::string& path) override { return base_->RemoveFile(path); }
  Status RemoveTree(const std::string& path) override { return base_->RemoveTree(path); }
  Status SyncFiles(const std::vector<std::string>& paths,
                   const std::vector<std::string>& if_possible = {}) override {
    return base_->SyncFiles(paths, if_possible);
  }
  Status SyncFileSystem(const std::string& path) override { return base_->SyncFileSystem(path); }
  Result<std::shared_ptr<void>> LockFile(const std::string& path) override { return base_->LockFile(path); }
  int64_t NowUnixMicros() override { return base_->NowUnixMicros(); }
  int64_t MonotonicNanos() override { return base_->MonotonicNanos(); }
  std::string RandomHex(int bytes) override { return base_->RandomHex(bytes); }
  Result<MachineLimits> Limits() override { return base_->Limits(); }
  Result<ProcessMemory> Memory() override { return base_->Memory(); }

 protected:
  Env* base() const { return base_; }

 private:
  Env* const base_;
};

}  // namespace partita
