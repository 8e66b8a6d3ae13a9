#include "partita/exchange/sorted_source.h"

#include <arrow/api.h>

#include <algorithm>
#include <tuple>
#include <utility>

#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/join_cuts.h"
#include "partita/exchange/run_groups.h"
#include "partita/exchange/sorted_sink.h"

namespace partita {
namespace {

constexpr size_t kMaxFanIn = 512;  // each run has a frame in memory
constexpr size_t kMaxKeptFanIn = 1024;
constexpr int64_t kMaxWindowBytes = 8 << 20;  // larger ones leave the caches
constexpr int64_t kMinWindowBytes = 256 << 10;

// The first key of partition p where keys are spread evenly over 64 bits.
KeyPoint EvenBound(const PlanExchange& exchange, int64_t p, int64_t partitions) {
  const auto at = (static_cast<unsigned __int128>(p) << 64) / static_cast<unsigned __int128>(partitions);
  return {HashPrefix(exchange, static_cast<uint64_t>(at)), {}};
}

// Merges what a partition takes of the runs; of fewer runs, where there are too many.
class RangeMerger {
 public:
  RangeMerger(const SortedSourceInit& init, KeysOf keys_of)
      : init_(init),
        keys_of_(std::move(keys_of)),
        groups_(init_.env, RunSchema(*init_.exchange), keys_of_, init_.scratch, FrameBytes(init_.hold_bytes)),
        slices_(init_.shares->SlicesOf(init_.partition)) {}

  // After OutOfMemory it may be called again.
  Result<RunMerger*> Get(const OperatorContext& ctx) {
    if (!merger_) {
      ARROW_RETURN_NOT_OK(groups_.Reduce(FanIn(), &slices_, ctx));
      const int64_t window_bytes = std::clamp(init_.hold_bytes / 4, kMinWindowBytes, kMaxWindowBytes);
      const auto schema = init_.with_keys ? RunSchema(*init_.exchange) : init_.exchange->schema;
      merger_ = std::make_unique<RunMerger>(init_.env, slices_, schema, keys_of_, window_bytes);
    }
    return merger_.get();
  }

 private:
  // How many runs may each have a frame in memory.
  size_t FanIn() const {
    // What stands in memory already takes no more of it.
    if (std::all_of(slices_.begin(), slices_.end(),
                    [](const RunSlice& slice) { return slice.kept != nullptr; }))
      return kMaxKeptFanIn;
    int64_t frame = FrameBytes(init_.hold_bytes);
    for (const auto& slice : slices_) frame = std::max(frame, slice.index->longest_frame);
    return std::clamp<size_t>(static_cast<size_t>(init_.hold_bytes / (2 * frame)), 2, kMaxFanIn);
  }

  SortedSourceInit init_;
  KeysOf keys_of_;
  RunGroups groups_;
  std::vector<RunSlice> slices_;
  std::unique_ptr<RunMerger> merger_;
};

class SortedSource final : public Source {
 public:
  SortedSource(const SortedSourceInit& init, KeysOf keys_of)
      : merger_(init, std::move(keys_of)), left_(init.exchange->limit >= 0 ? init.exchange->limit : INT64_MAX) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    if (left_ == 0) return std::nullopt;
    ARROW_ASSIGN_OR_RAISE(auto* merger, merger_.Get(ctx));
    ARROW_ASSIGN_OR_RAISE(auto batch, merger->Next(ctx.target_block_bytes, ctx.pool.get()));
    if (!batch) return std::nullopt;
    if (batch->num_rows() > left_) batch = batch->Slice(0, left_);
    Block block;
    block.ordinals = RowOrdinals::Range(done_, batch->num_rows());
    done_ += batch->num_rows();
    left_ -= batch->num_rows();
    block.batch = std::move(batch);
    return block;
  }

 private:
  RangeMerger merger_;
  int64_t done_ = 0, left_ = 0;
};

}  // namespace

Result<std::shared_ptr<SortedShares>> SortedShares::Make(Env* env, const PlanExchange& exchange,
                                                         std::vector<SortedShare> shares, int64_t partitions,
                                                         const std::shared_ptr<BudgetPool>& pool) {
  auto made = std::make_shared<SortedShares>();
  made->shares_ = std::move(shares);
  made->partitions_ = partitions;
  ARROW_ASSIGN_OR_RAISE(auto memory, pool->Reserve(0));
  made->memory_ = std::make_unique<Reservation>(std::move(memory));
  ARROW_RETURN_NOT_OK(made->ReadIndexes(env, pool.get()));
  if (exchange.kind == PlanExchange::Kind::kSort) {
    made->CutBySample();
  } else {
    for (int64_t p = 1; p < partitions; ++p) made->bounds_.push_back({EvenBound(exchange, p, partitions)});
  }
  return made;
}

