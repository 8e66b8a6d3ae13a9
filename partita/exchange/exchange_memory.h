// What exchanges of a run may keep in the budget instead of writing it, and who gives it back. Nothing on
// disk counts on it: a task whose share is only in memory is done again after a kill, so shares stay there
// only while doing all of them again costs no more than a constant (law 4; decision 0017).
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "partita/memory/budget.h"
#include "partita/runs/kept_runs.h"

namespace partita {

class RunShare;

class ExchangeMemory {
 public:
  // `scratch`: the prefix of the paths of what is spilled. `most_redo_ns`: of tasks whose share is in memory
  // alone, for each of the threads that work on them at once; what is made within so long from now costs no
  // more, however long its tasks wait for each other.
  ExchangeMemory(Env* env, std::shared_ptr<BudgetPool> pool, std::string scratch, int64_t most_bytes,
                 int64_t most_redo_ns, int threads = 1);

  // For the writers of shares. False: no room for so many bytes more, or the budget is short.
  bool Claim(int64_t bytes);
  void Release(int64_t bytes) { kept_bytes_.fetch_sub(bytes); }
  // May a share that took a task so long be in memory alone?
  bool MayLose(int64_t task_ns);
  // Will it, were the task done now?
  bool CanLose(int64_t task_ns) const;
  // It is, whatever it took.
  void Lose(int64_t task_ns) { redo_ns_.fetch_add(task_ns); }
  void Add(std::weak_ptr<RunShare> writing);
  // The share `path` of an exchange is this; null: it is a file. What an earlier attempt left goes.
  void Put(const std::string& path, std::shared_ptr<KeptShare> share);
  // Of `bytes` that a task wants to hold: fewer where much is kept.
  int64_t HoldBytes(int64_t bytes) const;

  // For readers. Null: it is a file.
  template <typename Share>
  std::shared_ptr<Share> Find(const std::string& path) const {
    return std::dynamic_pointer_cast<Share>(FindShare(path));
  }
  // Frames that nobody reads again; all of a share.
  void Forget(KeptRuns* runs, size_t run, size_t begin, size_t end);
  void Forget(const std::string& path);

  // Writes shares out until so many bytes are free or none is left; returns the bytes. Not from a thread that
  // is within a call to a share.
  Result<int64_t> GiveBack(int64_t bytes);
  const std::shared_ptr<BudgetPool>& pool() const { return pool_; }
  int64_t kept_bytes() const { return kept_bytes_.load(); }

 private:
  std::shared_ptr<KeptShare> FindShare(const std::string& path) const;
  bool IsSoon(int64_t task_ns) const;

  Env* env_;
  std::shared_ptr<BudgetPool> pool_;
  const std::string scratch_;
  const int64_t most_bytes_, most_redo_ns_, started_ns_;
  const int threads_;
  std::atomic<int64_t> kept_bytes_{0}, redo_ns_{0}, spilled_{0};
  std::mutex giving_;  // one at a time
  mutable std::mutex mutex_;
  std::map<std::string, std::shared_ptr<KeptShare>> kept_;
  std::vector<std::weak_ptr<RunShare>> writing_;
};

}  // namespace partita
