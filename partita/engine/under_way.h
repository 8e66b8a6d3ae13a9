// Rows of tasks that have not ended, told now and then by workers, so that progress moves while a task runs.
// They are shown, never counted: once a task is committed its own report counts, and a run that ends has
// none.
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>

#include "partita/execute/task.h"
#include "partita/observe/observe.h"
#include "partita/plan/plan.h"

namespace partita {

// Of sources, nodes and sinks, by step. (Exchanges are no steps that count rows.)
struct StepRows {
  int64_t rows_in = 0, rows_out = 0;
};
using RowsBySteps = std::map<std::string, StepRows>;

// A worker's side. Not thread-safe.
class RowsUnderWay {
 public:
  // Both outlive it. `counted`: where the tasks of this process count their rows as they go.
  RowsUnderWay(const Plan* plan, const Observer* counted);
  // A task ended well: its rows are its report's to tell.
  void Ended(const TaskEnd& end);
  // [["step", rows in, rows out], …] as JSON, without steps that have none.
  std::string ToText() const;

 private:
  const Plan* plan_;
  const Observer* counted_;
  std::set<std::string> steps_;
  RowsBySteps ended_;
};

// The coordinator's side. Not thread-safe.
class RowsShown {
 public:
  // Both outlive it.
  RowsShown(const Plan* plan, Observer* observer) : plan_(plan), observer_(observer) {}
  // What all workers told, as a JSON list of their texts, instead of what was shown before.
  Status Show(std::string_view texts);
  // A report counts these rows now.
  void Ended(const TaskEnd& end);
  void Clear() { Set({}); }

 private:
  void Set(RowsBySteps rows);

  const Plan* plan_;
  Observer* observer_;
  RowsBySteps shown_;  // is in the observer's counters, and taken from them again
};

}  // namespace partita
