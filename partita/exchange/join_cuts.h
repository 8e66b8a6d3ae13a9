// Where the partitions of a join begin. They are ranges of the order of its rows: hash of the key, then left
// position. Without frequent keys they are equal ranges of the hash. A key that alone is worth more than half
// of a partition counts for what it is, so that the others get fewer keys beside it; where it is worth
// several, it is split between its left rows, and each part is joined with all right rows of the key. A key
// that only the right side has often, while the left has a row or two of it, is split between its right rows.
//
// Pure: cuts follow from samples by hash of position and from logical bytes, so from the rows alone (law 1).
#pragma once

#include <cstdint>
#include <vector>

namespace partita {

struct JoinSample {
  struct Row {
    uint64_t hash = 0;      // of the key
    bool has_null = false;  // in the key: it matches nothing
  };
  int64_t rows = 0, bytes = 0;  // of the side, logical
  std::vector<Row> sampled;     // of its rows, by (hash, position)
};

struct JoinCut {
  uint64_t hash = 0;      // the partition begins before all rows of this hash, which is not 0,
  int64_t row = -1;       // or, not -1: before this row of the left sample, which has it;
  bool of_right = false;  // or of the right one: before its pair with the last left row of the hash
};

// Those between `partitions` partitions, in order. `gives_pairs`: what a left row is worth grows with the
// right rows that it is put together with.
std::vector<JoinCut> CutsOfJoin(const JoinSample& left, const JoinSample& right, bool gives_pairs,
                                int64_t partitions);

}  // namespace partita
