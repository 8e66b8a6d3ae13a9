#include "partita/exchange/hash_side.h"

#include <arrow/api.h>

#include <algorithm>
#include <bit>
#include <tuple>

namespace partita {
namespace {

constexpr size_t kMaxOpenFiles = 64;  // of a side

uint64_t FirstOf(const RunSlice& slice, size_t frame) {
  return slice.index->runs[slice.run][frame].first.prefix.hi;
}

// The first row of a frame that is not before the bound.
int64_t PlaceOf(const RunBound& bound, const RunFrame& frame, const uint64_t* hashes) {
  if (bound.tie == 0) return std::clamp<int64_t>(bound.rank - frame.rank, 0, frame.rows);
  const uint64_t hash = bound.point.prefix.hi;
  const uint64_t* end = hashes + frame.rows;
  return (bound.tie < 0 ? std::upper_bound(hashes, end, hash) : std::lower_bound(hashes, end, hash)) - hashes;
}

// The stable sort of items whose hashes spread evenly over [low, last]: by the leading bits of their distance
// to `low`, so that about one item falls in each bucket, then by comparison within buckets.
void SortByHash(std::vector<HashItem>* items, std::vector<HashItem>* scratch, std::vector<uint32_t>* ends,
                uint64_t low, uint64_t last) {
  const uint64_t span = last - low;
  const int bits = static_cast<int>(std::bit_width(items->size()));
  const int shift = std::max(0, static_cast<int>(std::bit_width(span)) - bits);
  ends->assign(static_cast<size_t>(span >> shift) + 2, 0);
  for (const auto& item : *items) ++(*ends)[((item.hash - low) >> shift) + 1];
  for (size_t i = 1; i < ends->size(); ++i) (*ends)[i] += (*ends)[i - 1];
  scratch->resize(items->size());
  for (const auto& item : *items) (*scratch)[(*ends)[(item.hash - low) >> shift]++] = item;
  // Now ends[b] is where bucket b ends.
  uint32_t begin = 0;
  for (const uint32_t end : *ends) {
    if (end - begin > 1) {
      const auto first = scratch->begin() + begin, past = scratch->begin() + end;
      const auto less = [](const HashItem& a, const HashItem& b) { return a.hash < b.hash; };
      if (end - begin > 32) {
        std::stable_sort(first, past, less);
      } else {
        for (auto i = first + 1; i != past; ++i) {
          const HashItem item = *i;
          auto j = i;
          for (; j != first && item.hash < (j - 1)->hash; --j) *j = *(j - 1);
          *j = item;
        }
      }
    }
    begin = end;
  }
  items->swap(*scratch);
}

}  // namespace

Result<HashSide> HashSide::Make(Env* env, const PlanExchange& exchange, std::vector<RunSlice> slices,
                                HashRange range) {
  HashSide side;
  side.env_ = env;
  side.schema_ = exchange.schema;
  std::vector<int> columns;
  for (const auto& key : exchange.keys) columns.push_back(exchange.schema->GetFieldIndex(key.column));
  ARROW_ASSIGN_OR_RAISE(auto matcher, KeyMatcher::Make(*exchange.schema, std::move(columns)));
  side.matcher_ = std::make_shared<const KeyMatcher>(std::move(matcher));
  side.end_ = range.last;
  side.done_ = range.first > range.last;
  for (const auto& slice : slices) {
    int64_t longest = 0;
    for (const auto& frame : slice.index->runs[slice.run]) longest = std::max(longest, frame.length);
    side.fringe_bytes_ += longest;
  }
  side.slices_ = std::move(slices);
  side.Restart(range.first);
  return side;
}

void HashSide::Restart(uint64_t low) {
  low_ = low;
  frames_.clear();
  items_.clear();
  loaded_bytes_ = 0;
  refs_.clear();
  next_ref_ = 0;
  DropAhead();
  for (size_t s = 0; s < slices_.size() && !done_; ++s) {
    const auto& slice = slices_[s];
    const auto& frames = slice.index->runs[slice.run];
    // The last frame that begins before `low` may go on behind it.
    size_t f = static_cast<size_t>(
        std::partition_point(frames.begin(), frames.end(),
                             [&](const RunFrame& frame) { return frame.first.prefix.hi < low; }) -
        frames.begin());
    if (f > 0) --f;
    const auto [begin, past] = FramesOf(slice);
    for (f = std::max(f, begin); f < past && FirstOf(slice, f) <= end_; ++f) {
      refs_.push_back({std::max(low, FirstOf(slice, f)), static_cast<uint32_t>(s), static_cast<uint32_t>(f)});
    }
  }
  std::sort(refs_.begin(), refs_.end(), [](const FrameRef& a, const FrameRef& b) {
    return std::tie(a.first, a.slice, a.frame) < std::tie(b.first, b.slice, b.frame);
  });
}

bool HashSide::LeastHash(uint64_t* hash) const {
  bool any = NextFrame(hash);
  for (const auto& loaded : frames_) {
    if (loaded.frame->row == loaded.frame->end) continue;
    const uint64_t at = loaded.frame->hashes[loaded.frame->row];
    if (at > end_) continue;
    if (!any || at < *hash) *hash = at;
    any = true;
  }
  return any;
}

bool HashSide::NextFrame(uint64_t* first) const {
  if (next_ref_ == refs_.size()) return false;
  *first = refs_[next_ref_].first;
  return true;
}

Result<const RunFileReader*> HashSide::FileOf(const RunSlice& slice) {
  const auto known = files_.find(slice.path);
  if (known != files_.end()) return known->second.get();
  if (files_.size() >= kMaxOpenFiles) files_.clear();
  ARROW_ASSIGN_OR_RAISE(auto file, OpenRun(env_, slice));
  return files_.emplace(slice.path, std::move(file)).first->second.get();
}

Result<HashFramePtr> HashSide::Read(size_t slice_index, size_t frame_index, arrow::MemoryPool* pool) {
  const auto& slice = slices_[slice_index];
  const auto& frame = slice.index->runs[slice.run][frame_index];
  ARROW_ASSIGN_OR_RAISE(const auto* file, FileOf(slice));
  ARROW_ASSIGN_OR_RAISE(auto batch, file->ReadFrame(frame, pool));
  return Prepare(slice, frame, std::move(batch), pool);
}

Result<HashFramePtr> HashSide::Prepare(const RunSlice& slice, const RunFrame& frame,
                                       std::shared_ptr<arrow::RecordBatch> batch, arrow::MemoryPool* pool) {
  const auto& key = batch->column(batch->num_columns() - 1);
  if (key->type_id() != arrow::Type::UINT64) return BugError("a run without its key");
  auto made = std::make_shared<HashFrame>();
  made->hashes = static_cast<const arrow::UInt64Array&>(*key).raw_values();
  ARROW_ASSIGN_OR_RAISE(made->keys, matcher_->Prepare(*batch, pool));
  made->row_bytes = static_cast<double>(frame.length) / static_cast<double>(frame.rows);
  made->bytes = frame.length;
  made->batch = std::move(batch);
  made->begin = slice.lower ? PlaceOf(*slice.lower, frame, made->hashes) : 0;
  made->end = std::max(made->begin, slice.upper ? PlaceOf(*slice.upper, frame, made->hashes) : frame.rows);
  const uint64_t* hashes = made->hashes;
  made->row = std::lower_bound(hashes + made->begin, hashes + made->end, low_) - hashes;
  return made;
}

Result<HashFramePtr> HashSide::ReadNext(arrow::MemoryPool* pool) {
  const FrameRef& ref = refs_[next_ref_];
  if (ahead_.empty()) return Read(ref.slice, ref.frame, pool);
  const auto& slice = slices_[ref.slice];
  const auto& place = slice.index->runs[slice.run][ref.frame];
  ARROW_ASSIGN_OR_RAISE(const auto* file, FileOf(slice));
  FrameRead read = std::move(ahead_.front());
  ahead_.pop_front();
  ahead_bytes_ -= read.size_bytes();
  ARROW_ASSIGN_OR_RAISE(auto batch, file->Finish(std::move(read), place, pool));
  return Prepare(slice, place, std::move(batch), pool);
}

Status HashSide::Load(arrow::MemoryPool* pool) {
  auto read = ReadNext(pool);
  // Those behind it are no longer in line: they are read again.
  if (!read.ok()) DropAhead();
  ARROW_ASSIGN_OR_RAISE(auto frame, std::move(read));
  const FrameRef& ref = refs_[next_ref_++];
  if (frame->row == frame->end) return Status::OK();
  loaded_bytes_ += frame->bytes;
  frames_.push_back({ref.slice, ref.frame, std::move(frame)});
  return Status::OK();
}

void HashSide::DropAhead() {
  ahead_.clear();
  ahead_bytes_ = 0;
}

void HashSide::ReadAhead(int64_t bytes, arrow::MemoryPool* pool) {
  while (ahead_bytes_ < bytes && next_ref_ + ahead_.size() < refs_.size()) {
    const FrameRef& ref = refs_[next_ref_ + ahead_.size()];
    const auto& slice = slices_[ref.slice];
    const auto file = FileOf(slice);
    if (!file.ok()) return;
    auto read = (*file)->Begin(slice.index->runs[slice.run][ref.frame], pool);
    if (!read.ok()) return;
    ahead_bytes_ += read->size_bytes();
    ahead_.push_back(std::move(*read));
  }
}

Status HashSide::ReserveWindow(uint64_t last, BudgetPool* pool) {
  last = std::min(last, end_);
  int64_t count = 0;
  for (const auto& [slice, index, frame] : frames_) {
    const uint64_t* begin = frame->hashes + frame->row;
    count += std::upper_bound(begin, frame->hashes + frame->end, last) - begin;
  }
  // What earlier windows took is kept: fresh pages cost more than what is done in them.
  count = std::max(count, static_cast<int64_t>(items_.capacity()));
  constexpr auto kItemBytes = static_cast<int64_t>(2 * sizeof(HashItem) + 2 * sizeof(uint32_t));
  if (items_memory_.bytes() > 0) return items_memory_.Resize(count * kItemBytes);
  ARROW_ASSIGN_OR_RAISE(items_memory_, pool->Reserve(count * kItemBytes));
  return Status::OK();
}

void HashSide::TakeWindow(uint64_t last) {
  last = std::min(last, end_);
  std::sort(frames_.begin(), frames_.end(), [](const Loaded& a, const Loaded& b) {
    return std::tie(a.slice, a.frame_index) < std::tie(b.slice, b.frame_index);
  });
  size_t count = 0;
  std::vector<int64_t> ends;
  uint64_t low = UINT64_MAX;
  for (const auto& [slice, index, frame] : frames_) {
    const uint64_t* begin = frame->hashes + frame->row;
    const uint64_t* end = std::upper_bound(begin, frame->hashes + frame->end, last);
    if (begin != end) low = std::min(low, *begin);
    count += static_cast<size_t>(end - begin);
    ends.push_back(end - frame->hashes);
  }
  items_.clear();
  items_.reserve(count);
  for (size_t f = 0; f < frames_.size(); ++f) {
    const auto& frame = *frames_[f].frame;
    for (int64_t row = frame.row; row < ends[f]; ++row)
      items_.push_back({frame.hashes[row], static_cast<uint32_t>(f), static_cast<uint32_t>(row)});
    frames_[f].frame->row = ends[f];
  }
  if (count > 1) SortByHash(&items_, &scratch_, &bucket_ends_, low, last);
  low_ = last;
  if (last == end_) {
    done_ = true;
  } else {
    ++low_;
  }
}

void HashSide::EndWindow() {
  items_.clear();
  std::erase_if(frames_, [&](const Loaded& loaded) {
    const auto& frame = *loaded.frame;
    const bool done = frame.row == frame.end || frame.hashes[frame.row] > end_;
    if (done) loaded_bytes_ -= frame.bytes;
    return done;
  });
}

void HashSide::SkipPast(uint64_t hash) {
  done_ = hash >= end_;
  Restart(done_ ? hash : hash + 1);
}

HashStream::HashStream(HashSide* side, uint64_t hash, int64_t keep_bytes)
    : side_(side), hash_(hash), keep_bytes_(keep_bytes) {
  for (size_t s = 0; s < side->slices_.size(); ++s) {
    const auto& slice = side->slices_[s];
    const auto& frames = slice.index->runs[slice.run];
    const auto [begin, past] = FramesOf(slice);
    for (size_t f = begin; f < past && FirstOf(slice, f) <= hash; ++f) {
      if (f + 1 < frames.size() && FirstOf(slice, f + 1) < hash) continue;
      refs_.push_back({hash, static_cast<uint32_t>(s), static_cast<uint32_t>(f)});
    }
  }
  kept_.resize(refs_.size());
}

Result<HashStream::Range> HashStream::Next(arrow::MemoryPool* pool) {
  while (at_ < refs_.size()) {
    if (kept_[at_].frame) return kept_[at_++];
    ARROW_ASSIGN_OR_RAISE(auto frame, side_->Read(refs_[at_].slice, refs_[at_].frame, pool));
    const auto [begin, end] =
        std::equal_range(frame->hashes + frame->begin, frame->hashes + frame->end, hash_);
    const Range range{frame, begin - frame->hashes, end - frame->hashes};
    if (frame->bytes <= keep_bytes_ && begin != end) {
      keep_bytes_ -= frame->bytes;
      kept_[at_] = range;
    }
    ++at_;
    if (begin != end) return range;
  }
  return Range{};
}

}  // namespace partita
