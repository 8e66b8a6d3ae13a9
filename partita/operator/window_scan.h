// Window scan: the source that reads chunks in a given order and gives a part of their rows, in that order or
// in the order of a keyed hash of their places. The order is computed from the rows' number alone: it is the
// same whatever the budget, the blocks and the part that is asked for.
//
// A permuted window is in memory as a whole (from the pool; a refusal is passed up, and reading goes on where
// it stood); one in plain order is streamed.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "partita/operator/scan.h"

namespace partita {

// Rows that are read one after the other, whose number is known.
struct Chunk {
  Partition
      part;  // a single fragment; several only where each is one row ("files"); none: rows without files
  int64_t rows = 0;
  int64_t bytes = 0;  // logical or uncompressed, at least 1; of size on storage where a format cannot tell
};

struct WindowRead {
  std::vector<Chunk> chunks;
  bool permuted = false;
  uint64_t key = 0;    // of the hash
  int64_t window = 0;  // number of the window: part of what is hashed
  int64_t first = 0;   // the first row to give, in the window's order
  int64_t rows = 0;    // how many; first + rows is at most the sum of the chunks' rows
  // A permuted window ends its blocks where the taker ends its batches: at the multiples of `batch_rows` (0:
  // it does not say), counted from `batch_at` rows before the first row of the window.
  int64_t batch_rows = 0, batch_at = 0;
};

struct WindowScanInit {
  const PlanSource* source = nullptr;        // outlives the scan
  const SourceSnapshot* snapshot = nullptr;  // outlives the scan
  std::shared_ptr<const MemoryTable> table;  // format "memory"
  const WindowRead* window = nullptr;        // outlives the scan
};
Result<std::unique_ptr<Source>> MakeWindowScan(WindowScanInit init);

// The chunks of a window as one partition: what CoordinateOf finds file and row of an ordinal in.
Partition PartitionOf(const WindowRead& window, int64_t index);

}  // namespace partita
