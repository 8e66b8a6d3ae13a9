// The line of an epoch: all rows of a list of chunks in an order that is computed, never replayed. Pure.
//
//   none    chunks in their order
//   local   chunks in the order of a keyed hash of (seed, epoch, chunk); rows permuted in each chunk
//   global  chunks in that order, cut into windows of consecutive chunks; rows permuted in each window; the
//   first
//           windows are small, so that the first batch comes soon
//
// Windows are cut by rows and logical bytes that belong to the definition: never by the budget. What follows
// from the number of ranks and workers is the caller's business: it asks for intervals of the line.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/error.h"
#include "partita/operator/window_scan.h"

namespace partita {

enum class EpochShuffle { kNone, kLocal, kGlobal };
Result<EpochShuffle> ParseEpochShuffle(std::string_view name);

struct EpochOrder {
  uint64_t seed = 0;
  int64_t epoch = 0;
  EpochShuffle shuffle = EpochShuffle::kGlobal;
  // A window takes the next chunk as long as it keeps below both; the first chunk always fits.
  int64_t window_rows = 1 << 20;
  int64_t window_bytes = 128 << 20;
};

struct RowInterval {
  int64_t begin = 0, end = 0;
};

// What to read, in order, for rows [begin, end) of the line, interval after interval. A user error where an
// interval is not part of the line.
Result<std::vector<WindowRead>> ReadsOf(const std::vector<Chunk>& chunks, const EpochOrder& order,
                                        const std::vector<RowInterval>& intervals);

}  // namespace partita
