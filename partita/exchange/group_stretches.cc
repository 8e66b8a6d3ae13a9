#include "partita/exchange/group_stretches.h"

#include <utility>

#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/group_writer.h"

namespace partita {

GroupStretch::GroupStretch() = default;
GroupStretch::GroupStretch(GroupStretch&&) noexcept = default;
GroupStretch& GroupStretch::operator=(GroupStretch&&) noexcept = default;
GroupStretch::~GroupStretch() = default;

GroupStretches::GroupStretches(std::shared_ptr<ExchangeMemory> memory) : memory_(std::move(memory)) {}
GroupStretches::~GroupStretches() = default;

std::optional<GroupStretch> GroupStretches::Begin(int64_t partition) {
  std::lock_guard lock(mutex_);
  if (begun_.size() <= static_cast<size_t>(partition)) begun_.resize(static_cast<size_t>(partition) + 1);
  begun_[static_cast<size_t>(partition)] = true;
  if (auto left = left_.extract(partition)) return std::move(left.mapped());
  auto open = open_.extract(partition);
  if (!open) return std::nullopt;
  // Given back meanwhile, or too dear to make again.
  if (!open.mapped().writer->is_open() || !memory_->CanLose(open.mapped().task_ns)) {
    ended_.push_back(std::move(open.mapped()));
    return std::nullopt;
  }
  return std::move(open.mapped());
}

void GroupStretches::Leave(int64_t partition, GroupStretch stretch) {
  stretch.writer->Rest();
  std::lock_guard lock(mutex_);
  left_.insert_or_assign(partition, std::move(stretch));
}

void GroupStretches::OnCommit(int64_t partition, bool may_follow, const OperatorContext& ctx) {
  std::vector<GroupStretch> ended;
  {
    std::lock_guard lock(mutex_);
    ended.swap(ended_);
    if (auto left = left_.extract(partition)) {
      GroupStretch& stretch = left.mapped();
      stretch.rows = 0;
      if (stretch.committed++ > 0) {
        stretch.writer->Widen();
        last_of_first_[stretch.first] = partition;
      }
      const auto next = static_cast<size_t>(partition + 1);
      if (may_follow && stretch.writer->is_open() && (next >= begun_.size() || !begun_[next])) {
        open_.emplace(partition + 1, std::move(stretch));
      } else {
        ended.push_back(std::move(stretch));
      }
    }
  }
  for (auto& stretch : ended) End(std::move(stretch), ctx);
}

// What goes wrong is told by whoever reads: it tries again.
void GroupStretches::End(GroupStretch stretch, const OperatorContext& ctx) {
  if (stretch.writer->Keep(ctx).ok()) return;
  std::lock_guard lock(mutex_);
  ended_.push_back(std::move(stretch));
}

Status GroupStretches::Close(const OperatorContext& ctx) {
  std::lock_guard lock(mutex_);
  for (auto& [partition, stretch] : open_) ended_.push_back(std::move(stretch));
  open_.clear();
  while (!ended_.empty()) {
    ARROW_RETURN_NOT_OK(ended_.back().writer->Keep(ctx));
    ended_.pop_back();
  }
  return Status::OK();
}

bool GroupStretches::IsElsewhere(int64_t partition) const {
  std::lock_guard lock(mutex_);
  auto stretch = last_of_first_.lower_bound(partition);  // none that begins before it, or the one behind that
  return stretch != last_of_first_.begin() && (--stretch)->second >= partition;
}

Result<int64_t> GroupStretches::GiveBack(int64_t bytes, const OperatorContext& ctx) {
  std::lock_guard lock(mutex_);
  std::vector<GroupWriter*> writers;
  for (auto& stretch : ended_) writers.push_back(stretch.writer.get());
  for (auto* stretches : {&left_, &open_}) {
    for (auto& [partition, stretch] : *stretches) writers.push_back(stretch.writer.get());
  }
  int64_t freed = 0;
  for (auto* writer : writers) {
    if (freed >= bytes) break;
    const auto more = writer->GiveBack(ctx);
    if (more.status().IsOutOfMemory()) continue;
    ARROW_RETURN_NOT_OK(more.status());
    freed += *more;
  }
  return freed;
}

}  // namespace partita
