// An Env that fails on purpose: the twin of LocalEnv for tests. It does the real thing through another Env,
// and asks a hook before each operation, those of the files it opened included.
//
//   FaultEnv env;
//   env.FailNth(n, EnvironmentError("..."));   // n = 1, 2, ... until a pass sees no failure: each system
//   call failed in turn env.FailAfterBytes(1000);                  // a disk that is full after 1000 bytes
//
// Operations: open_read open_write open_append read write close stat list_dir create_dirs rename remove_file
// remove_tree sync_file sync_file_system lock_file limits memory. Clocks and random numbers cannot fail and
// are not counted.
//
// Thread-safe. Files outlive the FaultEnv; the Env below must outlive them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "partita/base/env_forwarding.h"

namespace partita {

class FaultEnv final : public ForwardingEnv {
 public:
  // A status that is not OK is what the operation returns, without doing anything.
  using Hook = std::function<Status(std::string_view op, const std::string& path)>;

  explicit FaultEnv(Env* base = Env::Default(), Hook hook = nullptr);
  ~FaultEnv() override;

  void SetHook(Hook hook);
  // The n-th operation from now (1 = next) fails once; with `stay` all later ones fail too, as after a crash.
  // 0: off.
  void FailNth(int64_t n, Status status, bool stay = false);
  // From now the disk takes `bytes`; a write that does not fit is cut short and fails. Negative: off.
  void FailAfterBytes(int64_t bytes);

  int64_t operations() const;     // asked for so far, failed ones included
  int64_t bytes_written() const;  // that reached the Env below
  bool failed() const;            // FailNth or FailAfterBytes has struck

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenRead(const std::string& path,
                                                                ReadOptions options = {}) override;
  Result<std::shared_ptr<arrow::io::OutputStream>> OpenWrite(const std::string& path,
                                                             WriteOptions options = {}) override;
  Result<std::shared_ptr<arrow::io::OutputStream>> OpenAppend(const std::string& path) override;
  Result<FileStatus> Stat(const std::string& path) override;
  Result<std::vector<DirEntry>> ListDir(const std::string& path) override;
  Status CreateDirs(const std::string& path) override;
  Status Rename(const std::string& from, const std::string& to) override;
  Status RemoveFile(const std::string& path) override;
  Status RemoveTree(const std::string& path) override;
  Status SyncFiles(const std::vector<std::string>& paths,
                   const std::vector<std::string>& if_possible) override;
  Status SyncFileSystem(const std::string& path) override;
  Result<std::shared_ptr<void>> LockFile(const std::string& path) override;
  Result<MachineLimits> Limits() override;
  Result<ProcessMemory> Memory() override;

  struct State;  // shared with the open files

 private:
  const std::shared_ptr<State> state_;
};

}  // namespace partita
