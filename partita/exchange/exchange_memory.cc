#include "partita/exchange/exchange_memory.h"

#include <algorithm>
#include <utility>

#include "partita/exchange/run_share.h"

namespace partita {

ExchangeMemory::ExchangeMemory(Env* env, std::shared_ptr<BudgetPool> pool, std::string scratch,
                               int64_t most_bytes, int64_t most_redo_ns, int threads)
    : env_(env),
      pool_(std::move(pool)),
      scratch_(std::move(scratch)),
      most_bytes_(most_bytes),
      most_redo_ns_(most_redo_ns),
      started_ns_(env->MonotonicNanos()),
      threads_(std::max(1, threads)) {}

bool ExchangeMemory::Claim(int64_t bytes) {
  // With less left, only the oldest task reads on.
  const auto* budget = pool_->budget();
  if (budget->available_bytes() < budget->limit_bytes() / 8) return false;
  int64_t kept = kept_bytes_.load();
  do {
    if (kept + bytes > most_bytes_) return false;
  } while (!kept_bytes_.compare_exchange_weak(kept, kept + bytes));
  return true;
}

bool ExchangeMemory::IsSoon(int64_t task_ns) const {
  return env_->MonotonicNanos() - started_ns_ + task_ns < most_redo_ns_;
}

bool ExchangeMemory::CanLose(int64_t task_ns) const {
  return redo_ns_.load() + task_ns <= most_redo_ns_ * threads_ || IsSoon(task_ns);
}

bool ExchangeMemory::MayLose(int64_t task_ns) {
  int64_t redo = redo_ns_.load();
  do {
    if (redo + task_ns > most_redo_ns_ * threads_ && !IsSoon(0)) return false;
  } while (!redo_ns_.compare_exchange_weak(redo, redo + task_ns));
  return true;
}

void ExchangeMemory::Add(std::weak_ptr<RunShare> writing) {
  std::lock_guard lock(mutex_);
  std::erase_if(writing_, [](const auto& share) { return share.expired(); });
  writing_.push_back(std::move(writing));
}

void ExchangeMemory::Put(const std::string& path, std::shared_ptr<KeptShare> share) {
  Forget(path);
  if (!share) return;
  std::lock_guard lock(mutex_);
  kept_[path] = std::move(share);
}

int64_t ExchangeMemory::HoldBytes(int64_t bytes) const {
  const double limit = static_cast<double>(pool_->budget()->limit_bytes());
  return static_cast<int64_t>(static_cast<double>(bytes) *
                              (1 - std::min(1.0, static_cast<double>(kept_bytes()) / limit)));
}

std::shared_ptr<KeptShare> ExchangeMemory::FindShare(const std::string& path) const {
  std::lock_guard lock(mutex_);
  const auto it = kept_.find(path);
  return it == kept_.end() ? nullptr : it->second;
}

void ExchangeMemory::Forget(KeptRuns* runs, size_t run, size_t begin, size_t end) {
  Release(runs->Forget(run, begin, end));
}

void ExchangeMemory::Forget(const std::string& path) {
  std::shared_ptr<KeptShare> share;
  {
    std::lock_guard lock(mutex_);
    const auto it = kept_.find(path);
    if (it == kept_.end()) return;
    share = std::move(it->second);
    kept_.erase(it);
  }
  Release(share->ForgetAll());
}

Result<int64_t> ExchangeMemory::GiveBack(int64_t bytes) {
  std::lock_guard giving(giving_);
  std::vector<std::shared_ptr<KeptShare>> kept;
  std::vector<std::weak_ptr<RunShare>> writing;
  {
    std::lock_guard lock(mutex_);
    for (const auto& [path, share] : kept_) kept.push_back(share);
    writing = writing_;
  }
  int64_t freed = 0;
  for (const auto& share : kept) {
    if (freed >= bytes) return freed;
    if (share->size_bytes() == 0) continue;
    const std::string path = scratch_ + "-" + std::to_string(spilled_.fetch_add(1));
    ARROW_ASSIGN_OR_RAISE(const int64_t more, share->Spill(env_, path, pool_.get()));
    Release(more);
    freed += more;
  }
  for (const auto& weak : writing) {
    if (freed >= bytes) return freed;
    const auto share = weak.lock();
    if (!share || share->kept_bytes() == 0) continue;
    ARROW_ASSIGN_OR_RAISE(const int64_t more, share->WriteOut(pool_.get()));
    freed += more;
  }
  return freed;
}

}  // namespace partita
