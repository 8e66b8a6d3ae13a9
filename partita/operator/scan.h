// Scan: the source that reads one partition of files, adds Hive columns, and numbers rows.
// Range: the source that counts. Memory: the source that gives a caller's batches.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "partita/compile/compile.h"
#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

// A piece of rows that lie elsewhere: an object of a cluster's store, a partition on one of its workers.
struct RemoteBlock {
  int64_t rows = 0;
  int64_t size_bytes = 0;
};

// Batches that a caller handed to the run, by the `id` of its read step. Immutable; shared by all tasks.
struct MemoryTable {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  std::vector<int64_t> first_rows;  // of each batch, or of each block
  int64_t num_rows = 0;

  // Instead of `batches`: blocks whose rows are got when a task reads them. From any thread, also twice.
  using Fetch = std::function<Result<std::vector<std::shared_ptr<arrow::RecordBatch>>>(int64_t block)>;
  Fetch fetch;
  std::vector<RemoteBlock> blocks;
  // Whether what is got lies in memory of this process, and so in the budget; not: in a store of the
  // engine's.
  bool fetch_copies = true;
};

struct ScanInit {
  const PlanSource* source = nullptr;        // outlives the scan
  const SourceSnapshot* snapshot = nullptr;  // outlives the scan
  Partition partition;
  std::shared_ptr<const MemoryTable> table;  // format "memory"
  // Columns that may come as dictionaries of their type (storage/format.h): who reads them can do with both.
  std::vector<std::string> may_encode;
};
Result<std::unique_ptr<Source>> MakeScan(ScanInit init);

// The file and the row in it behind an ordinal of a scan's partition. Ordinals count fragment after fragment;
// a fragment's share is 2^40 rows, so that they do not depend on row counts nobody has read: ordinal =
// fragment << 40 | row in fragment.
inline constexpr int kOrdinalFragmentShift = 40;
struct SourceCoordinate {
  std::string file;
  int64_t row = -1;
};
SourceCoordinate CoordinateOf(const Partition& partition, int64_t ordinal);

}  // namespace partita
