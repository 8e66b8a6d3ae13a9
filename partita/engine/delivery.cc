#include "partita/engine/delivery.h"

#include <arrow/record_batch.h>

#include <utility>

namespace partita {

class DeliverySink final : public Sink {
 public:
  DeliverySink(std::shared_ptr<Delivery> delivery, TaskId task, int output)
      : delivery_(std::move(delivery)), key_(task, output) {}

  Status Write(const Block& block, const OperatorContext&, int64_t* taken) override {
    *taken = block.num_rows();
    if (block.num_rows() > 0) batches_.push_back(block.batch);
    return Status::OK();
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext&) override {
    std::lock_guard lock(delivery_->mutex_);
    delivery_->finished_[key_] = std::move(batches_);
    return std::vector<OutputFile>();
  }

  void Abort() override { batches_.clear(); }

 private:
  std::shared_ptr<Delivery> delivery_;
  std::pair<TaskId, int> key_;
  Delivery::Batches batches_;
};

std::unique_ptr<Sink> Delivery::MakeSink(TaskId task, int output) {
  return std::make_unique<DeliverySink>(shared_from_this(), task, output);
}

Delivery::Batches Delivery::Take(TaskId task, int output) {
  Batches batches;
  {
    std::lock_guard lock(mutex_);
    const auto found = finished_.find({task, output});
    if (found == finished_.end()) return batches;
    batches = std::move(found->second);
    finished_.erase(found);
  }
  for (const auto& batch : batches) DetachToCaller(*batch);
  return batches;
}

void Delivery::Drop(TaskId task) {
  std::lock_guard lock(mutex_);
  std::erase_if(finished_, [&](const auto& entry) { return entry.first.first == task; });
}

}  // namespace partita
