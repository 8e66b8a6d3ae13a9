#include "partita/exchange/hot_join.h"

#include <algorithm>

namespace partita {

HotJoin::HotJoin(JoinGives gives, HashSide* left, HashSide* right, HashSide* all_left, uint64_t hash,
                 int64_t keep_bytes, JoinRows* rows, HotPart part)
    : gives_(gives),
      left_(left, hash, 0),
      right_(right, hash, keep_bytes),
      rows_(rows),
      begins_(part.begins),
      ends_(part.ends) {
  if (all_left != nullptr) unseen_.emplace(all_left, hash, 0);
  if (part.right != nullptr) part_.emplace(part.right, hash, 0);
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
      ARROW_RETURN_NOT_OK(ReadLeft(pool));
      if (!now_.frame) {
        right_.Rewind();
        other_ = {};
        resting_ = true;
        continue;
      }
    }
    ARROW_ASSIGN_OR_RAISE(const bool last, IsLast(pool));
    if (part_ && !last && !begins_) {
      ++row_;
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const bool done, MatchLeftRow(last ? &*part_ : &right_, target_bytes, pool));
    if (!done) return false;
    const bool is_whole = !last || ends_;
    if (last && ends_ && gives_.lone_left && !found_) {
      ARROW_ASSIGN_OR_RAISE(found_, MatchesAny(pool));
    }
    if (found_) Remember();
    if (is_whole && (found_ ? gives_.semi : gives_.lone_left)) rows_->AddLeft(now_.frame, row_);
    ++row_;
    right_.Rewind();
    other_ = {};
    found_ = false;
  }
  return false;
}

// The next left rows.
Status HotJoin::ReadLeft(arrow::MemoryPool* pool) {
  if (next_) {
    now_ = std::move(*next_);
    next_.reset();
  } else {
    ARROW_ASSIGN_OR_RAISE(now_, left_.Next(pool));
  }
  row_ = now_.begin;
  return Status::OK();
}

// Is the current left row the last one, and the right rows shared out?
Result<bool> HotJoin::IsLast(arrow::MemoryPool* pool) {
  if (!part_ || row_ + 1 < now_.end) return false;
  if (!next_) {
    ARROW_ASSIGN_OR_RAISE(next_, left_.Next(pool));
  }
  return !next_->frame;
}

// Has the last left row a partner among the right rows of other partitions? As a rule each of them is one.
Result<bool> HotJoin::MatchesAny(arrow::MemoryPool* pool) {
  if (now_.frame->keys.HasNull(row_)) return false;
  while (true) {
    ARROW_ASSIGN_OR_RAISE(const auto range, right_.Next(pool));
    if (!range.frame) return false;
    for (int64_t row = range.begin; row < range.end; ++row) {
      const auto& keys = range.frame->keys;
      if (!keys.HasNull(row) && KeysMatch(now_.frame->keys, row_, keys, row)) return true;
    }
  }
}

// False: the block is full.
Result<bool> HotJoin::MatchLeftRow(HashStream* right, int64_t target_bytes, arrow::MemoryPool* pool) {
  if (now_.frame->keys.HasNull(row_)) return true;
  while (true) {
    if (!other_.frame || other_row_ == other_.end) {
      ARROW_ASSIGN_OR_RAISE(other_, right->Next(pool));
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
