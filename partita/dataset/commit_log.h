// The commit log: which tasks of a run are done and which files they made. Append-only, one line a task, no
// sync a task. After a crash the log is read back; a torn last line is dropped. The log, not the folder, says
// what counts.
//
// Line: <xxh3 of the rest, 16 hex digits> <JSON>\n — see docs/formats/commit_log.md.
// Thread-safety: Append may be called from any thread; one process at a time owns a log (RunDirectory holds
// the lock).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "partita/base/env.h"
#include "partita/base/error.h"

namespace partita {

struct CommittedFile {
  std::string path;  // relative to the dataset's folder
  int64_t rows = 0;
  int64_t size_bytes = 0;
};

// What one output of a task (PlanOutput, or the quarantine of one step) became.
struct CommittedOutput {
  int output = 0;    // index in PlanStage::outputs; for quarantine: kQuarantineOutput + node + 1
  int dataset = -1;  // index in RunDirectory's datasets; -1: an exchange
  int64_t rows = 0;
  std::vector<CommittedFile> files;
  int64_t bytes = 0;  // logical; of exchanges alone, whose partitions may follow from it
};
inline constexpr int kQuarantineOutput = 1 << 20;

struct StepTotals {
  int64_t rows_in = 0, rows_out = 0, skipped = 0, quarantined = 0;
};

struct TaskCommit {
  int stage = 0;
  int64_t partition = 0;
  std::vector<CommittedOutput> outputs;
  std::vector<StepTotals>
      steps;  // source first, then the stage's nodes: so that a resumed run reports whole numbers
  // Outputs of earlier commits that this one takes the place of: a retry drops the quarantine it emptied, in
  // the same line that adds what became of its rows.
  struct Dropped {
    int stage = 0;
    int64_t partition = 0;
    int output = 0;
  };
  std::vector<Dropped> dropped;
};

// Partition numbers of retry round r start here times r + 1: far above those of any stage.
inline constexpr int64_t kRetryPartitions = int64_t{1} << 40;

class CommitLog {
 public:
  using Key = std::pair<int, int64_t>;  // stage, partition

  // Reads what is there (nothing is fine) and opens for appending.
  static Result<std::unique_ptr<CommitLog>> Open(Env* env, const std::string& path);
  // A log that is kept in memory alone: runs without an output folder.
  static std::unique_ptr<CommitLog> InMemory();

  // Once Append returns OK the task counts, also after kill -9 of this process.
  Status Append(TaskCommit commit);
  // Stable references; not to be called while another thread appends.
  const std::map<Key, TaskCommit>& commits() const { return commits_; }
  bool Contains(int stage, int64_t partition) const;
  // Forgets a commit whose files are gone; its task is done again, and its new line takes the old one's
  // place.
  void Drop(const Key& key);
  // Copies, safe beside Append; by partition.
  std::vector<TaskCommit> OfStage(int stage) const;

 private:
  void Apply(TaskCommit commit);  // [locked]
  mutable std::mutex mutex_;
  std::map<Key, TaskCommit> commits_;
  std::shared_ptr<arrow::io::OutputStream> stream_;
  bool torn_ = false;  // the last write failed, perhaps in the middle of a line
};

}  // namespace partita