// With the sample of all rows out of those of the shares.
Status SortedShares::ReadIndexes(Env* env, BudgetPool* pool) {
  const auto smaller = [](const Sampled& a, const Sampled& b) { return a.row.hash < b.row.hash; };
  int64_t bytes = 0;
  for (size_t s = 0; s < shares_.size(); ++s) {
    RunIndex index;
    if (shares_[s].kept) {
      index = shares_[s].kept->index();
    } else {
      ARROW_ASSIGN_OR_RAISE(index, RunFileReader::ReadIndex(env, shares_[s].path, pool));
    }
    for (auto& row : index.sample) {
      if (row.run < 0 || row.run >= static_cast<int64_t>(index.runs.size())) {
        return EnvironmentError("'" + shares_[s].path + "' is damaged",
                                "the same command redoes the lost work", false);
      }
      sample_.push_back({std::move(row), s});
    }
    index.sample = {};
    if (sample_.size() > kSampledRows) {
      std::nth_element(sample_.begin(), sample_.begin() + kSampledRows, sample_.end(), smaller);
      sample_.resize(kSampledRows);
    }
    rows_ += index.rows;
    bytes += index.size_bytes();
    ARROW_RETURN_NOT_OK(memory_->Resize(bytes));
    indexes_.push_back(std::make_shared<const RunIndex>(std::move(index)));
  }
  return Status::OK();
}

void SortedShares::CutBySample() {
  std::sort(sample_.begin(), sample_.end(), [](const Sampled& a, const Sampled& b) {
    const int c = ComparePoints(a.row.point, b.row.point);
    return c != 0 ? c < 0 : a.place() < b.place();
  });
  for (int64_t p = 1; p < partitions_ && !sample_.empty(); ++p) {
    const auto at =
        static_cast<size_t>(static_cast<__int128>(p) * static_cast<int64_t>(sample_.size()) / partitions_);
    const auto& [row, share] = sample_[at];
    // A key that is longer than a point holds cannot split: all rows that look the same stand behind the
    // bound.
    bounds_.push_back({row.point, row.point.whole.size() < kMaxPointBytes, share, row.run, row.rank});
  }
  sample_ = {};
}

JoinSample SortedShares::TakeSample(int64_t bytes) {
  // Not by the whole point: in one hash, rows with and without a null stand by their positions.
  std::sort(sample_.begin(), sample_.end(), [](const Sampled& a, const Sampled& b) {
    const uint64_t x = a.row.point.prefix.hi, y = b.row.point.prefix.hi;
    return x != y ? x < y : a.place() < b.place();
  });
  JoinSample taken{rows_, bytes, {}};
  for (const auto& [row, share] : sample_)
    taken.sampled.push_back({row.point.prefix.hi, row.point.prefix.lo != 0});
  return taken;
}

void SortedShares::CutJoin(SortedShares* left, int64_t left_bytes, SortedShares* right, int64_t right_bytes,
                           bool gives_pairs, bool earlier_rows) {
  const auto cuts = CutsOfJoin(left->TakeSample(left_bytes), right->TakeSample(right_bytes), gives_pairs,
                               left->partitions_);
  left->bounds_.clear();
  right->bounds_.clear();
  for (const auto& cut : cuts) {
    Bound of_left{{{cut.hash, 0}, {}}}, of_right = of_left;
    if (cut.row >= 0) {
      const SortedShares* side = cut.of_right ? right : left;
      const auto& [sampled, share] = side->sample_[static_cast<size_t>(cut.row)];
      Bound& bound = cut.of_right ? of_right : of_left;
      bound = {bound.point, !cut.of_right, share, sampled.run, sampled.rank};
      of_left.apart = of_right.apart = cut.of_right;
      of_left.shared = earlier_rows || cut.of_right;
      of_right.shared = true;
    }
    left->bounds_.push_back(std::move(of_left));
    right->bounds_.push_back(std::move(of_right));
  }
  left->sample_ = {};
  right->sample_ = {};
}

// A bound at a row, as run `run` of `share` sees it.
RunBound SortedShares::AtRow(const Bound& bound, size_t share, size_t run) {
  const auto here = std::pair(share, static_cast<int64_t>(run)), row = std::pair(bound.share, bound.run);
  return {bound.point, here < row ? -1 : here == row ? 0 : 1, bound.rank};
}

// The bound at the beginning of `partition`.
std::optional<RunBound> SortedShares::BoundIn(int64_t partition, size_t share, size_t run, bool alone,
                                              Edge edge) const {
  if (partition <= 0 || partition > static_cast<int64_t>(bounds_.size())) return std::nullopt;
  const Bound& bound = bounds_[static_cast<size_t>(partition - 1)];
  const RunBound before{bound.point, 1, 0}, behind{bound.point, -1, 0};  // all rows of its key
  const bool is_lower = edge == Edge::kLower;
  if (bound.apart || (bound.shared && alone)) return is_lower ? behind : before;
  if (bound.exact) return AtRow(bound, share, run);
  if (bound.shared) return is_lower ? before : behind;
  return before;
}

