#include "partita/exchange/join_source.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/exchange/hash_side.h"
#include "partita/exchange/run_groups.h"
#include "partita/exchange/sorted_sink.h"

namespace partita {
namespace {

constexpr int64_t kMaxWindowBytes = 8 << 20;  // larger ones leave the caches
constexpr int64_t kMinWindowBytes = 256 << 10;
constexpr size_t kMaxRuns = 256;  // of a side; each has a frame in memory

struct How {
  explicit How(const Join& join)
      : pairs(!join.gives_left_only()),
        lone_left(join.may_lack_right() || join.how == JoinHow::kAnti),
        lone_right(join.may_lack_left()),
        semi(join.how == JoinHow::kSemi) {}
  bool pairs;       // left rows with each right row that matches
  bool lone_left;   // left rows without one
  bool lone_right;  // right rows without one
  bool semi;        // left rows that have one, once
};

// The rows of a window, both sides in the order of their hashes.
class WindowJoin {
 public:
  WindowJoin(How how, HashSide* left, HashSide* right, JoinRows* rows)
      : how_(how), left_(left), right_(right), rows_(rows) {}

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
            if (how_.lone_left) AddLeft(lefts[l_]);
            ++l_;
          } else if (l_ == lefts.size() || rights[r_].hash < lefts[l_].hash) {
            if (how_.lone_right) AddRight(rights[r_]);
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

  void AddLeft(const HashItem& item) { rows_->AddLeft(left_->frame(item), item.row); }
  void AddRight(const HashItem& item) { rows_->AddRight(right_->frame(item), item.row); }

  // The right rows of one hash: [r_, group_end_).
  void BeginGroup() {
    const auto& rights = right_->items();
    group_end_ = r_;
    while (group_end_ < rights.size() && rights[group_end_].hash == rights[r_].hash) ++group_end_;
    if (how_.lone_right) matched_.assign(group_end_ - r_, false);
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
        if (how_.pairs) {
          if (rows_->full(target_bytes)) return;  // goes on here with the next block
          rows_->AddPair(frame, item.row, other_frame, other.row);
        }
        found_ = true;
        if (how_.lone_right) matched_[next_ - r_] = true;
        if (!how_.pairs) break;
      }
    }
    if (found_ ? how_.semi : how_.lone_left) AddLeft(item);
    ++l_;
    next_ = r_;
    found_ = false;
  }

  // Right rows of the group that no left row matched; at most one block's at once.
  void AddRest() {
    for (size_t added = 0; how_.lone_right && next_ < group_end_; ++next_) {
      if (matched_[next_ - r_]) continue;
      if (++added > JoinRows::kMaxRows / 8) return;
      AddRight(right_->items()[next_]);
    }
    r_ = group_end_;
    phase_ = Phase::kAlign;
  }

  How how_;
  HashSide* left_;
  HashSide* right_;
  JoinRows* rows_;
  Phase phase_ = Phase::kAlign;
  size_t l_ = 0, r_ = 0;  // in the items of both sides; r_ stays at the group's begin
  size_t group_end_ = 0, next_ = 0;
  std::vector<bool> matched_;  // of the group's right rows
  bool found_ = false;         // the current left row has a match
};

// The rows of one hash that has more of them than a window holds: the right ones are read again for each left
// row that has partners. That costs no more than to write the pairs.
class HotJoin {
 public:
  HotJoin(How how, HashSide* left, HashSide* right, uint64_t hash, int64_t keep_bytes, JoinRows* rows)
      : how_(how), left_(left, hash, 0), right_(right, hash, keep_bytes), rows_(rows) {}

