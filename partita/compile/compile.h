// (pipeline, snapshot) -> plan, in named passes. Pure: no file, thread, clock or random number.
//
//   sources     which snapshots the pipeline needs                    SourcesOf
//   bind        arguments, columns and types of every step            StepSchemas
//   stages      paths from sources to sinks become stage trees
//   prune       columns, filters and limits pushed to the sources
//   partitions  plan + snapshot -> partitions of a scan stage         ScanPartitions
//
// What it does and why is in docs/plan.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "partita/base/error.h"
#include "partita/dataset/snapshot.h"
#include "partita/pipeline/pipeline.h"
#include "partita/plan/plan.h"

namespace partita {

// What session/ must look at before compiling: one request a source step.
struct SourceRequest {
  std::string step;
  std::string op;
  std::string format;                  // "parquet", "range", "memory"
  std::vector<std::string> locations;  // args["path"]
  Json args;                           // normalised
  // A file larger than this is cut in several partitions, so its units must be inspected; smaller ones need
  // not be opened.
  int64_t split_bytes = 0;
};
Result<std::vector<SourceRequest>> SourcesOf(const Pipeline& pipeline);

Result<Plan> Compile(const Pipeline& pipeline, const Snapshot& snapshot);

// The output schema of each step, in pipeline order ("sinks" have their input's).
Result<std::vector<std::shared_ptr<arrow::Schema>>> StepSchemas(const Pipeline& pipeline,
                                                                const Snapshot& snapshot);

// One partition of a scan stage: fragments read in order. Fixed by plan and snapshot.
struct Partition {
  int64_t index = 0;
  std::vector<Fragment> fragments;   // sources with files
  int64_t first_row = 0, rows = -1;  // "range" and "memory" sources
};
Result<std::vector<Partition>> ScanPartitions(const Plan& plan, int stage, const Snapshot& snapshot);

// The least budget a plan can run in: source + widest path of one task + its sinks, from the steps' specs and
// formats.
int64_t LeastBudgetBytes(const Plan& plan);

// What `explain` prints: steps, stages, pushed columns and filters, partitions, outputs, exchanges, least
// budget.
Result<std::string> Explain(const Plan& plan, const Snapshot& snapshot);

}  // namespace partita
