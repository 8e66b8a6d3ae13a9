#include "partita/runs/merge.h"

#include <arrow/api.h>

#include <algorithm>
#include <bit>
#include <tuple>

namespace partita {
namespace {

constexpr size_t kMaxRows = 64 << 10;  // of a block
constexpr size_t kMaxOpenFiles = 128;
constexpr size_t kFewItems = 32;  // that are put in order by insertion

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

// The stable order of items that are a few ascending sequences behind each other: neighbours are merged.
// `scratch` has room for as many.
template <typename Item, typename Less>
void MergeSequences(Item* begin, Item* end, Item* scratch, const Less& less) {
  std::vector<Item*> starts = {begin};
  for (Item* i = begin + 1; i < end; ++i) {
    if (less(*i, i[-1])) starts.push_back(i);
  }
  starts.push_back(end);
  while (starts.size() > 2) {
    size_t kept = 1;
    for (size_t s = 0; s + 2 < starts.size(); s += 2) {
      // The second waits where it is: what is written never reaches what is not read yet.
      Item *out = starts[s], *b = starts[s + 1];
      const Item *a = scratch, *const a_end = std::copy(starts[s], starts[s + 1], scratch),
                 *b_end = starts[s + 2];
      while (a != a_end && b != b_end) *out++ = less(*b, *a) ? *b++ : *a++;
      std::copy(a, a_end, out);
      starts[kept++] = starts[s + 2];
    }
    if (starts[kept - 1] != end) starts[kept++] = end;
    starts.resize(kept);
  }
}

template <typename Item, typename Less>
void Insert(Item* begin, Item* end, const Less& less) {
  for (Item* i = begin + 1; i < end; ++i) {
    const Item item = *i;
    Item* j = i;
    for (; j != begin && less(item, j[-1]); --j) *j = j[-1];
    *j = item;
  }
}

}  // namespace

Result<std::unique_ptr<RunFileReader>> OpenRun(Env* env, const RunSlice& slice) {
  if (slice.kept) return RunFileReader::Of(slice.kept);
  return RunFileReader::Open(env, slice.path, slice.index->schema, slice.cached_bytes);
}

std::pair<size_t, size_t> FramesOf(const RunSlice& slice) {
  const auto& frames = slice.index->runs[slice.run];
  size_t begin = 0;
  // The range may begin within the last frame that begins before it.
  if (slice.lower) begin = std::max<size_t>(FramesBefore(frames, *slice.lower), 1) - 1;
  return {begin, slice.upper ? FramesBefore(frames, *slice.upper) : frames.size()};
}

// A frame in memory.
struct RunMerger::Frame {
  std::shared_ptr<arrow::RecordBatch> batch;
  RowKeys keys;
  const KeyPrefix* prefixes = nullptr;  // of keys
  int64_t row = 0, end = 0;             // what no window has had
  int64_t length = 0;                   // bytes
  double row_bytes = 0;                 // about
};

struct RunMerger::Run {
  RunSlice slice;
  size_t frame = 0, end_frame = 0;  // the next to load, and where to stop
  std::deque<Frame> frames;         // loaded
  std::deque<FrameRead> ahead;      // on their way, from `frame` on

