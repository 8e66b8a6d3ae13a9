// One side of a hash partitioned join: the rows of a partition, read from its runs in windows. A window is a
// range of hashes all of whose rows are in memory. Rows of a window are put in (hash, position) order at
// once, which is cheaper than merging runs row by row and copies nothing: what runs must have is frames in
// the order of their hashes. A hash with more rows than memory holds is read as a stream (HashStream).
//
// One thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "partita/exchange/sorted_source.h"
#include "partita/operator/operator.h"
#include "partita/plan/plan.h"
#include "partita/runs/join_rows.h"
#include "partita/runs/key_match.h"
#include "partita/runs/merge.h"

namespace partita {

// A frame of a run in memory.
struct HashFrame : JoinBatch {
  const uint64_t* hashes = nullptr;  // ascending
  MatchKeys keys;
  int64_t begin = 0, end = 0;  // the rows that are the side's
  int64_t row = 0;             // the first that no window has had
  int64_t bytes = 0;
};
using HashFramePtr = std::shared_ptr<HashFrame>;

// A row of a window.
struct HashItem {
  uint64_t hash = 0;
  uint32_t frame = 0;
  uint32_t row = 0;
};

class HashSide {
 public:
  // `slices` in position order; their rows have hashes of `range`.
  static Result<HashSide> Make(Env* env, const PlanExchange& exchange, std::vector<RunSlice> slices,
                               HashRange range);

  // The smallest hash that may be among the rows still to come; false: there are none.
  bool LeastHash(uint64_t* hash) const;
  // The first hash of the next frame to load; false: all are loaded.
  bool NextFrame(uint64_t* first) const;
  // Loads it. All or nothing.
  Status Load(arrow::MemoryPool* pool);
  // Lets the disk read the frames after it, up to so many bytes; fewer where memory is short.
  void ReadAhead(int64_t bytes, arrow::MemoryPool* pool);
  void DropAhead();
  int64_t loaded_bytes() const { return loaded_bytes_; }
  // One frame of each run, the longest.
  int64_t fringe_bytes() const { return fringe_bytes_; }

  // Claims what a window up to `last`, whose rows are loaded, needs.
  Status ReserveWindow(uint64_t last, BudgetPool* pool);
  // Takes its rows as items in (hash, position) order.
  void TakeWindow(uint64_t last);
  const std::vector<HashItem>& items() const { return items_; }
  const HashFramePtr& frame(const HashItem& item) const { return frames_[item.frame].frame; }
  // Lets go of what the window had.
  void EndWindow();

  // Goes on behind `hash`, whose rows were read as a stream; nothing is loaded then.
  void SkipPast(uint64_t hash);
  // Nothing is loaded, nothing was taken of what was: it is read again.
  void Unload() { Restart(low_); }

 private:
  friend class HashStream;
  struct FrameRef {
    uint64_t first = 0;  // the smallest hash that may be among its rows still to come
    uint32_t slice = 0, frame = 0;
  };
  struct Loaded {
    uint32_t slice = 0, frame_index = 0;
    HashFramePtr frame;
  };

  // All rows from `low` on are still to come, and no frame is loaded.
  void Restart(uint64_t low);
  Result<const RunFileReader*> FileOf(const RunSlice& slice);
  Result<HashFramePtr> Read(size_t slice, size_t frame, arrow::MemoryPool* pool);
  Result<HashFramePtr> ReadNext(arrow::MemoryPool* pool);
  Result<HashFramePtr> Prepare(const RunSlice& slice, const RunFrame& frame,
                               std::shared_ptr<arrow::RecordBatch> batch, arrow::MemoryPool* pool);

  Env* env_ = nullptr;
  std::shared_ptr<arrow::Schema> schema_;
  std::shared_ptr<const KeyMatcher> matcher_;
  std::vector<RunSlice> slices_;
  std::map<std::string, std::unique_ptr<RunFileReader>> files_;
  uint64_t low_ = 0;
  bool done_ = false;  // no hash is left
  uint64_t end_ = 0;   // the last hash of the partition
  std::vector<FrameRef> refs_;
  size_t next_ref_ = 0;
  std::deque<FrameRead> ahead_;  // of refs_ from next_ref_ on
  int64_t ahead_bytes_ = 0;
  std::vector<Loaded> frames_;  // in (slice, frame) order once a window was taken
  std::vector<HashItem> items_, scratch_;
  std::vector<uint32_t> bucket_ends_;
  Reservation items_memory_;
  int64_t loaded_bytes_ = 0, fringe_bytes_ = 0;
};

// The rows of one hash in position order, as ranges of frames; may start again from the beginning. Frames are
// kept for the next round while they are within `keep_bytes`.
class HashStream {
 public:
  HashStream(HashSide* side, uint64_t hash, int64_t keep_bytes);
  struct Range {
    HashFramePtr frame;  // null: the end
    int64_t begin = 0, end = 0;
  };
  Result<Range> Next(arrow::MemoryPool* pool);
  void Rewind() { at_ = 0; }

 private:
  HashSide* side_;
  uint64_t hash_;
  int64_t keep_bytes_;
  std::vector<HashSide::FrameRef> refs_;  // frames that may have the hash
  std::vector<Range> kept_;               // by ref; null frame: not kept
  size_t at_ = 0;
};

}  // namespace partita
