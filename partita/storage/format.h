// Formats: bytes <-> record batches. A format is found by name; it inspects files, says how they may be split, reads
// fragments in bounded pieces, and writes files. Implementations: parquet.cc csv.cc jsonl.cc text.cc files.cc webdataset.cc …
//
// Bounded: a reader holds at most a small multiple of `target_block_bytes` (one value is the floor: a single fat value needs its own
// bytes), whatever the file's row groups, lines or members are; memory comes from `pool` alone. Sizes and offsets found in files
// are checked before they are believed; a bad file is a data error with file and row.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/expression/expression.h"
#include "partita/storage/file_system.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

class BudgetPool;

// What is known of one file after looking at its metadata (or its first bytes).
struct FileInfo {
  std::shared_ptr<arrow::Schema> schema;
  int64_t num_rows = -1;  // -1: unknown without reading
  struct Unit {           // a part that can be read alone: a Parquet row group
    int64_t rows = 0;
    int64_t bytes = 0;  // logical or uncompressed size
  };
  std::vector<Unit> units;  // empty: the format splits by byte range or not at all
};

// A readable slice of one file, fixed by plan and snapshot.
struct Fragment {
  FileEntry file;
  enum class Range { kWhole, kUnits, kBytes, kRows } range = Range::kWhole;
  // [begin, end) in row groups, bytes or rows. A byte range owns the records that *begin* in it.
  int64_t begin = 0, end = 0;

  Json ToJson() const;
  static Result<Fragment> FromJson(const Json& value);
};

struct ReadRequest {
  Fragment fragment;
  std::shared_ptr<arrow::Schema> schema;  // the columns to return, in this order: a projection of the source's schema
  // Columns that may come as dictionaries of their type, batch by batch as it pays. Others never do, unless it is their type.
  std::vector<std::string> may_encode;
  Expression filter;                      // optional hint: units that cannot match may be skipped; rows are NOT filtered
  const Json* args = nullptr;             // the step's validated arguments ({"delimiter": ";"})
  Env* env = nullptr;
  std::shared_ptr<BudgetPool> pool;
  CancelToken cancel;
  int64_t target_block_bytes = 4 << 20;
  int64_t max_rows = INT64_MAX;  // no caller wants more rows than this (limit): stop early
};

struct ReadBatch {
  std::shared_ptr<arrow::RecordBatch> batch;
  // Ordinal of the first row in the fragment, counted as if nothing had been skipped (so positions do not depend on pruning).
  int64_t first_row = 0;
};

class FragmentReader {
 public:
  virtual ~FragmentReader() = default;
  // The next rows, or nullopt at the end. Batches are non-empty and about target_block_bytes. Refused memory is an OutOfMemory
  // status after which Next may be called again: no row is lost.
  virtual Result<std::optional<ReadBatch>> Next() = 0;
  virtual int64_t bytes_read() const = 0;  // from storage, so far
};

struct WriteRequest {
  std::shared_ptr<arrow::Schema> schema;
  const Json* args = nullptr;  // the sink step's validated arguments
  std::shared_ptr<BudgetPool> pool;
  CancelToken cancel;
  Env* env = nullptr;
  std::string spill_dir;          // where rows may be staged when memory is short; created when needed
  int64_t first_row_key = 0;      // WebDataset: ordinal of the file's first row in the partition's output
  int64_t partition = 0;          // WebDataset: keys are <partition:05d><row:06d> unless a key column is named
};

// Writes one file. Output bytes depend only on rows, schema and args: row groups and pages are cut by rows and logical bytes.
class FileWriter {
 public:
  virtual ~FileWriter() = default;
  // Refused memory: OutOfMemory, nothing of `batch` was taken; may be called again (with a smaller slice).
  virtual Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) = 0;
  // Completes the file's bytes in the stream; does not close the stream.
  virtual Status Finish() = 0;
};

class Format {
 public:
  virtual ~Format() = default;
  virtual std::string_view name() const = 0;  // "parquet"
  virtual std::string_view extension() const = 0;  // ".parquet": of files it writes
  virtual std::vector<std::string> extensions() const = 0;  // that a folder is searched for; empty: all files

  // Schema and units of one file. Reads metadata or a bounded prefix only.
  virtual Result<FileInfo> Inspect(Env* env, const FileEntry& file, const Json& args, arrow::MemoryPool* pool) const = 0;
  // Cuts a file in fragments of about target_bytes, by `info` (may be null if the file is smaller than target_bytes). Pure.
  virtual Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo* info, const Json& args,
                                              int64_t target_bytes) const = 0;
  virtual Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const = 0;
  // NotImplemented (user error) for formats that are read only.
  virtual Result<std::unique_ptr<FileWriter>> OpenWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                         WriteRequest request) const;
  // The least bytes a reader / writer needs to make progress on rows of ordinary size.
  virtual int64_t least_read_bytes() const { return 2 << 20; }
  virtual int64_t least_write_bytes() const { return 4 << 20; }
};

// Built-in formats: parquet csv jsonl text files webdataset. Null when unknown.
const Format* FindFormat(std::string_view name);
std::vector<const Format*> AllFormats();

}  // namespace partita
