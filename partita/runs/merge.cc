#include "partita/runs/merge.h"

#include <arrow/api.h>

#include <algorithm>

namespace partita {
namespace {

constexpr size_t kMaxRows = 64 << 10;  // of a block

// Is the frame's first row before the bound?
bool BeginsBefore(const RunFrame& frame, const RunBound& bound) {
  if (bound.tie == 0) return frame.rank < bound.rank;
  const int c = ComparePoints(frame.first, bound.point);
  return c < 0 || (c == 0 && bound.tie < 0);
}

// The first row of a frame that is not before the bound.
int64_t PlaceOf(const RunBound& bound, const RunFrame& frame, const RowKeys& keys) {
  if (bound.tie == 0) return std::clamp<int64_t>(bound.rank - frame.rank, 0, frame.rows);
  int64_t low = 0, high = frame.rows;
  while (low < high) {
    const int64_t middle = low + (high - low) / 2;
    const int c = CompareToPoint(keys, middle, bound.point);
    if (c < 0 || (c == 0 && bound.tie < 0)) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return low;
}

// How many frames begin before the bound.
size_t FramesBefore(const std::vector<RunFrame>& frames, const RunBound& bound) {
  const auto at = std::partition_point(frames.begin(), frames.end(),
                                       [&](const RunFrame& f) { return BeginsBefore(f, bound); });
  return static_cast<size_t>(at - frames.begin());
}

}  // namespace

struct RunMerger::Cursor {
  RunSlice slice;
  std::unique_ptr<RunFileReader> file;
  std::shared_ptr<arrow::RecordBatch> batch;
  RowKeys keys;
  const KeyPrefix* prefixes = nullptr;  // of keys
  size_t frame = 0, end_frame = 0;      // the next to load, and where to stop
  int64_t row = 0, end = 0;
  double row_bytes = 0;  // about
  uint32_t source = 0;   // of `batch` in batches_
  bool done = false, must_load = true;
};

RunMerger::RunMerger(Env* env, std::vector<RunSlice> slices, std::shared_ptr<arrow::Schema> schema,
                     KeysOf keys_of)
    : env_(env), schema_(std::move(schema)), keys_of_(std::move(keys_of)) {
  for (auto& slice : slices) {
    const auto& frames = slice.index->runs[slice.run];
    Cursor cursor;
    // The range may begin within the last frame that begins before it.
    if (slice.lower) cursor.frame = std::max<size_t>(FramesBefore(frames, *slice.lower), 1) - 1;
    cursor.end_frame = slice.upper ? FramesBefore(frames, *slice.upper) : frames.size();
    if (cursor.frame >= cursor.end_frame) continue;
    cursor.slice = std::move(slice);
    cursors_.push_back(std::move(cursor));
  }
}

RunMerger::~RunMerger() = default;

// The frame that `cursor` stands before. All or nothing.
Status RunMerger::Load(Cursor* cursor, arrow::MemoryPool* pool) {
  const auto& slice = cursor->slice;
  while (cursor->frame < cursor->end_frame) {
    if (!cursor->file) {
      ARROW_ASSIGN_OR_RAISE(cursor->file, RunFileReader::Open(env_, slice.path, slice.index->schema));
    }
    const auto& frame = slice.index->runs[slice.run][cursor->frame];
    ARROW_ASSIGN_OR_RAISE(auto batch, cursor->file->ReadFrame(frame, pool));
    ARROW_ASSIGN_OR_RAISE(cursor->keys, keys_of_(*batch, pool));
    cursor->row = slice.lower ? PlaceOf(*slice.lower, frame, cursor->keys) : 0;
    cursor->end = slice.upper ? PlaceOf(*slice.upper, frame, cursor->keys) : frame.rows;
    cursor->row_bytes = static_cast<double>(frame.length) / static_cast<double>(frame.rows);
    ++cursor->frame;
    if (cursor->row >= cursor->end) continue;
    cursor->batch = std::move(batch);
    cursor->prefixes = &cursor->keys.prefix(0);
    wholes_ = wholes_ || cursor->keys.offsets != nullptr;
    cursor->source = static_cast<uint32_t>(batches_.size());
    batches_.push_back(cursor->batch);
    cursor->must_load = false;
    return Status::OK();
  }
  cursor->done = true;
  cursor->must_load = false;
  cursor->batch.reset();
  cursor->keys = {};
  cursor->file.reset();
  return Status::OK();
}

RunMerger::Entry RunMerger::EntryOf(size_t cursor) const {
  const Cursor& at = cursors_[cursor];
  const auto place = static_cast<uint32_t>(cursor);
  if (at.done) return {{UINT64_MAX, UINT64_MAX}, place | kDone};
  return {at.prefixes[at.row], place};
}

bool RunMerger::Before(const Entry& a, const Entry& b) const {
  if (a.prefix.hi != b.prefix.hi) return a.prefix.hi < b.prefix.hi;
  if (a.prefix.lo != b.prefix.lo) return a.prefix.lo < b.prefix.lo;
  if (wholes_ && ((a.place | b.place) & kDone) == 0) {
    const Cursor& x = cursors_[a.place];
    const Cursor& y = cursors_[b.place];
    const int c = CompareKeys(x.keys, x.row, y.keys, y.row);
    if (c != 0) return c < 0;
  }
  return a.place < b.place;
}

void RunMerger::Build() {
  const size_t n = cursors_.size();
  losers_.assign(n, {});
  std::vector<bool> waiting(n);
  // Each leaf plays its way up; the first at a node waits there for its rival.
  for (size_t leaf = 0; leaf < n; ++leaf) {
    Entry winner = EntryOf(leaf);
    size_t node = (leaf + n) / 2;
    while (node > 0) {
      if (!waiting[node]) {
        losers_[node] = winner;
        waiting[node] = true;
        break;
      }
      if (Before(losers_[node], winner)) std::swap(losers_[node], winner);
      node /= 2;
    }
    if (node == 0) losers_[0] = winner;
  }
  built_ = true;
}

void RunMerger::Replay(size_t leaf) {
  Entry winner = EntryOf(leaf);
  for (size_t node = (leaf + cursors_.size()) / 2; node > 0; node /= 2) {
    if (Before(losers_[node], winner)) std::swap(losers_[node], winner);
  }
  losers_[0] = winner;
}

Status RunMerger::Pick(int64_t target_bytes, arrow::MemoryPool* pool) {
  const auto target = static_cast<double>(target_bytes);
  if (!built_) {
    for (; loaded_ < cursors_.size(); ++loaded_) ARROW_RETURN_NOT_OK(Load(&cursors_[loaded_], pool));
    Build();
  }
  while (picked_bytes_ < target && picks_.size() < kMaxRows) {
    const size_t winner = losers_[0].place & ~kDone;
    Cursor& cursor = cursors_[winner];
    if (cursor.must_load) {
      ARROW_RETURN_NOT_OK(Load(&cursor, pool));
      Replay(winner);
      continue;
    }
    if (cursor.done) return Status::OK();
    picks_.push_back({cursor.source, static_cast<uint32_t>(cursor.row)});
    picked_bytes_ += cursor.row_bytes;
    if (++cursor.row == cursor.end) {
      cursor.must_load = true;
      continue;
    }
    Replay(winner);
  }
  return Status::OK();
}

Result<std::shared_ptr<arrow::RecordBatch>> RunMerger::Emit(arrow::MemoryPool* pool) {
  size_t count = picks_.size() - emitted_;
  std::shared_ptr<arrow::RecordBatch> batch;
  while (true) {
    const std::span<const RowPick> picks(picks_.data() + emitted_, count);
    if (count == 1) {  // a fat row is not copied
      batch = batches_[picks[0].batch]->Slice(picks[0].row, 1);
      arrow::ArrayVector columns(batch->columns().begin(), batch->columns().begin() + schema_->num_fields());
      batch = arrow::RecordBatch::Make(schema_, 1, std::move(columns));
      break;
    }
    auto made = Interleave(schema_, batches_, picks, pool);
    if (made.ok()) {
      batch = std::move(*made);
      break;
    }
    if (!made.status().IsOutOfMemory()) return made.status();
    count /= 2;
  }
  emitted_ += count;
  if (emitted_ < picks_.size()) return batch;
  picks_.clear();
  emitted_ = 0;
  picked_bytes_ = 0;
  // What no cursor stands in any more is let go.
  batches_.clear();
  for (auto& cursor : cursors_) {
    if (!cursor.batch || cursor.must_load) {
      cursor.batch.reset();
      continue;
    }
    cursor.source = static_cast<uint32_t>(batches_.size());
    batches_.push_back(cursor.batch);
  }
  return batch;
}

Result<std::shared_ptr<arrow::RecordBatch>> RunMerger::Next(int64_t target_bytes, arrow::MemoryPool* pool) {
  if (cursors_.empty()) return nullptr;
  if (emitted_ == 0) {
    const Status picked = Pick(target_bytes, pool);
    // Rows that were picked leave first: that frees memory for the frame that was refused.
    if (!picked.ok() && !(picked.IsOutOfMemory() && !picks_.empty())) return picked;
  }
  if (picks_.empty()) return nullptr;
  return Emit(pool);
}

}  // namespace partita
