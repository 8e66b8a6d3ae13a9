// Ingest: a pipeline whose rows can be skipped into. It reads stored data, and its steps give a row for each
// row; so the number of rows of every chunk is known without running it, and any interval of an epoch's line
// (session/epoch.h) can be streamed without what stands before it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/session/epoch.h"
#include "partita/session/session.h"

namespace partita {

inline constexpr int64_t kDefaultChunkBytes = 8 << 20;

// A value; as text it is what shards carry to other processes, and the index that saves counting again.
struct Ingest {
  CompiledPlan compiled;
  std::string listing;  // hash of what the sources were when they were listed
  int64_t chunk_bytes = kDefaultChunkBytes;
  std::vector<int64_t> chunk_rows;

  // Made of the above.
  std::vector<Chunk> chunks;
  int64_t num_rows = 0, num_bytes = 0;

  // Of chunks and sizes of files, not of places and times: states hold for a copy of the data elsewhere.
  std::string Digest() const;
  // A user error for rows in memory.
  Result<std::string> ToText() const;
  static Result<Ingest> FromText(std::string_view text);
};

// Chunks are row groups of Parquet (small ones together, large ones in pieces, about `chunk_bytes` each),
// rows of range and memory, and partitions of other sources. Where metadata do not tell the rows of a
// partition (tar shards, CSV, JSONL, text), the source is read once and counted, unless `index` (an earlier
// Ingest as text; may be empty) is of the same files.
//
// A user error, which says what to do, where a step may give other than one row for a row.
Result<Ingest> OpenIngest(Session* session, const Pipeline& pipeline, const std::string& step,
                          int64_t chunk_bytes, const std::string& index, const RunOptions& options,
                          RunControl control);

// The rows of `intervals` of the epoch's line, interval after interval. Tasks are windows. `batch_rows`: how
// many the caller will take at once, so that blocks end there where they can; 0: it does not say.
Result<std::unique_ptr<RowStream>> StreamLine(Session* session, const Ingest& ingest, const EpochOrder& order,
                                              const std::vector<RowInterval>& intervals, int64_t batch_rows,
                                              const RunOptions& options, RunControl control);

}  // namespace partita