template <typename Bounds>
std::vector<RunSlice> SortedShares::Slices(const Bounds& bounds) const {
  std::vector<RunSlice> slices;
  for (size_t s = 0; s < shares_.size(); ++s) {
    for (size_t r = 0; r < indexes_[s]->runs.size(); ++r) {
      RunSlice slice;
      slice.path = shares_[s].path;
      slice.index = indexes_[s];
      slice.run = r;
      slice.cached_bytes = shares_[s].cached_bytes;
      slice.kept = shares_[s].kept;
      std::tie(slice.lower, slice.upper) = bounds(s, r);
      slices.push_back(std::move(slice));
    }
  }
  return slices;
}

std::vector<RunSlice> SortedShares::SlicesOf(int64_t partition) const {
  return Slices([&](size_t s, size_t r) {
    return std::pair(BoundIn(partition, s, r, false, Edge::kLower),
                     BoundIn(partition + 1, s, r, false, Edge::kUpper));
  });
}

std::vector<RunSlice> SortedShares::SlicesOfHash(uint64_t hash) const {
  const KeyPoint point{{hash, 0}, {}};
  return Slices([&](size_t, size_t) {
    return std::pair(std::optional(RunBound{point, 1, 0}), std::optional(RunBound{point, -1, 0}));
  });
}

std::vector<RunSlice> SortedShares::PartOfHash(uint64_t hash, int64_t partition) const {
  const KeyPoint point{{hash, 0}, {}};
  const bool begun = RightCutAt(partition) == hash, unended = RightCutAt(partition + 1) == hash;
  return Slices([&](size_t s, size_t r) {
    std::optional<RunBound> lower(RunBound{point, 1, 0}), upper(RunBound{point, -1, 0});
    if (begun) lower = AtRow(bounds_[static_cast<size_t>(partition - 1)], s, r);
    if (unended) upper = AtRow(bounds_[static_cast<size_t>(partition)], s, r);
    return std::pair(lower, upper);
  });
}

HashRange SortedShares::HashesOf(int64_t partition) const {
  HashRange range;
  if (partition > 0) {
    const Bound& begin = bounds_[static_cast<size_t>(partition - 1)];
    range.first = begin.point.prefix.hi + (begin.apart ? 1 : 0);
  }
  if (partition + 1 < partitions_) {
    const Bound& end = bounds_[static_cast<size_t>(partition)];
    const uint64_t hash = end.point.prefix.hi;
    const bool is_in = !end.apart && (end.exact || end.shared);
    if (!is_in && hash == 0) return {1, 0};
    range.last = is_in ? hash : hash - 1;
  }
  return range;
}

std::optional<uint64_t> SortedShares::HashCutAt(int64_t partition) const {
  if (partition <= 0 || partition > static_cast<int64_t>(bounds_.size())) return std::nullopt;
  const Bound& bound = bounds_[static_cast<size_t>(partition - 1)];
  return bound.exact ? std::optional(bound.point.prefix.hi) : std::nullopt;
}

std::optional<uint64_t> SortedShares::RightCutAt(int64_t partition) const {
  if (partition <= 0 || partition > static_cast<int64_t>(bounds_.size())) return std::nullopt;
  const Bound& bound = bounds_[static_cast<size_t>(partition - 1)];
  return bound.apart ? std::optional(bound.point.prefix.hi) : std::nullopt;
}

void SortedShares::Forget(int64_t partition, ExchangeMemory* memory) const {
  const auto slices = Slices([&](size_t s, size_t r) {
    return std::pair(BoundIn(partition, s, r, true, Edge::kLower),
                     BoundIn(partition + 1, s, r, true, Edge::kUpper));
  });
  for (const auto& slice : slices) {
    if (!slice.kept) continue;
    // Those at its ends may have rows of others.
    const auto [begin, end] = FramesOf(slice);
    if (end > begin + 2) memory->Forget(slice.kept.get(), slice.run, begin + 1, end - 1);
  }
}

Result<std::unique_ptr<Source>> MakeSortedSource(SortedSourceInit init) {
  ARROW_ASSIGN_OR_RAISE(auto keys_of, RunKeys(*init.exchange));
  return std::make_unique<SortedSource>(init, std::move(keys_of));
}

Result<SortedWindows> MakeSortedWindows(const SortedSourceInit& init) {
  ARROW_ASSIGN_OR_RAISE(auto keys_of, RunKeys(*init.exchange));
  return [merger = std::make_shared<RangeMerger>(init, std::move(keys_of))](
             const OperatorContext& ctx) -> Result<RunMerger::Window> {
    ARROW_ASSIGN_OR_RAISE(auto* windows, merger->Get(ctx));
    return windows->NextWindow(ctx.pool.get());
  };
}

}  // namespace partita
