#include "partita/exchange/hot_join.h"

#include <algorithm>

namespace partita {

HotJoin::HotJoin(JoinGives gives, HashSide* left, HashSide* right, HashSide* all_left, uint64_t hash,
                 int64_t keep_bytes, JoinRows* rows)
    : gives_(gives), left_(left, hash, 0), right_(right, hash, keep_bytes), rows_(rows) {
  if (all_left != nullptr) unseen_.emplace(all_left, hash, 0);
}

Result<bool> HotJoin::Run(int64_t target_bytes, const OperatorContext& ctx) {
  arrow::MemoryPool* pool = ctx.pool.get();
  while (!rows_->full(target_bytes)) {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    if (resting_) {
      ARROW_ASSIGN_OR_RAISE(const bool done, AddRest(target_bytes, ctx));
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
    if (found_ ? gives_.semi : gives_.lone_left) rows_->AddLeft(now_.frame, row_);
    ++row_;
    right_.Rewind();
    other_ = {};
    found_ = false;
  }
  return false;
}

// False: the block is full.
Result<bool> HotJoin::MatchLeftRow(int64_t target_bytes, arrow::MemoryPool* pool) {
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
      if (gives_.pairs) {
        if (rows_->full(target_bytes)) return false;
        rows_->AddPair(now_.frame, row_, other_.frame, other_row_);
      }
      found_ = true;
      if (!gives_.pairs) return true;
    }
  }
}

bool HotJoin::IsKnown(const MatchKeys& keys, int64_t row) const {
  return std::any_of(keys_.begin(), keys_.end(), [&](const auto& known) {
    return KeysMatch(known.first->keys, known.second, keys, row);
  });
}

// Of the left rows with a match, one of each key: few keys have one hash.
void HotJoin::Remember() {
  if (gives_.lone_right && !IsKnown(now_.frame->keys, row_)) keys_.emplace_back(now_.frame, row_);
}

// Has a left row this key? Those of other partitions are read as far as the answer needs.
Result<bool> HotJoin::IsMatched(const MatchKeys& keys, int64_t row, const OperatorContext& ctx) {
  if (keys.HasNull(row)) return false;
  if (IsKnown(keys, row)) return true;
  while (unseen_) {
    if (!seen_.frame || seen_row_ == seen_.end) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      ARROW_ASSIGN_OR_RAISE(seen_, unseen_->Next(ctx.pool.get()));
      seen_row_ = seen_.begin;
      if (!seen_.frame) unseen_.reset();
      continue;
    }
    const auto& others = seen_.frame->keys;
    const int64_t at = seen_row_++;
    if (others.HasNull(at) || IsKnown(others, at)) continue;
    keys_.emplace_back(seen_.frame, at);
    if (KeysMatch(others, at, keys, row)) return true;
  }
  return false;
}

// Right rows that no left row matched.
Result<bool> HotJoin::AddRest(int64_t target_bytes, const OperatorContext& ctx) {
  while (gives_.lone_right) {
    if (!other_.frame || other_row_ == other_.end) {
      ARROW_ASSIGN_OR_RAISE(other_, right_.Next(ctx.pool.get()));
      other_row_ = other_.begin;
      if (!other_.frame) break;
    }
    for (; other_row_ < other_.end; ++other_row_) {
      if (rows_->full(target_bytes)) return false;
      ARROW_ASSIGN_OR_RAISE(const bool matched, IsMatched(other_.frame->keys, other_row_, ctx));
      if (!matched) rows_->AddRight(other_.frame, other_row_);
    }
  }
  return true;
}

}  // namespace partita
