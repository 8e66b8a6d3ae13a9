#include "partita/exchange/run_share.h"

#include <arrow/api.h>

#include <utility>

namespace partita {

std::shared_ptr<RunShare> RunShare::Make(RunShareInit init) {
  auto memory = init.memory;
  auto share = std::make_shared<RunShare>(std::move(init));
  if (memory) memory->Add(share);
  return share;
}

RunShare::RunShare(RunShareInit init)
    : init_(std::move(init)),
      started_ns_(init_.env->MonotonicNanos()),
      file_(init_.env, init_.folder, init_.name, init_.attempt) {
  if (init_.memory) kept_ = std::make_shared<KeptRuns>(init_.schema);
}

Status RunShare::Open() {
  if (writer_) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const std::string path, file_.Create());
  ARROW_ASSIGN_OR_RAISE(writer_, RunFileWriter::Open(init_.env, path, init_.schema, init_.cached_bytes));
  return Status::OK();
}

bool RunShare::in_memory() const {
  std::lock_guard lock(mutex_);
  return kept_ != nullptr;
}

int64_t RunShare::run() const {
  std::lock_guard lock(mutex_);
  return kept_ ? kept_->run() : writer_ ? writer_->run() : 0;
}

int64_t RunShare::rank() const {
  std::lock_guard lock(mutex_);
  return kept_ ? kept_->rank() : writer_ ? writer_->rank() : 0;
}

Status RunShare::Append(std::shared_ptr<arrow::RecordBatch> batch, KeyPoint first, arrow::MemoryPool* pool) {
  std::lock_guard lock(mutex_);
  const int64_t bytes = KeptRuns::BytesOf(*batch);
  if (kept_ && !writer_ && kept_->size_bytes() + bytes <= init_.most_kept_bytes &&
      init_.memory->Claim(bytes)) {
    kept_->Append(std::move(batch), std::move(first));
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(WriteOutLocked(pool).status());
  ARROW_RETURN_NOT_OK(Open());
  return writer_->Append(*batch, std::move(first), pool);
}

void RunShare::EndRun() {
  std::lock_guard lock(mutex_);
  if (kept_) {
    kept_->EndRun();
  } else if (writer_) {
    writer_->EndRun();
  }
}

Result<int64_t> RunShare::WriteOut(arrow::MemoryPool* pool) {
  std::lock_guard lock(mutex_);
  return WriteOutLocked(pool);
}

Result<int64_t> RunShare::WriteOutLocked(arrow::MemoryPool* pool) {
  if (!kept_) return 0;
  const int64_t before = kept_->size_bytes();
  Status status = Open();
  if (status.ok()) status = kept_->Drain(writer_.get(), pool);
  const int64_t freed = before - kept_->size_bytes();
  init_.memory->Release(freed);
  ARROW_RETURN_NOT_OK(status);
  kept_.reset();
  return freed;
}

Result<std::vector<OutputFile>> RunShare::Finish(std::vector<SampledRow> sample, arrow::MemoryPool* pool) {
  std::lock_guard lock(mutex_);
  const std::string path = JoinPath(init_.folder, init_.name);
  if (kept_ && !writer_ && init_.memory->MayLose(init_.env->MonotonicNanos() - started_ns_)) {
    auto sample_bytes = static_cast<int64_t>(sample.size() * sizeof(SampledRow));
    for (const auto& row : sample) sample_bytes += static_cast<int64_t>(row.point.whole.capacity());
    auto index_memory = init_.memory->pool()->Reserve(kept_->index().size_bytes() + sample_bytes);
    if (index_memory.ok()) {
      kept_->Close(std::move(sample), std::move(*index_memory));
      init_.memory->Put(path, std::move(kept_));
      return std::vector<OutputFile>{};
    }
  }
  ARROW_RETURN_NOT_OK(WriteOutLocked(pool).status());
  ARROW_RETURN_NOT_OK(Open());
  ARROW_RETURN_NOT_OK(writer_->Close(std::move(sample)));
  if (init_.memory) init_.memory->Put(path, nullptr);
  const auto writer = std::move(writer_);
  return std::vector<OutputFile>{file_.Finish(writer->index().rows, writer->size_bytes())};
}

void RunShare::Abort() {
  std::lock_guard lock(mutex_);
  if (kept_) init_.memory->Release(kept_->size_bytes());
  kept_.reset();
  writer_.reset();
  file_.Remove();
}

}  // namespace partita
