// The plan: the compiled, frozen pipeline. Data only; portable JSON; hashed. Says what is computed, never
// how.
//
// A stage is a tree: one source, transforms below it, outputs at its nodes. A task is one stage on one
// partition; all outputs of a task become visible together or not at all, so a row that several sinks take is
// computed once. A union needs no operator: a sink (or exchange) simply has several inputs, and its
// partitions are numbered input by input.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json.h"
#include "partita/pipeline/pipeline.h"

namespace arrow {
class Schema;
}

namespace partita {

inline constexpr int kPlanVersion = 2;  // 2: sorted exchanges, tables

// Counts that a plan may state; more is a mistake or hostile.
inline constexpr int64_t kMaxExchangePartitions = 1'000'000;

struct PlanSource {
  enum class Kind { kScan, kExchange } kind = Kind::kScan;
  // Scan: a source step on its snapshot.
  std::string step;            // the user's name; finds the SourceSnapshot
  std::string op;              // "read_parquet"
  std::string format;          // "parquet"
  Json args = Json::object();  // normalised
  Json filter;                 // expression JSON or null: a hint, units that cannot match are skipped
  // Exchange: the index in Plan::exchanges.
  int exchange = -1;
  // A join: the index of the exchange of its right side, `exchange` being the left one; else -1. Both are of
  // kind hash, with as many keys of the same types and the same cuts; of a zip both are of kind rebalance.
  // Nobody else reads them. Their number of partitions, where it follows from bytes, is that of the rows of
  // both.
  int right_exchange = -1;
  // Exchange of kind hash: what is done to rows as they leave, equal keys standing together. null, or
  //   {"op": "distinct", "keep": "first" | "last" | "none"}
  //       one row of equal keys; none: keys that stand more than once are left out
  //   {"op": "aggregate", "aggregates": [...]}
  //       one row of equal keys: the keys, then results (AggregatesFromJson, pipeline/aggregate.h)
  //   {"op": "rows", "limit": 3, "numbers": [["index", 0]]}
  //       rows of each group, numbered, the first ones (GroupRowsFromJson, pipeline/group_steps.h)
  //   {"op": "join", "how": ..., "columns": [...]}
  //       rows of both sides with equal keys (JoinFromJson, pipeline/join.h)
  Json reduce;
  std::shared_ptr<arrow::Schema> schema;  // the columns that are read, after projection pushdown
  int64_t limit = -1;                     // rows needed from each partition at most; -1: all
  OnError on_error = OnError::kFail;      // of rows that the source cannot parse
};

struct PlanNode {
  int input = -1;  // index of a node of this stage; -1: the stage's source
  std::string step;
  std::string op;
  std::string version;
  Json args = Json::object();  // normalised
  std::shared_ptr<arrow::Schema> output;
  OnError on_error = OnError::kFail;
  // A broadcast join (op "join"): the index of the exchange that holds its right side, of kind gather; else
  // -1. All its rows are in memory while the stage runs. Its args are those of operator/probe.h.
  int table = -1;
};

struct PlanOutput {
  enum class Kind { kSink, kExchange } kind = Kind::kSink;
  int node = -1;    // whose rows; -1: the source's
  int target = -1;  // index in Plan::sinks or Plan::exchanges
  // Which of the target's inputs this is: rows of input k come before those of input k + 1.
  int input_index = 0;
  int64_t limit = -1;  // rows taken from each partition at most
};

struct PlanStage {
  PlanSource source;
  std::vector<PlanNode> nodes;  // inputs before users
  std::vector<PlanOutput> outputs;
  bool is_volatile = false;  // a node's step is volatile

  // Whether it reads `exchange`: as its source, as the right side of its source, or as a node's table.
  bool Reads(int exchange) const;
};

struct PlanSink {
  std::string step;
  std::string op;              // "write_parquet"; "collect" hands blocks to the caller
  std::string format;          // "parquet"; "" for collect
  Json args = Json::object();  // normalised; args["path"] is the dataset's folder
  std::shared_ptr<arrow::Schema> schema;
  int inputs = 1;
  int64_t limit = -1;  // collect: rows in partition order, then the run stops early
};

struct PlanOrderKey {
  std::string column;
  bool descending = false;
  bool nulls_first = false;  // whatever the direction
  bool operator==(const PlanOrderKey&) const = default;
};

struct PlanExchange {
  // gather:    one partition of all input rows in the order of their positions (input, partition, ordinal).
  // rebalance: the same order, cut every rows_per_partition rows (the last is short), or in so many pieces
  //            as `partitions` or partition_bytes say: piece i begins at row i * rows / pieces.
  // sort:      all rows in the order of `keys`, ties by row position. Partitions are ranges of that order of
  //            about equal rows, cut at (key, position), so that a hot key splits.
  // shuffle:   all rows in the order of a keyed hash of (seed, row position). Partitions are equal ranges of
  //            the hash.
  // hash:      rows with equal `keys` share a partition, in it in the order (hash of keys, row position).
  //            Partitions are equal ranges of the hash. With `order`: in the order (hash, `order`, position).
  //            Of a join (not as-of) they are ranges of the order of joined rows: a frequent key splits.
  // `schema` always holds the key columns, also when no later step reads them.
  enum class Kind { kGather, kRebalance, kSort, kShuffle, kHash } kind = Kind::kGather;
  std::string step;  // the step that asked for it ("limit", "write_webdataset")
  std::shared_ptr<arrow::Schema> schema;
  int inputs = 1;
  // Rows in all; -1: all. Of gather and rebalance: the first rows of the first inputs, so that later inputs
  // need not be made. Of sort and shuffle (then partitions = 1): the first rows of the order, so that all
  // inputs must be looked at.
  int64_t limit = -1;
  int64_t rows_per_partition = -1;  // rebalance
  std::vector<PlanOrderKey> keys;   // sort, hash (hash: only names, the flags are false)
  std::vector<PlanOrderKey> order;  // hash: of rows with equal keys, before their position
  uint64_t seed = 0;                // shuffle; below 2^63
  // Sort, shuffle, hash, and rebalance without rows_per_partition. -1: follows from partition_bytes once the
  // exchange is complete.
  int64_t partitions = -1;
  int64_t partition_bytes = -1;  // without either: logical bytes to aim at

  // Rows are sorted by something: key, random number or hash.
  bool is_sorted() const { return kind != Kind::kGather && kind != Kind::kRebalance; }
  // Once the first inputs have so many rows, the others are not needed.
  bool has_prefix_limit() const { return limit >= 0 && !is_sorted(); }
  std::vector<std::string> key_names() const;
};
std::string_view ExchangeKindName(PlanExchange::Kind kind);  // "gather", "sort", ...

struct Plan {
  int version = kPlanVersion;
  std::string name;
  std::vector<PlanStage> stages;  // a stage that reads an exchange comes after the stages that write it
  std::vector<PlanSink> sinks;
  std::vector<PlanExchange> exchanges;
  std::string quarantine;  // folder of the quarantine dataset; "" when no step quarantines

  Json ToJson() const;
  static Result<Plan> FromJson(const Json& value);  // checks indices, references and schema of hostile input
  std::string Hash() const;                         // SHA-256 of the canonical JSON
};

}  // namespace partita
