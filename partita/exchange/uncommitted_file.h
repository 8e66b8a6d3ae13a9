// The file that a sink makes for an exchange. It does not count before its task commits: until then it has a
// name of its attempt, and it goes with its sink unless it was finished.
#pragma once

#include <cstdint>
#include <string>
#include <utility>

#include "partita/operator/operator.h"

namespace partita {

class UncommittedFile {
 public:
  // `folder`/`name` once it is committed.
  UncommittedFile(Env* env, std::string folder, std::string name, const std::string& attempt)
      : env_(env), folder_(std::move(folder)), name_(std::move(name)) {
    path_ = JoinPath(folder_, name_ + ".tmp-" + attempt);
  }
  ~UncommittedFile() { Remove(); }
  UncommittedFile(const UncommittedFile&) = delete;
  UncommittedFile& operator=(const UncommittedFile&) = delete;

  // Where to write it; its folder is there.
  Result<std::string> Create() {
    ARROW_RETURN_NOT_OK(env_->CreateDirs(folder_));
    is_made_ = true;
    return path_;
  }
  const std::string& path() const { return path_; }
  // Its writer is closed: the commit renames it.
  OutputFile Finish(int64_t rows, int64_t size_bytes) {
    is_made_ = false;
    OutputFile file;
    file.path = name_;
    file.temporary = path_;
    file.rows = rows;
    file.size_bytes = size_bytes;
    return file;
  }
  // After Finish it is the commit's, and nothing happens.
  void Remove() {
    if (std::exchange(is_made_, false)) (void)env_->RemoveFile(path_);
  }

 private:
  Env* env_;
  std::string folder_, name_, path_;
  bool is_made_ = false;
};

}  // namespace partita
