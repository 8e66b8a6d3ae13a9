#include "partita/exchange/run_share.h"

#include <arrow/api.h>

#include <algorithm>
#include <utility>

#include "partita/operator/operator.h"

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
      most_kept_bytes_(init_.most_kept_bytes),
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

int64_t RunShare::kept_bytes() const {
  std::lock_guard lock(mutex_);
  return kept_ ? kept_->size_bytes() : 0;
}

void RunShare::Widen(int64_t bytes) {
  std::lock_guard lock(mutex_);
  most_kept_bytes_ += std::min(bytes, INT64_MAX - most_kept_bytes_);
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
  ARROW_RETURN_NOT_OK(torn_);
  const int64_t bytes = KeptRuns::BytesOf(*batch);
  if (kept_ && !writer_ && kept_->size_bytes() + bytes <= most_kept_bytes_ && init_.memory->Claim(bytes)) {
    kept_->Append(std::move(batch), std::move(first));
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(WriteOutLocked(pool).status());
  ARROW_RETURN_NOT_OK(Open());
  return Torn(writer_->Append(*batch, std::move(first), pool));
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
  if (status.ok()) status = Torn(kept_->Drain(writer_.get(), pool));
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

// Others than the task that failed go on with it: they must not write behind half a frame.
Status RunShare::Torn(Status status) {
  if (!status.ok() && !status.IsOutOfMemory()) torn_ = status;
  return status;
}

Status RunShare::Keep(arrow::MemoryPool* pool) {
  std::lock_guard lock(mutex_);
  ARROW_RETURN_NOT_OK(torn_);
  auto& memory = *init_.memory;
  if (kept_ && !writer_) {
    if (auto index_memory = memory.pool()->Reserve(kept_->index().size_bytes()); index_memory.ok()) {
      kept_->Close({}, std::move(*index_memory));
      memory.Put(JoinPath(init_.folder, init_.name), std::move(kept_));
      return Status::OK();
    }
  }
  ARROW_RETURN_NOT_OK(WriteOutLocked(pool).status());
  ARROW_RETURN_NOT_OK(Open());
  ARROW_ASSIGN_OR_RAISE(auto index_memory, memory.pool()->Reserve(writer_->index().size_bytes()));
  if (!is_closed_) ARROW_RETURN_NOT_OK(Torn(writer_->Close({})));
  is_closed_ = true;
  ARROW_ASSIGN_OR_RAISE(auto kept,
                        KeptRuns::InFile(init_.env, file_.path(), writer_->index(), init_.cached_bytes));
  file_.Finish(writer_->index().rows, writer_->size_bytes());
  writer_.reset();
  kept->Close({}, std::move(index_memory));
  memory.Put(JoinPath(init_.folder, init_.name), std::move(kept));
  return Status::OK();
}

Status RunShare::WriteRun(size_t total, size_t per_frame, size_t* written, const OperatorContext& ctx,
                          const std::function<Status(size_t count)>& write) {
  size_t count = per_frame;
  while (*written < total) {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    count = std::min(count, total - *written);
    const Status status = write(count);
    if (status.IsOutOfMemory() && in_memory()) {
      ARROW_RETURN_NOT_OK(WriteOut(ctx.pool.get()).status());
      continue;
    }
    if (status.IsOutOfMemory() && count > 1) {
      count /= 2;
      continue;
    }
    ARROW_RETURN_NOT_OK(status);
    *written += count;
  }
  EndRun();
  return Status::OK();
}

void RunShare::Abort() {
  std::lock_guard lock(mutex_);
  if (kept_) init_.memory->Release(kept_->size_bytes());
  kept_.reset();
  writer_.reset();
  file_.Remove();
}

}  // namespace partita
