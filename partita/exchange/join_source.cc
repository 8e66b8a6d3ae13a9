#include "partita/exchange/join_source.h"

#include <arrow/api.h>

#include <algorithm>
#include <optional>

#include "partita/base/json.h"
#include "partita/exchange/hash_side.h"
#include "partita/exchange/hot_join.h"
#include "partita/exchange/run_groups.h"
#include "partita/exchange/sorted_sink.h"

namespace partita {
namespace {

constexpr int64_t kMaxWindowBytes = 8 << 20;  // larger ones leave the caches
constexpr int64_t kMinWindowBytes = 256 << 10;
constexpr size_t kMaxRuns = 256;  // of a side; each has a frame in memory

// The rows of a window, both sides in the order of their hashes.
class WindowJoin {
 public:
  // `unended`: the hash that other partitions go on with, if any.
  WindowJoin(JoinGives gives, HashSide* left, HashSide* right, std::optional<uint64_t> unended,
             JoinRows* rows)
      : gives_(gives), left_(left), right_(right), unended_(unended), rows_(rows) {}

  void Begin() {
    l_ = r_ = 0;
    phase_ = Phase::kAlign;
  }

  // Goes on until the block is full (false) or the window is at its end (true).
  bool Run(int64_t target_bytes) {
    const auto& lefts = left_->items();
    const auto& rights = right_->items();
    while (!rows_->full(target_bytes)) {
      switch (phase_) {
        case Phase::kAlign:
          if (l_ == lefts.size() && r_ == rights.size()) return true;
          if (r_ == rights.size() || (l_ < lefts.size() && lefts[l_].hash < rights[r_].hash)) {
            if (gives_.lone_left) AddLeft(lefts[l_]);
            ++l_;
          } else if (l_ == lefts.size() || rights[r_].hash < lefts[l_].hash) {
            if (GivesRest(rights[r_].hash)) AddRight(rights[r_]);
            ++r_;
          } else {
            BeginGroup();
          }
          break;
        case Phase::kMatch:
          if (l_ == lefts.size() || lefts[l_].hash != rights[r_].hash) {
            next_ = r_;
            phase_ = Phase::kRest;
          } else {
            MatchLeftRow(target_bytes);
          }
          break;
        case Phase::kRest:
          AddRest();
          break;
      }
    }
    return false;
  }

 private:
  enum class Phase { kAlign, kMatch, kRest };

  // Are right rows of the hash without a match given out here?
  bool GivesRest(uint64_t hash) const { return gives_.lone_right && hash != unended_; }
  void AddLeft(const HashItem& item) { rows_->AddLeft(left_->frame(item), item.row); }
  void AddRight(const HashItem& item) { rows_->AddRight(right_->frame(item), item.row); }

  // The right rows of one hash: [r_, group_end_).
  void BeginGroup() {
    const auto& rights = right_->items();
    group_end_ = r_;
    while (group_end_ < rights.size() && rights[group_end_].hash == rights[r_].hash) ++group_end_;
    if (gives_.lone_right) matched_.assign(group_end_ - r_, false);
    next_ = r_;
    found_ = false;
    phase_ = Phase::kMatch;
  }

  // The current left row against the group, as far as the block has room.
  void MatchLeftRow(int64_t target_bytes) {
    const HashItem& item = left_->items()[l_];
    const HashFramePtr& frame = left_->frame(item);
    if (!frame->keys.HasNull(item.row)) {
      for (; next_ < group_end_; ++next_) {
        const HashItem& other = right_->items()[next_];
        const HashFramePtr& other_frame = right_->frame(other);
        if (other_frame->keys.HasNull(other.row) ||
            !KeysMatch(frame->keys, item.row, other_frame->keys, other.row)) {
          continue;
        }
        if (gives_.pairs) {
          if (rows_->full(target_bytes)) return;  // goes on here with the next block
          rows_->AddPair(frame, item.row, other_frame, other.row);
        }
        found_ = true;
        if (gives_.lone_right) matched_[next_ - r_] = true;
        if (!gives_.pairs) break;
      }
    }
    if (found_ ? gives_.semi : gives_.lone_left) AddLeft(item);
    ++l_;
    next_ = r_;
    found_ = false;
  }