  // True: at its end. After a refusal it is called again.
  Result<bool> Run(int64_t target_bytes, const OperatorContext& ctx) {
    arrow::MemoryPool* pool = ctx.pool.get();
    while (!rows_->full(target_bytes)) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      if (resting_) {
        ARROW_ASSIGN_OR_RAISE(const bool done, AddRest(target_bytes, pool));
        if (done) return true;
        continue;
      }
      if (!now_.frame || row_ == now_.end) {
        ARROW_ASSIGN_OR_RAISE(now_, left_.Next(pool));
        row_ = now_.begin;
        if (!now_.frame) {
          right_.Rewind();
          other_ = {};
          resting_ = true;
          continue;
        }
      }
      ARROW_ASSIGN_OR_RAISE(const bool done, MatchLeftRow(target_bytes, pool));
      if (!done) return false;
      if (found_) Remember();
      if (found_ ? how_.semi : how_.lone_left) rows_->AddLeft(now_.frame, row_);
      ++row_;
      right_.Rewind();
      other_ = {};
      found_ = false;
    }
    return false;
  }

 private:
  // False: the block is full.
  Result<bool> MatchLeftRow(int64_t target_bytes, arrow::MemoryPool* pool) {
    if (now_.frame->keys.HasNull(row_)) return true;
    while (true) {
      if (!other_.frame || other_row_ == other_.end) {
        ARROW_ASSIGN_OR_RAISE(other_, right_.Next(pool));
        other_row_ = other_.begin;
        if (!other_.frame) return true;
      }
      for (; other_row_ < other_.end; ++other_row_) {
        if (other_.frame->keys.HasNull(other_row_) ||
            !KeysMatch(now_.frame->keys, row_, other_.frame->keys, other_row_)) {
          continue;
        }
        if (how_.pairs) {
          if (rows_->full(target_bytes)) return false;
          rows_->AddPair(now_.frame, row_, other_.frame, other_row_);
        }
        found_ = true;
        if (!how_.pairs) return true;
      }
    }
  }

  // Of the left rows with a match, one of each key: few keys have one hash.
  void Remember() {
    if (!how_.lone_right) return;
    for (const auto& [frame, row] : keys_) {
      if (KeysMatch(frame->keys, row, now_.frame->keys, row_)) return;
    }
    keys_.emplace_back(now_.frame, row_);
  }

  // Right rows that no left row matched.
  Result<bool> AddRest(int64_t target_bytes, arrow::MemoryPool* pool) {
    while (how_.lone_right) {
      if (!other_.frame || other_row_ == other_.end) {
        ARROW_ASSIGN_OR_RAISE(other_, right_.Next(pool));
        other_row_ = other_.begin;
        if (!other_.frame) break;
      }
      for (; other_row_ < other_.end; ++other_row_) {
        if (rows_->full(target_bytes)) return false;
        const auto& keys = other_.frame->keys;
        const bool matched =
            !keys.HasNull(other_row_) && std::any_of(keys_.begin(), keys_.end(), [&](const auto& key) {
              return KeysMatch(key.first->keys, key.second, keys, other_row_);
            });
        if (!matched) rows_->AddRight(other_.frame, other_row_);
      }
    }
    return true;
  }

  How how_;
  HashStream left_, right_;
  JoinRows* rows_;
  HashStream::Range now_, other_;  // of the left row and the right one
  int64_t row_ = 0, other_row_ = 0;
  bool found_ = false, resting_ = false;
  std::vector<std::pair<HashFramePtr, int64_t>> keys_;
};

class JoinSource final : public Source {
 public:
  JoinSource(JoinSourceInit init, How how, JoinRows rows)
      : init_(std::move(init)),
        how_(how),
        rows_(std::move(rows)),
        window_bytes_(std::clamp(init_.hold_bytes / 4, kMinWindowBytes, kMaxWindowBytes)),
        ahead_bytes_(window_bytes_ / 4) {}

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
  enum class State { kLoading, kTaking, kWindow, kHot, kDone };

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
    return HashSide::Make(init_.env, exchange, *slices);
  }

  Status Open(const OperatorContext& ctx) {
    ARROW_ASSIGN_OR_RAISE(
        auto left, SideOf(*init_.left_exchange, *init_.left, "-left", &left_groups_, &left_slices_, ctx));
    ARROW_ASSIGN_OR_RAISE(auto right, SideOf(*init_.right_exchange, *init_.right, "-right", &right_groups_,
                                             &right_slices_, ctx));
    left_ = std::make_unique<HashSide>(std::move(left));
    right_ = std::make_unique<HashSide>(std::move(right));
    window_ = std::make_unique<WindowJoin>(how_, left_.get(), right_.get(), &rows_);
    opened_ = true;
    return Status::OK();
  }

  // Goes on until a block is full, a window has given its rows, or both sides are at their end.
  Status Pick(const OperatorContext& ctx) {
    while (!rows_.full(ctx.target_block_bytes)) {
      switch (state_) {
        case State::kLoading:
          ARROW_RETURN_NOT_OK(LoadWindow(ctx.pool.get()));
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
        case State::kDone:
          return Status::OK();
      }
    }
    return Status::OK();
  }

  // Loads frames in the order of their first hashes. All rows before the first hash of the next frame are
  // then there: a window.
  Status LoadWindow(arrow::MemoryPool* pool) {
    uint64_t low = 0, other = 0;
    const bool any_left = left_->LeastHash(&low), any_right = right_->LeastHash(&other);
    if (!any_left && !any_right) {
      state_ = State::kDone;
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
    hot_ = std::make_unique<HotJoin>(how_, left_.get(), right_.get(), hash, window_bytes_, &rows_);
    state_ = State::kHot;
  }

  JoinSourceInit init_;
  How how_;
  JoinRows rows_;
  int64_t window_bytes_;
  int64_t ahead_bytes_;  // of a side, that the disk reads meanwhile
  bool opened_ = false;
  std::unique_ptr<RunGroups> left_groups_, right_groups_;
  std::vector<RunSlice> left_slices_, right_slices_;
  std::unique_ptr<HashSide> left_, right_;
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
  return std::make_unique<JoinSource>(std::move(init), How(join), std::move(rows));
}

}  // namespace partita
