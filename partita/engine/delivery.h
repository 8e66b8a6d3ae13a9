// Rows that tasks hand over instead of writing files, where others execute a run whose rows its caller takes:
// a worker holds those of a task, inside its budget, until whoever runs the task there takes them.
//
// Thread-safety: all functions from any thread; sinks as ever.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <tuple>
#include <vector>

#include "partita/operator/operator.h"
#include "partita/schedule/scheduler.h"

namespace partita {

class Delivery : public std::enable_shared_from_this<Delivery> {
 public:
  using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;

  // Of one output of a task. What its Finish leaves replaces what an earlier run of the task left.
  std::unique_ptr<Sink> MakeSink(TaskId task, int output);
  // The rows of a task that ended well, out of the budget; once. Empty: there are none.
  Batches Take(TaskId task, int output);
  // Nobody takes the rows of this task.
  void Drop(TaskId task);

 private:
  friend class DeliverySink;
  std::mutex mutex_;
  std::map<std::pair<TaskId, int>, Batches> finished_;
};

}  // namespace partita