  // Right rows of the group that no left row matched; at most one block's at once.
  void AddRest() {
    const bool gives = GivesRest(right_->items()[r_].hash);
    for (size_t added = 0; gives && next_ < group_end_; ++next_) {
      if (matched_[next_ - r_]) continue;
      if (++added > JoinRows::kMaxRows / 8) return;
      AddRight(right_->items()[next_]);
    }
    r_ = group_end_;
    phase_ = Phase::kAlign;
  }

  JoinGives gives_;
  HashSide* left_;
  HashSide* right_;
  std::optional<uint64_t> unended_;
  JoinRows* rows_;
  Phase phase_ = Phase::kAlign;
  size_t l_ = 0, r_ = 0;  // in the items of both sides; r_ stays at the group's begin
  size_t group_end_ = 0, next_ = 0;
  std::vector<bool> matched_;  // of the group's right rows
  bool found_ = false;         // the current left row has a match
};

class JoinSource final : public Source {
 public:
  JoinSource(JoinSourceInit init, JoinGives gives, JoinRows rows)
      : init_(std::move(init)),
        gives_(gives),
        rows_(std::move(rows)),
        window_bytes_(std::clamp(init_.hold_bytes / 4, kMinWindowBytes, kMaxWindowBytes)),
        ahead_bytes_(window_bytes_ / 4),
        begun_(init_.left->HashCutAt(init_.partition)),
        unended_(init_.left->HashCutAt(init_.partition + 1)),
        begun_part_(init_.right->RightCutAt(init_.partition)),
        unended_part_(init_.right->RightCutAt(init_.partition + 1)) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    if (!opened_) ARROW_RETURN_NOT_OK(Open(ctx));
    if (!rows_.emitting()) {
      const Status picked = Pick(ctx);
      // What was picked leaves first: that frees memory for the frame that was refused.
      if (!picked.ok() && !(picked.IsOutOfMemory() && !rows_.empty())) return picked;
    }
    return rows_.EmitBlock(ctx.pool.get());
  }

 private:
  enum class State { kLoading, kTaking, kWindow, kHot, kPart, kDone };

  Result<HashSide> SideOf(const PlanExchange& exchange, const SortedShares& shares, const std::string& name,
                          std::unique_ptr<RunGroups>* groups, std::vector<RunSlice>* slices,
                          const OperatorContext& ctx) {
    if (!*groups) {
      *slices = shares.SlicesOf(init_.partition);
      ARROW_ASSIGN_OR_RAISE(auto keys_of, RunKeys(exchange));
      *groups = std::make_unique<RunGroups>(init_.env, RunSchema(exchange), std::move(keys_of),
                                            init_.scratch + name, FrameBytes(init_.hold_bytes));
    }
    int64_t frame = FrameBytes(init_.hold_bytes);
    for (const auto& slice : *slices) frame = std::max(frame, slice.index->longest_frame);
    const auto most = std::clamp<size_t>(static_cast<size_t>(init_.hold_bytes / frame), 2, kMaxRuns);
    ARROW_RETURN_NOT_OK((*groups)->Reduce(most, slices, ctx));
    return HashSide::Make(init_.env, exchange, *slices, shares.HashesOf(init_.partition));
  }

  Status Open(const OperatorContext& ctx) {
    ARROW_ASSIGN_OR_RAISE(
        auto left, SideOf(*init_.left_exchange, *init_.left, "-left", &left_groups_, &left_slices_, ctx));
    ARROW_ASSIGN_OR_RAISE(auto right, SideOf(*init_.right_exchange, *init_.right, "-right", &right_groups_,
                                             &right_slices_, ctx));
    left_ = std::make_unique<HashSide>(std::move(left));
    right_ = std::make_unique<HashSide>(std::move(right));
    window_ = std::make_unique<WindowJoin>(gives_, left_.get(), right_.get(), unended_, &rows_);
    if (gives_.lone_right && begun_ && begun_ != unended_) ARROW_RETURN_NOT_OK(EndHash(*begun_));
    if (begun_part_) ARROW_RETURN_NOT_OK(BeginPart(*begun_part_));
    opened_ = true;
    return Status::OK();
  }

