#include "partita/runs/kept_rows.h"

#include <arrow/api.h>

#include <algorithm>
#include <utility>

#include "partita/runs/framed_file.h"

namespace partita {

KeptRows::~KeptRows() {
  if (env_ != nullptr) (void)env_->RemoveFile(path_);
}

void KeptRows::Append(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t bytes) {
  begins_.push_back(begins_.back() + batch->num_rows());
  // As a file would give it: what is no type (metadata) is not kept.
  batches_.push_back(arrow::RecordBatch::Make(schema_, batch->num_rows(), batch->columns()));
  size_bytes_ += bytes;
}

Status KeptRows::Drain(FramedFileWriter* file, arrow::MemoryPool* pool) {
  for (; drained_ < batches_.size(); ++drained_) ARROW_RETURN_NOT_OK(file->Write(*batches_[drained_], pool));
  return Status::OK();
}

int64_t KeptRows::size_bytes() const {
  std::lock_guard lock(mutex_);
  return size_bytes_;
}

Result<int64_t> KeptRows::Spill(Env* env, const std::string& path, arrow::MemoryPool* pool) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  {
    std::lock_guard lock(mutex_);
    batches = batches_;
  }
  const auto write = [&]() -> Status {
    ARROW_RETURN_NOT_OK(env->CreateDirs(std::string(DirName(path))));
    ARROW_ASSIGN_OR_RAISE(auto file, FramedFileWriter::Open(env, path, schema_));
    for (const auto& batch : batches) ARROW_RETURN_NOT_OK(file->Write(*batch, pool));
    return file->Close();
  };
  if (const Status status = write(); !status.ok()) {
    (void)env->RemoveFile(path);
    return status;
  }
  std::lock_guard lock(mutex_);
  env_ = env;
  path_ = path;
  batches_.clear();  // the last references are `batches`, which dies without the lock
  return std::exchange(size_bytes_, 0);
}

int64_t KeptRows::ForgetAll() {
  std::vector<std::shared_ptr<arrow::RecordBatch>> gone;  // freed without the lock
  std::lock_guard lock(mutex_);
  gone.swap(batches_);
  return std::exchange(size_bytes_, 0);
}

Result<KeptRows::Found> KeptRows::Find(int64_t row) const {
  std::lock_guard lock(mutex_);
  if (env_ != nullptr) return Found{nullptr, path_};
  if (row < 0 || row >= rows() || batches_.empty()) return BugError("a row is read that was given back");
  const auto at = std::upper_bound(begins_.begin(), begins_.end(), row) - begins_.begin() - 1;
  return Found{batches_[static_cast<size_t>(at)]->Slice(row - begins_[static_cast<size_t>(at)]), {}};
}

}  // namespace partita
