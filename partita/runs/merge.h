// Merging sorted runs: the rows of a key range of many runs as one stream in (key, run) order. Not row by
// row: frames are loaded in the order of their first keys until there is a window, whose rows are put in
// order at once. The disk reads the frames behind it meanwhile. Memory: one frame a run, the window, what is
// read ahead, and the block that is given out. One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "partita/runs/interleave.h"
#include "partita/runs/kept_runs.h"
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
  int64_t cached_bytes = INT64_MAX;  // of the file; as its writer was given
  std::shared_ptr<KeptRuns> kept;    // instead of a file; `path` is its name alone
};
Result<std::unique_ptr<RunFileReader>> OpenRun(Env* env, const RunSlice& slice);
// Which frames of its run hold rows of a slice: [first, second).
std::pair<size_t, size_t> FramesOf(const RunSlice& slice);

class RunMerger {
 public:
  // The order of `slices` decides between equal keys. `schema`: the columns that are given out, the first of
  // the runs' columns. `window_bytes`: of rows that are put in order together; physical.
  RunMerger(Env* env, std::vector<RunSlice> slices, std::shared_ptr<arrow::Schema> schema, KeysOf keys_of,
            int64_t window_bytes = 4 << 20);
  ~RunMerger();

  // The next rows, about `target_bytes` of them; null at the end. After OutOfMemory it may be called again.
  Result<std::shared_ptr<arrow::RecordBatch>> Next(int64_t target_bytes, arrow::MemoryPool* pool);

  // Rows as they stand, for who needs no order within a window.
  struct Window {
    // Run by run, as in its run, with all columns of the run file; none: the end.
    std::vector<std::shared_ptr<arrow::RecordBatch>> parts;
    // All rows whose keys begin with less than these eight bytes have come; none: all rows.
    std::optional<uint64_t> open;
  };
  // The next window. Instead of Next, from the first call on; after OutOfMemory it may be called again.
  Result<Window> NextWindow(arrow::MemoryPool* pool);

 private:
  struct Frame;
  struct Run;
  // A row of the window.
  struct Item {
    uint64_t hi = 0;  // of the key's prefix
    uint32_t frame = 0, row = 0;
  };
  struct FrameRef {
    uint32_t run = 0, frame = 0;
  };
  struct Cut;

  Result<const RunFileReader*> FileOf(const RunSlice& slice);
  Status ReadNext(Run* run, Frame* frame, arrow::MemoryPool* pool);
  Status Load(Run* run, arrow::MemoryPool* pool);
  void DropAhead();
  void ReadAhead(arrow::MemoryPool* pool);
  Status LoadWindow(arrow::MemoryPool* pool);
  Cut FindCut() const;
  int64_t EndOf(const Frame& frame, size_t run, const Cut& cut, bool* is_beyond) const;
  Status TakeWindow(arrow::MemoryPool* pool);
  Status TakeUpTo(const Cut& cut, arrow::MemoryPool* pool);
  void SortItems(uint64_t low, int shift, Item* items, Item* sorted, size_t count, size_t buckets);
  bool IsBefore(const Item& a, const Item& b) const;
  void DropDone();
  Result<std::shared_ptr<arrow::RecordBatch>> Emit(int64_t target_bytes, arrow::MemoryPool* pool);

  Env* env_;
  std::shared_ptr<arrow::Schema> schema_;
  KeysOf keys_of_;
  int64_t window_bytes_;
  std::map<std::string, std::unique_ptr<RunFileReader>> files_;
  std::vector<Run> runs_;
  std::vector<FrameRef> order_;           // all frames, by first key: as they are loaded
  size_t next_load_ = 0, next_read_ = 0;  // in order_
  int64_t loaded_bytes_ = 0, ahead_bytes_ = 0;
  int64_t fringe_bytes_ = 0;  // one frame of each run

  std::shared_ptr<arrow::Buffer> memory_;  // of items_, twice, and of buckets
  std::span<Item> items_;                  // of the window
  size_t emitted_ = 0;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;  // of the window's frames
  std::vector<const Frame*> frames_;
  std::vector<RowPick> picks_;
};

}  // namespace partita