  // A hash whose right rows are shared out among partitions.
  Status BeginPart(uint64_t hash) {
    const HashRange range{hash, hash};
    const auto make = [&](const PlanExchange& exchange, std::vector<RunSlice> slices,
                          std::unique_ptr<HashSide>* out) -> Status {
      ARROW_ASSIGN_OR_RAISE(auto side, HashSide::Make(init_.env, exchange, std::move(slices), range));
      *out = std::make_unique<HashSide>(std::move(side));
      return Status::OK();
    };
    ARROW_RETURN_NOT_OK(make(*init_.left_exchange, init_.left->SlicesOfHash(hash), &all_left_));
    ARROW_RETURN_NOT_OK(make(*init_.right_exchange, init_.right->SlicesOfHash(hash), &all_right_));
    ARROW_RETURN_NOT_OK(make(*init_.right_exchange, init_.right->PartOfHash(hash, init_.partition), &part_));
    const HotPart part{part_.get(), hash != begun_part_, hash != unended_part_};
    JoinGives gives = gives_;
    if (!part.ends) gives.lone_right = false;
    HashSide* keys = gives.lone_right ? all_left_.get() : nullptr;
    hot_ = std::make_unique<HotJoin>(gives, all_left_.get(), all_right_.get(), keys, hash, window_bytes_,
                                     &rows_, part);
    state_ = State::kPart;
    return Status::OK();
  }

  // A hash that other partitions began with ends here. Which of its right rows match none is known when all
  // its left rows are; as a rule the first of them says it.
  Status EndHash(uint64_t hash) {
    ARROW_ASSIGN_OR_RAISE(auto all, HashSide::Make(init_.env, *init_.left_exchange,
                                                   init_.left->SlicesOfHash(hash), {hash, hash}));
    all_left_ = std::make_unique<HashSide>(std::move(all));
    BeginHot(hash);
    return Status::OK();
  }

  // Goes on until a block is full, a window has given its rows, or both sides are at their end.
  Status Pick(const OperatorContext& ctx) {
    while (!rows_.full(ctx.target_block_bytes)) {
      switch (state_) {
        case State::kLoading:
          ARROW_RETURN_NOT_OK(LoadWindow(ctx));
          break;
        case State::kTaking:
          ARROW_RETURN_NOT_OK(TakeWindow(ctx.pool.get()));
          break;
        case State::kWindow:
          if (!window_->Run(ctx.target_block_bytes)) return Status::OK();
          left_->EndWindow();
          right_->EndWindow();
          state_ = State::kLoading;
          // Rows that wait keep their frames.
          if (!rows_.empty()) return Status::OK();
          break;
        case State::kHot: {
          ARROW_ASSIGN_OR_RAISE(const bool done, hot_->Run(ctx.target_block_bytes, ctx));
          if (!done) return Status::OK();
          hot_.reset();
          left_->SkipPast(hash_);
          right_->SkipPast(hash_);
          state_ = State::kLoading;
          break;
        }
        case State::kPart: {
          ARROW_ASSIGN_OR_RAISE(const bool done, hot_->Run(ctx.target_block_bytes, ctx));
          if (!done) return Status::OK();
          hot_.reset();
          state_ = State::kLoading;
          break;
        }
        case State::kDone:
          return Status::OK();
      }
    }
    return Status::OK();
  }

  // Loads frames in the order of their first hashes. All rows before the first hash of the next frame are
  // then there: a window.
  Status LoadWindow(const OperatorContext& ctx) {
    arrow::MemoryPool* pool = ctx.pool.get();
    uint64_t low = 0, other = 0;
    const bool any_left = left_->LeastHash(&low), any_right = right_->LeastHash(&other);
    if (!any_left && !any_right && unended_part_ && !last_begun_ && unended_part_ != begun_part_) {
      last_begun_ = true;
      return BeginPart(*unended_part_);
    }
    if (!any_left && !any_right) {
      state_ = State::kDone;
      Count(ctx.counters);
      return Status::OK();
    }
    if (!any_left || (any_right && other < low)) low = other;
    // Of each run, one frame is there in part: its rows are behind the window.
    const int64_t enough_bytes = window_bytes_ + left_->fringe_bytes() + right_->fringe_bytes();
    hash_ = UINT64_MAX;
    while (true) {
      uint64_t first = 0, first_right = 0;
      const bool more_left = left_->NextFrame(&first), more_right = right_->NextFrame(&first_right);
      if (!more_left && !more_right) break;
      const bool take_right = !more_left || (more_right && first_right < first);
      if (take_right) first = first_right;
      const int64_t loaded = left_->loaded_bytes() + right_->loaded_bytes();
      if (first > low && loaded >= enough_bytes) {
        hash_ = first - 1;
        break;
      }
      if (first <= low && loaded >= enough_bytes) {
        BeginHot(low);
        return Status::OK();
      }
      const auto& side = take_right ? right_ : left_;
      side->ReadAhead(ahead_bytes_, pool);
      Status status = side->Load(pool);
      if (status.IsOutOfMemory() && first > low) {
        hash_ = first - 1;
        break;
      }
      if (status.IsOutOfMemory()) {
        left_->DropAhead();
        right_->DropAhead();
        status = side->Load(pool);
      }
      ARROW_RETURN_NOT_OK(status);
    }
    low_ = low;
    state_ = State::kTaking;
    return Status::OK();
  }

