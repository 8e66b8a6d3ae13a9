// The reading side of a sorted exchange. SortedShares is made once all tasks that write the exchange are
// committed; it says where the partitions begin. A partition's source merges its range of every run; with
// more runs than fit, groups of them are merged to scratch files first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"
#include "partita/runs/merge.h"

namespace partita {

class ExchangeMemory;

// One task's runs, as committed.
struct SortedShare {
  std::string path;  // absolute
  int input_index = 0;
  int64_t partition = 0;
  int64_t cached_bytes = INT64_MAX;          // of the file, as its writer was given
  std::shared_ptr<KeptRuns> kept = nullptr;  // instead of the file
};

// Immutable after Make; shared by the tasks that read the exchange.
class SortedShares {
 public:
  // `shares` in (input, partition) order.
  static Result<std::shared_ptr<SortedShares>> Make(Env* env, const PlanExchange& exchange,
                                                    std::vector<SortedShare> shares, int64_t partitions,
                                                    const std::shared_ptr<BudgetPool>& pool);
  // What partition p takes of each run, in run order.
  std::vector<RunSlice> SlicesOf(int64_t partition) const;
  int64_t rows() const { return rows_; }
  int64_t partitions() const { return partitions_; }
  // Partition p is committed, and nobody else reads it: what it alone had in memory goes.
  void Forget(int64_t partition, ExchangeMemory* memory) const;

 private:
  struct Bound {
    KeyPoint point;
    bool exact = false;
    size_t share = 0;  // with run and rank, where the bound's row stands; when exact
    int64_t run = 0, rank = 0;
  };
  std::optional<RunBound> BoundIn(int64_t partition, size_t share, size_t run) const;

  std::vector<SortedShare> shares_;
  std::vector<std::shared_ptr<const RunIndex>> indexes_;
  std::vector<Bound> bounds_;  // between partitions p and p + 1
  int64_t rows_ = 0, partitions_ = 0;
  std::unique_ptr<Reservation> memory_;
};

struct SortedSourceInit {
  Env* env = nullptr;
  const PlanExchange* exchange = nullptr;
  std::shared_ptr<const SortedShares> shares;
  int64_t partition = 0;
  std::string scratch;  // prefix of scratch files' paths, of this attempt alone
  int64_t hold_bytes = 64 << 20;
  bool with_keys =
      false;  // the column by which runs are ordered stands behind the others, where they have one
};
// Rows get ordinals from 0.
Result<std::unique_ptr<Source>> MakeSortedSource(SortedSourceInit init);

// The same rows in windows, unordered within each and with all columns of the runs: for who has a table of
// their keys. After OutOfMemory it may be called again. One thread at a time.
using SortedWindows = std::function<Result<RunMerger::Window>(const OperatorContext& ctx)>;
Result<SortedWindows> MakeSortedWindows(const SortedSourceInit& init);

}  // namespace partita
