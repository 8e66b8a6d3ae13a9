// How the end of a task becomes a commit, and all commits the manifests: one for every engine. Whoever
// commits owns the run's folder (RunDirectory); where the task ran does not matter.
//
// Thread-safety: Commit from any thread; Manifests when no task runs.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "partita/compile/compile.h"
#include "partita/dataset/run_directory.h"
#include "partita/engine/exchange_store.h"
#include "partita/engine/node_path.h"
#include "partita/engine/task_report.h"
#include "partita/execute/task.h"
#include "partita/observe/observe.h"

namespace partita {

// Sinks' folders of a plan in RunDirectory's order: file sinks, then the quarantine. `dataset_of_sink[i]` is
// -1 for "collect".
struct PlanDatasets {
  std::vector<RunDirectory::Dataset> datasets;
  std::vector<int> dataset_of_sink;
  int quarantine = -1;
};
PlanDatasets DatasetsOf(const Plan& plan);

// The number of an output's partition in its dataset: input k's partitions follow those of input k - 1.
inline constexpr int64_t kPartitionsPerInput = 1000000;
inline int64_t DatasetPartition(int input_index, int64_t partition) {
  return input_index * kPartitionsPerInput + partition;
}

// ScanPartitions, within the numbers that DatasetPartition can tell apart.
Result<std::vector<Partition>> NumberedPartitions(const Plan& plan, int stage, const Snapshot& snapshot);

// The steps of a plan, known to an observer whose process does not execute them.
void AddSteps(const Plan& plan, Observer* observer);
// Adds a commit's rows to the steps' counters: of tasks that this process did not run itself.
void CountCommitted(const Plan& plan, const TaskCommit& commit, Observer* observer);

class Committer {
 public:
  // All outlive it.
  Committer(const Plan* plan, Env* env, RunDirectory* directory)
      : plan_(plan), env_(env), directory_(directory), datasets_(DatasetsOf(*plan)) {}

  const PlanDatasets& datasets() const { return datasets_; }
  const std::string& StepOf(int stage, int node) const;  // node -1: the source
  // What stands before the paths of a step's files in the quarantine.
  static std::string QuarantinePrefix(const std::string& step) { return "__step=" + step + "/"; }

  // What a worker staged in a folder that is not seen here is put in the run's own. Before `Check`.
  Status PutDown(const std::vector<CarriedFile>& carried, TaskEnd* end) const;
  // Is this what a task of this plan may leave: outputs it has, files of the run's own folders, or, of what
  // may stay on nodes, blocks of `place`? Of ends that were made elsewhere; the error is a bug's.
  Status Check(const TaskEnd& end, const NodePlace& place = {}) const;
  // Renames and logs. Returns the rows of each output of the stage, as the scheduler wants them.
  // `counted_by`: see CountCommitted; null where the task counted itself. Blocks on nodes stay where they
  // are, and no later run believes in them.
  Result<MadeRows> Commit(TaskEnd end, Observer* counted_by = nullptr) const;
  // Removes what a task left that does not count: another copy of it came first.
  void Discard(const TaskEnd& end) const;
  // The manifests of all datasets, from the log.
  std::vector<Manifest> Manifests(const std::string& plan_hash, const std::string& snapshot_hash) const;

 private:
  // Where the files of an output wait; "" of rows that are handed over.
  Result<std::string> FolderOf(int stage, int output) const;
  std::set<CommitLog::Key> BeyondLimits() const;

  const Plan* plan_;
  Env* env_;
  RunDirectory* directory_;
  PlanDatasets datasets_;
};

}  // namespace partita