  Status TakeWindow(BudgetPool* pool) {
    while (true) {
      Status status = left_->ReserveWindow(hash_, pool);
      if (status.ok()) status = right_->ReserveWindow(hash_, pool);
      if (status.ok()) break;
      // A smaller window does.
      if (!status.IsOutOfMemory() || hash_ == low_) return status;
      hash_ = low_ + (hash_ - low_) / 2;
    }
    left_->TakeWindow(hash_);
    right_->TakeWindow(hash_);
    window_->Begin();
    state_ = State::kWindow;
    return Status::OK();
  }

  void BeginHot(uint64_t hash) {
    left_->Unload();
    right_->Unload();
    hash_ = hash;
    // Right rows without a match leave with the last left rows of their hash.
    JoinGives gives = gives_;
    if (hash == unended_) gives.lone_right = false;
    HashSide* all_left = hash == begun_ ? all_left_.get() : nullptr;
    hot_ = std::make_unique<HotJoin>(gives, left_.get(), right_.get(), all_left, hash, window_bytes_, &rows_);
    state_ = State::kHot;
  }

  // Once, when all rows have left.
  void Count(StepCounters* counters) const {
    if (counters == nullptr || !(begun_ || unended_ || begun_part_ || unended_part_)) return;
    counters->AddDetail("partitions_of_split_keys", 1);
    const bool left_goes_on = unended_ && unended_ != begun_;
    const bool right_goes_on = unended_part_ && unended_part_ != begun_part_;
    if (left_goes_on || right_goes_on) counters->AddDetail("split_keys", 1);
  }

  JoinSourceInit init_;
  JoinGives gives_;
  JoinRows rows_;
  int64_t window_bytes_;
  int64_t ahead_bytes_;  // of a side, that the disk reads meanwhile
  // Hashes that the partition has a part of: others began with one, and go on with one.
  std::optional<uint64_t> begun_, unended_;
  // The same of hashes whose right rows are shared out; both sides are without them.
  std::optional<uint64_t> begun_part_, unended_part_;
  bool last_begun_ = false;  // unended_part_, behind all windows
  bool opened_ = false;
  std::unique_ptr<RunGroups> left_groups_, right_groups_;
  std::vector<RunSlice> left_slices_, right_slices_;
  std::unique_ptr<HashSide> left_, right_;
  std::unique_ptr<HashSide> all_left_;          // of the hash that ends here, where its right rows need them
  std::unique_ptr<HashSide> all_right_, part_;  // of a hash whose right rows are shared out
  std::unique_ptr<WindowJoin> window_;
  std::unique_ptr<HotJoin> hot_;
  State state_ = State::kLoading;
  uint64_t low_ = 0;   // the first of the window
  uint64_t hash_ = 0;  // the last of the window; the one that is hot
};

}  // namespace

Result<std::unique_ptr<Source>> MakeJoinSource(JoinSourceInit init) {
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinFromJson(init.source->reduce));
  const auto& left = *init.left_exchange;
  const auto& right = *init.right_exchange;
  ARROW_ASSIGN_OR_RAISE(auto rows, JoinRows::Make(join, {left.key_names(), right.key_names()}, *left.schema,
                                                  *right.schema, init.source->schema));
  return std::make_unique<JoinSource>(std::move(init), JoinGives(join), std::move(rows));
}

}  // namespace partita
