// The rows of one hash that has more of them than a window holds, joined as streams: the right ones are read
// again for each left row that has partners. That costs no more than to write the pairs. One thread at a
// time.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "partita/exchange/hash_side.h"
#include "partita/operator/operator.h"
#include "partita/pipeline/join.h"
#include "partita/runs/join_rows.h"

namespace partita {

// What a join gives out.
struct JoinGives {
  explicit JoinGives(const Join& join)
      : pairs(!join.gives_left_only()),
        lone_left(join.may_lack_right() || join.how == JoinHow::kAnti),
        lone_right(join.may_lack_left()),
        semi(join.how == JoinHow::kSemi) {}
  bool pairs;       // left rows with each right row that matches
  bool lone_left;   // left rows without one
  bool lone_right;  // right rows without one
  bool semi;        // left rows that have one, once
};

// Where partitions share out the right rows of a hash: who begins it joins all its left rows but the last,
// and each the last one with its own part of the right rows.
struct HotPart {
  HashSide* right = nullptr;  // of the part; null: nothing is shared out
  bool begins = false, ends = false;
};

class HotJoin {
 public:
  // `all_left`: where `left` has not all rows of the hash, but right rows without a match are wanted; else
  // null.
  HotJoin(JoinGives gives, HashSide* left, HashSide* right, HashSide* all_left, uint64_t hash,
          int64_t keep_bytes, JoinRows* rows, HotPart part = {});
  // True: at its end. After a refusal it is called again.
  Result<bool> Run(int64_t target_bytes, const OperatorContext& ctx);

 private:
  Status ReadLeft(arrow::MemoryPool* pool);
  Result<bool> IsLast(arrow::MemoryPool* pool);
  Result<bool> MatchLeftRow(HashStream* right, int64_t target_bytes, arrow::MemoryPool* pool);
  Result<bool> MatchesAny(arrow::MemoryPool* pool);
  bool IsKnown(const MatchKeys& keys, int64_t row) const;
  void Remember();
  Result<bool> IsMatched(const MatchKeys& keys, int64_t row, const OperatorContext& ctx);
  Result<bool> AddRest(int64_t target_bytes, const OperatorContext& ctx);

  JoinGives gives_;
  HashStream left_, right_;
  JoinRows* rows_;
  const bool begins_, ends_;               // of what is shared out
  std::optional<HashStream> part_;         // what the last left row is joined with; none: as the others
  HashStream::Range now_, other_;          // of the left row and the right one
  std::optional<HashStream::Range> next_;  // behind now_, where it is known
  int64_t row_ = 0, other_row_ = 0;
  bool found_ = false, resting_ = false;
  std::vector<std::pair<HashFramePtr, int64_t>> keys_;  // of left rows, each once
  std::optional<HashStream> unseen_;                    // all left rows, as far as they were not looked at
  HashStream::Range seen_;
  int64_t seen_row_ = 0;
};

}  // namespace partita
