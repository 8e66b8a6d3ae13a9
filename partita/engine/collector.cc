#include "partita/engine/collector.h"

#include <arrow/api.h>

#include <chrono>

namespace partita {

class CollectorSink final : public Sink {
 public:
  CollectorSink(std::shared_ptr<Collector> collector, int input, int64_t partition)
      : collector_(std::move(collector)), key_(input, partition) {
    std::lock_guard lock(collector_->mutex_);
    auto& part = collector_->parts_[key_];
    part.attempt_rows = 0;
  }

  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) override {
    const int64_t rows = block.num_rows();
    *taken = rows;
    std::lock_guard lock(collector_->mutex_);
    if (collector_->closed_ || rows == 0) return Status::OK();
    auto& part = collector_->parts_[key_];
    auto batch = block.batch;
    const int64_t skip = std::min(rows, std::max<int64_t>(0, part.given_rows - part.attempt_rows));
    part.attempt_rows += rows;
    if (skip == rows) return Status::OK();
    if (skip > 0) batch = batch->Slice(skip);
    const int64_t bytes = BufferBytes(*batch);
    part.queue.push_back(std::move(batch));
    part.queued_bytes += bytes;
    collector_->buffered_ += bytes;
    collector_->changed_.notify_all();
    return Status::OK();
  }

  bool ready() const override {
    std::lock_guard lock(collector_->mutex_);
    if (collector_->closed_) return true;
    const auto head = collector_->Head();
    if (key_ <= head) {
      auto it = collector_->parts_.find(key_);
      return it == collector_->parts_.end() || it->second.queued_bytes < collector_->buffer_bytes_ / 2;
    }
    return collector_->buffered_ < collector_->buffer_bytes_;
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext&) override {
    finished_ = true;
    return std::vector<OutputFile>();
  }

  void Abort() override {
    if (finished_) return;
    std::lock_guard lock(collector_->mutex_);
    auto& part = collector_->parts_[key_];
    collector_->buffered_ -= part.queued_bytes;
    part.queue.clear();
    part.queued_bytes = 0;
    finished_ = true;
  }

 private:
  std::shared_ptr<Collector> collector_;
  std::pair<int, int64_t> key_;
  bool finished_ = false;
};

Collector::Collector(int inputs, int64_t limit, int64_t buffer_bytes)
    : partitions_(static_cast<size_t>(inputs), -1),
      limit_left_(limit < 0 ? INT64_MAX : limit),
      buffer_bytes_(buffer_bytes) {}

void Collector::SetWake(std::function<void()> wake) {
  std::lock_guard lock(wake_mutex_);
  wake_ = std::move(wake);
}

void Collector::CallWake() {
  std::lock_guard lock(wake_mutex_);
  if (wake_) wake_();
}

void Collector::SetPartitions(int input, int64_t partitions) {
  std::lock_guard lock(mutex_);
  partitions_[static_cast<size_t>(input)] = partitions;
  changed_.notify_all();
}

std::unique_ptr<Sink> Collector::MakeSink(int input, int64_t partition) {
  return std::make_unique<CollectorSink>(shared_from_this(), input, partition);
}

void Collector::TaskDone(int input, int64_t partition) {
  std::lock_guard lock(mutex_);
  parts_[{input, partition}].done = true;
  changed_.notify_all();
}

void Collector::EndRun(Status status) {
  std::lock_guard lock(mutex_);
  ended_ = true;
  status_ = std::move(status);
  changed_.notify_all();
}

Collector::Key Collector::Head() {
  while (head_.first < static_cast<int>(partitions_.size())) {
    const int64_t count = partitions_[static_cast<size_t>(head_.first)];
    if (count >= 0 && head_.second >= count) {
      head_ = {head_.first + 1, 0};
      continue;
    }
    auto it = parts_.find(head_);
    if (it == parts_.end() || !it->second.done || !it->second.queue.empty()) break;
    parts_.erase(it);
    ++head_.second;
  }
  return head_;
}

Result<std::optional<std::shared_ptr<arrow::RecordBatch>>> Collector::Next() {
  std::unique_lock lock(mutex_);
  while (true) {
    const Key head = Head();
    if (limit_left_ <= 0 || head.first >= static_cast<int>(partitions_.size())) {
      // All rows are out; the run's own end (commit, errors of other sinks) is still to be told.
      if (ended_ && !status_.ok() && !status_.IsCancelled()) return status_;
      return std::nullopt;
    }
    auto it = parts_.find(head);
    if (it != parts_.end() && !it->second.queue.empty()) {
      auto& part = it->second;
      auto batch = std::move(part.queue.front());
      part.queue.pop_front();
      const int64_t bytes = BufferBytes(*batch);
      part.queued_bytes -= bytes;
      buffered_ -= bytes;
      if (batch->num_rows() > limit_left_) batch = batch->Slice(0, limit_left_);
      part.given_rows += batch->num_rows();
      limit_left_ -= batch->num_rows();
      lock.unlock();
      CallWake();
      return batch;
    }
    if (ended_) {
      if (!status_.ok()) return status_;
      return std::nullopt;
    }
    lock.unlock();
    CallWake();  // the head moved on: its sinks may write more now
    lock.lock();
    if (Head() != head || ended_) continue;
    changed_.wait_for(lock, std::chrono::milliseconds(50));
    if (poll_) {
      lock.unlock();
      ARROW_RETURN_NOT_OK(poll_());
      lock.lock();
    }
  }
}

void Collector::Close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
    parts_.clear();
    buffered_ = 0;
  }
  CallWake();
}

}  // namespace partita
