// Arguments of the steps that run a Python function: map_batches, map, flat_map, filter_rows, map_groups.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

enum class FunctionKind { kMapBatches, kMap, kFlatMap, kFilterRows, kMapGroups };

struct FunctionArgs {
  std::string fn;                         // "package.module:name" or a payload's name
  std::shared_ptr<arrow::Schema> schema;  // of the output; null: the input's (filter_rows)
  int64_t batch_rows = 1024;              // INT64_MAX: no limit
  int64_t batch_bytes = 0;                // logical bytes of a batch; 0: rows count
  std::vector<std::string> by;            // map_groups: the key columns
  std::string batch_format;
  bool per_row = false;  // the function gives exactly a row for each row, in order
  enum class Compute { kProcesses, kThreads, kInline } compute = Compute::kProcesses;
  int64_t max_workers = 0;  // 0: as many as the run has threads
  int64_t min_workers = 0;
  int64_t memory_bytes = 0;
  double cpus = 1, gpus = 0;  // of a worker
  std::map<std::string, double> resources;
  bool deterministic = true;
  double timeout_s = 0;
  int64_t retries = 1;
};

Result<FunctionArgs> ParseFunctionArgs(FunctionKind kind, const Json& args);
std::string_view FunctionStepName(FunctionKind kind);
StepSpec FunctionSpec(FunctionKind kind);

}  // namespace partita
