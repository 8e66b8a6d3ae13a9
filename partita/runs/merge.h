// Merging sorted runs: the rows of a key range of many runs as one stream in (key, run) order, with a tree of
// losers (Knuth, TAOCP 3, 5.4.1). Memory: one frame a run, and the block that is given out. One thread at a
// time.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "partita/runs/interleave.h"
#include "partita/runs/run_file.h"

namespace partita {

// The keys of a frame's rows; `batch` has the columns of the run file.
using KeysOf = std::function<Result<RowKeys>(const arrow::RecordBatch& batch, arrow::MemoryPool* pool)>;

// Where a key range begins or ends in one run: before the rows whose key is not less than `point`. `tie` says
// of the rows with the same key: all after the bound (1), all before it (-1), or exactly the first `rank`
// rows of the run before it (0).
struct RunBound {
  KeyPoint point;
  int tie = 1;
  int64_t rank = 0;
};

// A key range of a run. Without bounds: from its beginning, to its end.
struct RunSlice {
  std::string path;
  std::shared_ptr<const RunIndex> index;
  size_t run = 0;
  std::optional<RunBound> lower, upper;
};

class RunMerger {
 public:
  // The order of `slices` decides between equal keys. `schema`: the columns that are given out, the first of
  // the runs' columns.
  RunMerger(Env* env, std::vector<RunSlice> slices, std::shared_ptr<arrow::Schema> schema, KeysOf keys_of);
  ~RunMerger();

  // The next rows, about `target_bytes` of them; null at the end. After OutOfMemory it may be called again.
  Result<std::shared_ptr<arrow::RecordBatch>> Next(int64_t target_bytes, arrow::MemoryPool* pool);

 private:
  struct Cursor;
  // A cursor's current row as the tree sees it. A finished one stands behind all others: its key is the
  // largest there is, and its place counts from kDone.
  struct Entry {
    KeyPrefix prefix;
    uint32_t place = 0;  // of the cursor
  };
  static constexpr uint32_t kDone = 1u << 31;

  Status Load(Cursor* cursor, arrow::MemoryPool* pool);
  Entry EntryOf(size_t cursor) const;
  bool Before(const Entry& a, const Entry& b) const;
  void Replay(size_t leaf);
  void Build();
  Status Pick(int64_t target_bytes, arrow::MemoryPool* pool);
  Result<std::shared_ptr<arrow::RecordBatch>> Emit(arrow::MemoryPool* pool);

  Env* env_;
  std::shared_ptr<arrow::Schema> schema_;
  KeysOf keys_of_;
  std::vector<Cursor> cursors_;
  std::vector<Entry> losers_;  // [0]: the winner
  bool built_ = false;
  bool wholes_ = false;  // has any frame keys longer than their prefixes?
  size_t loaded_ = 0;    // cursors that have their first frame
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  std::vector<RowPick> picks_;
  size_t emitted_ = 0;
  double picked_bytes_ = 0;
};

}  // namespace partita
