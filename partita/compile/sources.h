// How a source is cut in partitions: fixed by the pipeline alone, never by the machine. Internal to the room.
#pragma once

#include <cstdint>
#include <string>

#include "partita/compile/graph.h"

namespace partita::compile {

inline constexpr int64_t kDefaultPartitionBytes = 128 << 20;

// The format that a source op reads: "read_parquet" -> "parquet", "range" -> "range", "from_memory" ->
// "memory".
std::string SourceFormatOf(const std::string& op);
// "range" and "memory" have rows, but no files.
bool HasFiles(const std::string& format);
// The number of rows of a file is in its metadata, so that it can be cut by rows without being read.
bool KnowsRows(const std::string& format);

// Finds the rule for source `step` and writes it into its args, where plan and request carry it on:
//   rows_per_partition  the source's own argument wins. Else, if steps after it wish for small partitions (a
//   download: a
//                       task that is lost should cost little), the smallest wish. But when a file of an
//                       (inexact) sink after it is asked to be longer than the wish, that length: files are
//                       cut within a partition, so smaller partitions would make them shorter than the user
//                       asked for.
//   partition_bytes     the source's own argument; default 128 MiB.
// Wishes and sinks behind a sample do not count either: which rows it keeps must not depend on what follows.
// Wishes and sinks behind an exchange (limit, sort, exact) do not count: there, rows change partition anyway.
Status ResolvePartitionRule(const Graph& graph, int step, Json* args);

// Formats that cannot say how many rows a file has (CSV, JSONL, text) are cut by bytes also when rows are
// wished: a row is taken to have so many bytes, that of a URL with a caption.
inline constexpr int64_t kAssumedRowBytes = 256;
inline constexpr int64_t kLeastPartitionBytes = 1 << 20;  // smaller ranges cost more to find than to read
// How large a piece of a file may be: partition_bytes after that rule; 0 when files are to be cut by rows.
int64_t SplitBytes(const std::string& format, const Json& args);

}  // namespace partita::compile
