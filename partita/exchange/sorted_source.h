// The reading side of a sorted exchange. SortedShares is made once all tasks that write the exchange are
// committed; it says where the partitions begin (of a join CutJoin does, for both sides). A partition's
// source merges its range of every run; with more runs than fit, groups of them are merged to scratch files
// first.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"
#include "partita/runs/merge.h"

namespace partita {

class ExchangeMemory;
struct JoinSample;

// One task's runs, as committed.
struct SortedShare {
  std::string path;  // absolute
  int input_index = 0;
  int64_t partition = 0;
  int64_t cached_bytes = INT64_MAX;          // of the file, as its writer was given
  std::shared_ptr<KeptRuns> kept = nullptr;  // instead of the file
};

struct HashRange {
  uint64_t first = 0, last = UINT64_MAX;  // both included; none where the first is behind the last
};

// Immutable once it is made and cut; shared by the tasks that read the exchange.
class SortedShares {
 public:
  // `shares` in (input, partition) order.
  static Result<std::shared_ptr<SortedShares>> Make(Env* env, const PlanExchange& exchange,
                                                    std::vector<SortedShare> shares, int64_t partitions,
                                                    const std::shared_ptr<BudgetPool>& pool);
  // Cuts both sides of a join, whose keys may be frequent, at the same places (exchange/join_cuts.h): the
  // left side between rows; of the right one all rows of a hash that is cut belong to both partitions. Bytes
  // are logical. `earlier_rows`: whoever ends a hash reads the left rows of it that other partitions have,
  // too.
  static void CutJoin(SortedShares* left, int64_t left_bytes, SortedShares* right, int64_t right_bytes,
                      bool gives_pairs, bool earlier_rows);
  // What partition p takes of each run, in run order.
  std::vector<RunSlice> SlicesOf(int64_t partition) const;
  // Of an exchange that is ordered by hash: the hashes of partition p's rows, and all rows of one hash.
  HashRange HashesOf(int64_t partition) const;
  std::vector<RunSlice> SlicesOfHash(uint64_t hash) const;
  // Of a join's left side: the hash within which partition p begins; others have its first rows.
  std::optional<uint64_t> HashCutAt(int64_t partition) const;
  // Of a join's right side: the hash whose right rows are shared out, before one of which partition p begins.
  // Rows of such a hash are in no partition's slices of either side.
  std::optional<uint64_t> RightCutAt(int64_t partition) const;
  // Of such a hash, the right rows that are partition p's.
  std::vector<RunSlice> PartOfHash(uint64_t hash, int64_t partition) const;
  int64_t rows() const { return rows_; }
  int64_t partitions() const { return partitions_; }
  // Partition p is committed, and nobody else reads it: what it alone had in memory goes.
  void Forget(int64_t partition, ExchangeMemory* memory) const;

 private:
  struct Bound {
    KeyPoint point;
    bool exact = false;  // it stands at a row: the rank-th of a run
    size_t share = 0;
    int64_t run = 0, rank = 0;
    bool shared = false;  // rows of its key are read on both sides of it
    bool apart = false;   // or on neither: whoever reads them asks for the key. Where it stands is then set.
  };
  struct Sampled {
    SampledRow row;
    size_t share = 0;
    // Among rows of one key.
    auto place() const { return std::tuple(share, row.run, row.rank); }
  };
  Status ReadIndexes(Env* env, BudgetPool* pool);
  void CutBySample();
  JoinSample TakeSample(int64_t bytes);
  static RunBound AtRow(const Bound& bound, size_t share, size_t run);
  enum class Edge { kLower, kUpper };
  // `alone`: of rows that no other partition reads.
  std::optional<RunBound> BoundIn(int64_t partition, size_t share, size_t run, bool alone, Edge edge) const;
  // All runs, each between what `bounds(share, run)` says.
  template <typename Bounds>
  std::vector<RunSlice> Slices(const Bounds& bounds) const;

  std::vector<SortedShare> shares_;
  std::vector<std::shared_ptr<const RunIndex>> indexes_;
  std::vector<Sampled> sample_;  // of a join's side, until it is cut
  std::vector<Bound> bounds_;    // between partitions p and p + 1
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