  Run() = default;
  Run(Run&&) = default;
  bool has_more() const { return frame < end_frame; }
  const RunFrame& place(size_t f) const { return slice.index->runs[slice.run][f]; }
};

// Rows up to this one are in the window: none that is not loaded comes before them.
struct RunMerger::Cut {
  const Frame* frame = nullptr;  // null: all rows
  int64_t row = 0;
  size_t run = 0;
};

RunMerger::RunMerger(Env* env, std::vector<RunSlice> slices, std::shared_ptr<arrow::Schema> schema,
                     KeysOf keys_of, int64_t window_bytes)
    : env_(env), schema_(std::move(schema)), keys_of_(std::move(keys_of)), window_bytes_(window_bytes) {
  for (auto& slice : slices) {
    Run run;
    std::tie(run.frame, run.end_frame) = FramesOf(slice);
    if (!run.has_more()) continue;
    run.slice = std::move(slice);
    int64_t longest = 0;
    for (size_t f = run.frame; f < run.end_frame; ++f) {
      order_.push_back({static_cast<uint32_t>(runs_.size()), static_cast<uint32_t>(f)});
      longest = std::max(longest, run.place(f).length);
    }
    fringe_bytes_ += longest;
    runs_.push_back(std::move(run));
  }
  const auto first = [&](const FrameRef& ref) -> const KeyPoint& {
    return runs_[ref.run].place(ref.frame).first;
  };
  std::sort(order_.begin(), order_.end(), [&](const FrameRef& a, const FrameRef& b) {
    if (const int c = ComparePoints(first(a), first(b)); c != 0) return c < 0;
    return std::tie(a.run, a.frame) < std::tie(b.run, b.frame);
  });
}

RunMerger::~RunMerger() = default;

Result<const RunFileReader*> RunMerger::FileOf(const RunSlice& slice) {
  const auto known = files_.find(slice.path);
  if (known != files_.end()) return known->second.get();
  if (files_.size() >= kMaxOpenFiles) files_.clear();
  ARROW_ASSIGN_OR_RAISE(auto file, OpenRun(env_, slice));
  return files_.emplace(slice.path, std::move(file)).first->second.get();
}

// The run's next frame, with its keys.
Status RunMerger::ReadNext(Run* run, Frame* frame, arrow::MemoryPool* pool) {
  const auto& place = run->place(run->frame);
  ARROW_ASSIGN_OR_RAISE(const auto* file, FileOf(run->slice));
  if (run->ahead.empty()) {
    ARROW_ASSIGN_OR_RAISE(frame->batch, file->ReadFrame(place, pool));
  } else {
    FrameRead read = std::move(run->ahead.front());
    run->ahead.pop_front();
    ahead_bytes_ -= read.size_bytes();
    ARROW_ASSIGN_OR_RAISE(frame->batch, file->Finish(std::move(read), place, pool));
  }
  ARROW_ASSIGN_OR_RAISE(frame->keys, keys_of_(*frame->batch, pool));
  return Status::OK();
}

// All or nothing.
Status RunMerger::Load(Run* run, arrow::MemoryPool* pool) {
  Frame frame;
  const Status status = ReadNext(run, &frame, pool);
  // What was read behind it is no longer in line; and where memory is short, others need it more.
  if (!status.ok()) DropAhead();
  ARROW_RETURN_NOT_OK(status);
  const auto& slice = run->slice;
  const auto& place = run->place(run->frame);
  frame.row = slice.lower ? PlaceOf(*slice.lower, place, frame.keys) : 0;
  frame.end = slice.upper ? PlaceOf(*slice.upper, place, frame.keys) : place.rows;
  frame.length = place.length;
  frame.row_bytes = static_cast<double>(place.length) / static_cast<double>(place.rows);
  ++run->frame;
  if (frame.row >= frame.end) return Status::OK();
  frame.prefixes = &frame.keys.prefix(0);
  loaded_bytes_ += frame.length;
  run->frames.push_back(std::move(frame));
  return Status::OK();
}

void RunMerger::DropAhead() {
  for (auto& run : runs_) run.ahead.clear();
  ahead_bytes_ = 0;
  next_read_ = next_load_;
}

// Lets the disk read what is loaded next; less where memory is short.
void RunMerger::ReadAhead(arrow::MemoryPool* pool) {
  next_read_ = std::max(next_read_, next_load_);
  for (; ahead_bytes_ < window_bytes_ && next_read_ < order_.size(); ++next_read_) {
    const FrameRef& ref = order_[next_read_];
    Run& run = runs_[ref.run];
    if (ref.frame != run.frame + run.ahead.size()) continue;  // it is loaded, or one before it was refused
    const auto file = FileOf(run.slice);
    if (!file.ok()) return;
    auto read = (*file)->Begin(run.place(ref.frame), pool);
    if (!read.ok()) return;
    ahead_bytes_ += read->size_bytes();
    run.ahead.push_back(std::move(*read));
  }
}

// A frame of each run, and more in the order of their first keys until there is enough.
Status RunMerger::LoadWindow(arrow::MemoryPool* pool) {
  const auto lacks = [](const Run& run) { return run.frames.empty() && run.has_more(); };
  auto lacking = std::count_if(runs_.begin(), runs_.end(), lacks);
  // In the order in which they are on their way.
  for (size_t i = next_load_; lacking > 0 && i < order_.size(); ++i) {
    Run& run = runs_[order_[i].run];
    if (!lacks(run) || order_[i].frame != run.frame) continue;
    ReadAhead(pool);
    Status status = Load(&run, pool);
    if (status.IsOutOfMemory()) status = Load(&run, pool);  // without what was read ahead
    ARROW_RETURN_NOT_OK(status);
    if (!lacks(run)) --lacking;
  }
  while (next_load_ < order_.size() && loaded_bytes_ < window_bytes_ + fringe_bytes_) {
    Run& run = runs_[order_[next_load_].run];
    if (order_[next_load_].frame >= run.frame) {
      ReadAhead(pool);
      const Status status = Load(&run, pool);
      if (status.IsOutOfMemory()) return Status::OK();  // a smaller window does
      ARROW_RETURN_NOT_OK(status);
    }
    ++next_load_;
  }
  return Status::OK();
}

// Of the runs that go on behind what is loaded, the one whose loaded rows end first.
RunMerger::Cut RunMerger::FindCut() const {
  Cut cut;
  for (size_t r = 0; r < runs_.size(); ++r) {
    if (!runs_[r].has_more() || runs_[r].frames.empty()) continue;
    const Frame& last = runs_[r].frames.back();
    if (cut.frame == nullptr || CompareKeys(last.keys, last.end - 1, cut.frame->keys, cut.row) < 0)
      cut = {&last, last.end - 1, r};
  }
  return cut;
}

// The first row of a frame that stands behind the cut. `is_beyond`: of the run `run`, by frames in order,
// false before its first.
int64_t RunMerger::EndOf(const Frame& frame, size_t run, const Cut& cut, bool* is_beyond) const {
  if (*is_beyond) return frame.row;
  if (&frame == cut.frame) {
    *is_beyond = true;
    return cut.row + 1;
  }
  if (cut.frame == nullptr || run == cut.run) return frame.end;
  int64_t begin = frame.row, end = frame.end;
  while (begin < end) {
    const int64_t middle = begin + (end - begin) / 2;
    const int c = CompareKeys(frame.keys, middle, cut.frame->keys, cut.row);
    if (c < 0 || (c == 0 && run < cut.run)) {
      begin = middle + 1;
    } else {
      end = middle;
    }
  }
  return begin;
}

// All rows that may leave, as items in order; fewer where memory is short.
Status RunMerger::TakeWindow(arrow::MemoryPool* pool) {
  Cut cut = FindCut();
  while (true) {
    const Status status = TakeUpTo(cut, pool);
    if (!status.IsOutOfMemory()) return status;
    if (cut.frame == nullptr) {
      const auto any =
          std::find_if(runs_.begin(), runs_.end(), [](const Run& run) { return !run.frames.empty(); });
      const Frame& frame = any->frames.front();
      cut = {&frame, frame.end - 1, static_cast<size_t>(any - runs_.begin())};
    }
    if (cut.row == cut.frame->row) return status;
    cut.row = cut.frame->row + (cut.row - cut.frame->row) / 2;
  }
}

// All or nothing.
Status RunMerger::TakeUpTo(const Cut& cut, arrow::MemoryPool* pool) {
  batches_.clear();
  frames_.clear();
  std::vector<int64_t> ends;
  size_t count = 0;
  uint64_t low = UINT64_MAX, last = 0;
  for (size_t r = 0; r < runs_.size(); ++r) {
    bool is_beyond = false;
    for (const auto& frame : runs_[r].frames) {
      const int64_t end = EndOf(frame, r, cut, &is_beyond);
      if (end > frame.row) {
        low = std::min(low, frame.prefixes[frame.row].hi);
        last = std::max(last, frame.prefixes[end - 1].hi);
      }
      count += static_cast<size_t>(end - frame.row);
      ends.push_back(end);
      frames_.push_back(&frame);
      batches_.push_back(frame.batch);
    }
  }
  items_ = {};
  emitted_ = 0;
  if (count == 0) return Status::OK();
  // About one item a bucket, where keys are spread evenly.
  const int shift =
      std::max(0, static_cast<int>(std::bit_width(last - low)) - static_cast<int>(std::bit_width(count)));
  const size_t buckets = static_cast<size_t>((last - low) >> shift) + 1;
  const size_t bytes = 2 * count * sizeof(Item) + (buckets + 1) * sizeof(uint32_t);
  if (!memory_ || memory_->size() < static_cast<int64_t>(bytes)) {
    memory_.reset();
    ARROW_ASSIGN_OR_RAISE(memory_, arrow::AllocateBuffer(static_cast<int64_t>(bytes), pool));
  }
  auto* items = reinterpret_cast<Item*>(memory_->mutable_data());
  Item* out = items;
  size_t f = 0;
  for (auto& run : runs_) {
    for (auto& frame : run.frames) {
      for (int64_t row = frame.row; row < ends[f]; ++row)
        *out++ = {frame.prefixes[row].hi, static_cast<uint32_t>(f), static_cast<uint32_t>(row)};
      frame.row = ends[f++];
    }
  }
  SortItems(low, shift, items, items + count, count, buckets);
  items_ = {items + count, count};
  return Status::OK();
}

// The stable sort of `count` items to `sorted`: by the leading bits of their distance to `low`, then by
// comparison within buckets. What is in a bucket are sequences of runs behind each other, each ascending.
// `items` are scratch afterwards.
void RunMerger::SortItems(uint64_t low, int shift, Item* items, Item* sorted, size_t count, size_t buckets) {
  auto* ends = reinterpret_cast<uint32_t*>(sorted + count);
  std::fill(ends, ends + buckets + 1, 0);
  for (size_t i = 0; i < count; ++i) ++ends[((items[i].hi - low) >> shift) + 1];
  for (size_t b = 1; b <= buckets; ++b) ends[b] += ends[b - 1];
  for (size_t i = 0; i < count; ++i) sorted[ends[(items[i].hi - low) >> shift]++] = items[i];
  // Now ends[b] is where bucket b ends.
  const auto less = [&](const Item& a, const Item& b) { return a.hi != b.hi ? a.hi < b.hi : IsBefore(a, b); };
  uint32_t begin = 0;
  for (size_t b = 0; b < buckets; ++b) {
    const uint32_t end = ends[b];
    if (end - begin > kFewItems) {
      MergeSequences(sorted + begin, sorted + end, items, less);
    } else if (end - begin > 1) {
      Insert(sorted + begin, sorted + end, less);
    }
    begin = end;
  }
}

// Of items whose first 8 bytes are equal.
bool RunMerger::IsBefore(const Item& a, const Item& b) const {
  return CompareKeys(frames_[a.frame]->keys, a.row, frames_[b.frame]->keys, b.row) < 0;
}

// What windows have had in full is let go.
void RunMerger::DropDone() {
  items_ = {};
  batches_.clear();
  frames_.clear();
  for (auto& run : runs_) {
    while (!run.frames.empty() && run.frames.front().row == run.frames.front().end) {
      loaded_bytes_ -= run.frames.front().length;
      run.frames.pop_front();
    }
  }
}

Result<std::shared_ptr<arrow::RecordBatch>> RunMerger::Emit(int64_t target_bytes, arrow::MemoryPool* pool) {
  const auto target = static_cast<double>(target_bytes);
  double bytes = 0;
  picks_.clear();
  for (const auto& item : items_.subspan(emitted_)) {
    if (bytes >= target || picks_.size() >= kMaxRows) break;
    picks_.push_back({item.frame, item.row});
    bytes += frames_[item.frame]->row_bytes;
  }
  size_t count = picks_.size();
  std::shared_ptr<arrow::RecordBatch> batch;
  while (true) {
    if (count == 1) {  // a fat row is not copied
      batch = batches_[picks_[0].batch]->Slice(picks_[0].row, 1);
      arrow::ArrayVector columns(batch->columns().begin(), batch->columns().begin() + schema_->num_fields());
      batch = arrow::RecordBatch::Make(schema_, 1, std::move(columns));
      break;
    }
    auto made = Interleave(schema_, batches_, std::span(picks_).first(count), pool);
    if (made.ok()) {
      batch = std::move(*made);
      break;
    }
    if (!made.status().IsOutOfMemory()) return made.status();
    count /= 2;
  }
  emitted_ += count;
  if (emitted_ == items_.size()) DropDone();
  return batch;
}

Result<std::shared_ptr<arrow::RecordBatch>> RunMerger::Next(int64_t target_bytes, arrow::MemoryPool* pool) {
  if (items_.empty()) {
    ARROW_RETURN_NOT_OK(LoadWindow(pool));
    ARROW_RETURN_NOT_OK(TakeWindow(pool));
    if (items_.empty()) return nullptr;
  }
  return Emit(target_bytes, pool);
}

Result<RunMerger::Window> RunMerger::NextWindow(arrow::MemoryPool* pool) {
  DropDone();
  Window window;
  ARROW_RETURN_NOT_OK(LoadWindow(pool));
  const Cut cut = FindCut();
  if (cut.frame != nullptr) window.open = cut.frame->prefixes[cut.row].hi;
  for (size_t r = 0; r < runs_.size(); ++r) {
    bool is_beyond = false;
    for (auto& frame : runs_[r].frames) {
      const int64_t end = EndOf(frame, r, cut, &is_beyond);
      if (end > frame.row) window.parts.push_back(frame.batch->Slice(frame.row, end - frame.row));
      frame.row = end;
    }
  }
  return window;
}

}  // namespace partita
