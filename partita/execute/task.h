// What a task is given and what it leaves. A task is one stage on one partition: a pure function to files
// that nobody sees until its commit. The local engine, `partita task` and cluster engines all run it through
// WorkerPool.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "partita/dataset/commit_log.h"
#include "partita/execute/stage_program.h"
#include "partita/operator/operator.h"
#include "partita/operator/scan.h"

namespace partita {

struct TaskInit {
  std::shared_ptr<const StageProgram> program;
  int64_t partition = 0;
  Partition scan;  // where rows come from, for error messages; empty for exchanges
  // Made by the worker that starts the task.
  std::function<Result<std::unique_ptr<Source>>()> make_source;
  std::function<Result<std::unique_ptr<Sink>>(int output)> make_sink;
  // For rows that step `node` quarantines; `schema` is the step's input schema with the error columns
  // (execute/quarantine.h).
  std::function<Result<std::unique_ptr<Sink>>(int node, std::shared_ptr<arrow::Schema> schema)>
      make_quarantine;
  bool frugal = false;  // one ticket at a time in small blocks: the second try of a task that did not fit
};

struct TaskOutput {
  int output = 0;  // as in CommittedOutput
  int64_t rows = 0;
  std::vector<OutputFile> files;
  int64_t bytes = 0;  // logical; of exchanges alone
};

struct TaskEnd {
  int stage = 0;
  int64_t partition = 0;
  Status status;           // not OK: nothing was made
  bool preempted = false;  // gave its memory back for an older task, or must start again frugally
  bool frugal_next = false;
  std::vector<TaskOutput> outputs;
  std::vector<StepTotals> steps;
};

}  // namespace partita
