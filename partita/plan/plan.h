// The plan: the compiled, frozen pipeline. Data only; portable JSON; hashed. Says what is computed, never how.
//
// A stage is a tree: one source, transforms below it, outputs at its nodes. A task is one stage on one partition; all outputs of a task
// become visible together or not at all, so a row that several sinks take is computed once. A union needs no operator: a sink (or
// exchange) simply has several inputs, and its partitions are numbered input by input.
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

inline constexpr int kPlanVersion = 1;

struct PlanSource {
  enum class Kind { kScan, kExchange } kind = Kind::kScan;
  // Scan: a source step on its snapshot.
  std::string step;  // the user's name; finds the SourceSnapshot
  std::string op;    // "read_parquet"
  std::string format;  // "parquet"
  Json args = Json::object();  // normalised
  Json filter;                 // expression JSON or null: a hint, units that cannot match are skipped
  // Exchange: the index in Plan::exchanges.
  int exchange = -1;
  std::shared_ptr<arrow::Schema> schema;  // the columns that are read, after projection pushdown
  int64_t limit = -1;  // rows needed from each partition at most; -1: all
  OnError on_error = OnError::kFail;  // of rows that the source cannot parse
};

struct PlanNode {
  int input = -1;  // index of a node of this stage; -1: the stage's source
  std::string step;
  std::string op;
  std::string version;
  Json args = Json::object();  // normalised
  std::shared_ptr<arrow::Schema> output;
  OnError on_error = OnError::kFail;
};

struct PlanOutput {
  enum class Kind { kSink, kExchange } kind = Kind::kSink;
  int node = -1;         // whose rows; -1: the source's
  int target = -1;       // index in Plan::sinks or Plan::exchanges
  int input_index = 0;   // which of the target's inputs this is: rows of input k come before those of input k + 1
  int64_t limit = -1;    // rows taken from each partition at most
};

struct PlanStage {
  PlanSource source;
  std::vector<PlanNode> nodes;  // inputs before users
  std::vector<PlanOutput> outputs;
  bool is_volatile = false;  // a node's step is volatile
};

struct PlanSink {
  std::string step;
  std::string op;      // "write_parquet"; "collect" hands blocks to the caller
  std::string format;  // "parquet"; "" for collect
  Json args = Json::object();  // normalised; args["path"] is the dataset's folder
  std::shared_ptr<arrow::Schema> schema;
  int inputs = 1;
  int64_t limit = -1;  // collect: rows in partition order, then the run stops early
};

struct PlanExchange {
  // gather: one output partition, all input rows in (input, partition, ordinal) order.
  // rebalance: the same order, cut in partitions of exactly rows_per_partition rows (the last is short).
  enum class Kind { kGather, kRebalance } kind = Kind::kGather;
  std::string step;  // the step that asked for it ("limit", "write_webdataset")
  std::shared_ptr<arrow::Schema> schema;
  int inputs = 1;
  int64_t limit = -1;               // rows in all
  int64_t rows_per_partition = -1;  // rebalance
};

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
