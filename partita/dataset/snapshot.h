// The snapshot: what the sources were when the pipeline was compiled. Gathered before compile, given to it as a value, hashed beside the
// plan. Plan + snapshot fix every output byte.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/storage/format.h"

namespace partita {

struct SourceFile {
  FileEntry entry;
  // Known when the file was inspected: the first file of a source, and files that are cut in several partitions.
  bool inspected = false;
  int64_t num_rows = -1;
  std::vector<FileInfo::Unit> units;
};

struct SourceSnapshot {
  std::string step;    // the source step's name
  std::string format;  // "parquet"; "range" has no files; those of "memory" are blocks that lie elsewhere
  std::shared_ptr<arrow::Schema> schema;  // all columns, Hive columns last
  std::vector<std::string> partition_columns;  // Hive columns, part of schema
  std::vector<SourceFile> files;
  int64_t num_rows = -1;  // of "range" and "memory"
  std::string digest;     // content of an in-memory source; "" else
};

struct Snapshot {
  std::vector<SourceSnapshot> sources;

  Json ToJson() const;
  static Result<Snapshot> FromJson(const Json& value);
  std::string Hash() const;  // SHA-256 of the canonical JSON
  const SourceSnapshot* Find(std::string_view step) const;
};

}  // namespace partita
