#include "partita/runs/kept_runs.h"

#include <arrow/api.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <utility>

namespace partita {
namespace {

// What leaves because memory is short has no use for the page cache's.
constexpr int64_t kCachedBytes = 0;

}  // namespace

KeptRuns::KeptRuns(std::shared_ptr<arrow::Schema> schema) { index_.schema = std::move(schema); }

KeptRuns::~KeptRuns() {
  file_.reset();
  if (env_ != nullptr) (void)env_->RemoveFile(path_);
}

Result<std::shared_ptr<KeptRuns>> KeptRuns::InFile(Env* env, const std::string& path, const RunIndex& index,
                                                   int64_t cached_bytes) {
  auto kept = std::make_shared<KeptRuns>(index.schema);
  ARROW_ASSIGN_OR_RAISE(kept->file_, RunFileReader::Open(env, path, index.schema, cached_bytes));
  kept->env_ = env;
  kept->path_ = path;
  kept->index_ = index;
  for (auto& run : kept->index_.runs) {
    for (auto& frame : run) {
      kept->places_.push_back(frame);
      frame.offset = static_cast<int64_t>(kept->places_.size()) - 1;
    }
  }
  return kept;
}

int64_t KeptRuns::rank() const {
  return in_run_ ? index_.runs.back().back().rank + index_.runs.back().back().rows : 0;
}

void KeptRuns::Append(std::shared_ptr<arrow::RecordBatch> batch, KeyPoint first) {
  RunFrame frame;
  frame.offset = static_cast<int64_t>(frames_.size());
  frame.length = BytesOf(*batch);
  frame.rows = batch->num_rows();
  frame.first = std::move(first);
  frame.rank = rank();
  index_.longest_frame = std::max(index_.longest_frame, frame.length);
  index_.rows += frame.rows;
  size_bytes_ += frame.length;
  if (!in_run_) index_.runs.emplace_back();
  in_run_ = true;
  index_.runs.back().push_back(std::move(frame));
  frames_.push_back(std::move(batch));
}

void KeptRuns::EndRun() { in_run_ = false; }

void KeptRuns::Close(std::vector<SampledRow> sample, Reservation memory) {
  index_.sample = std::move(sample);
  index_memory_ = std::move(memory);
}

int64_t KeptRuns::BytesOf(const arrow::RecordBatch& batch) {
  return std::max<int64_t>(1, arrow::util::TotalBufferSize(batch));
}

int64_t KeptRuns::size_bytes() const {
  std::lock_guard lock(mutex_);
  return size_bytes_;
}

Status KeptRuns::Drain(RunFileWriter* file, arrow::MemoryPool* pool) {
  size_t number = 0;
  for (size_t r = 0; r < index_.runs.size(); ++r) {
    const auto& run = index_.runs[r];
    for (size_t f = 0; f < run.size(); ++f, ++number) {
      if (number < drained_) continue;
      ARROW_RETURN_NOT_OK(file->Append(*frames_[number], run[f].first, pool));
      if (f + 1 == run.size() && (!in_run_ || r + 1 < index_.runs.size())) file->EndRun();
      std::lock_guard lock(mutex_);
      frames_[number].reset();
      size_bytes_ -= run[f].length;
      ++drained_;
    }
  }
  return Status::OK();
}

Result<int64_t> KeptRuns::Spill(Env* env, const std::string& path, arrow::MemoryPool* pool) {
  ARROW_RETURN_NOT_OK(env->CreateDirs(std::string(DirName(path))));
  auto places = WriteFile(env, path, pool);
  auto file = RunFileReader::Open(env, path, index_.schema, kCachedBytes);
  if (!places.ok() || !file.ok()) {
    (void)env->RemoveFile(path);
    return places.ok() ? file.status() : places.status();
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> gone;  // freed without the lock
  std::lock_guard lock(mutex_);
  env_ = env;
  path_ = path;
  file_ = std::move(*file);
  places_ = std::move(*places);
  gone.swap(frames_);
  return std::exchange(size_bytes_, 0);
}

Result<std::vector<RunFrame>> KeptRuns::WriteFile(Env* env, const std::string& path,
                                                  arrow::MemoryPool* pool) const {
  ARROW_ASSIGN_OR_RAISE(auto file, RunFileWriter::Open(env, path, index_.schema, kCachedBytes));
  std::vector<RunFrame> places;
  for (const auto& run : index_.runs) {
    for (const auto& frame : run) {
      RunFrame& place = places.emplace_back();
      std::shared_ptr<arrow::RecordBatch> batch;
      {
        std::lock_guard lock(mutex_);
        batch = frames_[places.size() - 1];
      }
      if (!batch) continue;
      ARROW_RETURN_NOT_OK(file->Append(*batch, frame.first, pool));
      place = file->index().runs.back().back();
    }
    file->EndRun();
  }
  ARROW_RETURN_NOT_OK(file->Close({}));
  return places;
}

int64_t KeptRuns::ForgetAll() {
  std::vector<std::shared_ptr<arrow::RecordBatch>> gone;  // freed without the lock
  std::lock_guard lock(mutex_);
  for (auto& frame : frames_) gone.push_back(std::exchange(frame, nullptr));
  return std::exchange(size_bytes_, 0);
}

int64_t KeptRuns::Forget(size_t run, size_t begin, size_t end) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> gone;  // freed without the lock
  int64_t bytes = 0;
  std::lock_guard lock(mutex_);
  if (file_) return 0;
  for (size_t f = begin; f < end; ++f) {
    const RunFrame& frame = index_.runs[run][f];
    auto& batch = frames_[static_cast<size_t>(frame.offset)];
    if (!batch) continue;
    bytes += frame.length;
    gone.push_back(std::move(batch));
  }
  size_bytes_ -= bytes;
  return bytes;
}

Result<KeptRuns::Found> KeptRuns::Find(const RunFrame& frame) const {
  std::lock_guard lock(mutex_);
  const auto number = static_cast<size_t>(frame.offset);
  Found found;
  if (file_) {
    if (number >= places_.size() || places_[number].rows == 0)
      return BugError("a frame is read that was given back");
    found.file = file_;
    found.place = places_[number];
    return found;
  }
  if (number < frames_.size()) found.batch = frames_[number];
  if (!found.batch) return BugError("a frame is read that was given back");
  return found;
}

}  // namespace partita
