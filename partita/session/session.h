// The front door: from a pipeline to a finished run. The only room that wires the others; CLI, Python and C++
// programs call it.
//
//   Session session(Env::Default());
//   auto compiled = session.CompilePipeline(pipeline);          // looks at the sources, compiles
//   auto result = session.Run(*compiled, options, &observer);   // writes the datasets
//   auto stream = session.Stream(*compiled, options);           // or: rows to the caller, in order
//
// Thread-safety: a Session may be used by several threads; a RowStream by one.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/error.h"
#include "partita/compile/compile.h"
#include "partita/dataset/manifest.h"
#include "partita/engine/task_factory.h"
#include "partita/observe/observe.h"
#include "partita/operator/window_scan.h"
#include "partita/pipeline/step_spec.h"
#include "partita/session/options.h"

namespace partita {

// A plan and the snapshot it was made from: what `partita compile` writes and `partita run plan.json` reads.
struct CompiledPlan {
  Plan plan;
  Snapshot snapshot;
  std::string plan_hash, snapshot_hash;
  Json options;  // the pipeline file's `options:`; not part of the plan's hash

  std::string ToText() const;
  static Result<CompiledPlan> FromText(std::string_view text);
};

struct WrittenDataset {
  std::string step, path, format;
  Manifest manifest;
};

struct RunResult {
  std::vector<WrittenDataset> datasets;
  std::optional<WrittenDataset> quarantine;  // with at least one row
  bool was_complete = false;                 // an earlier run had done everything
  std::string record_path;                   // of the run record; "" without an output folder
};

struct RunControl {
  Observer* observer = nullptr;  // null: the run keeps its own
  CancelToken cancel;
  std::function<Status()> poll;  // called about every 50 ms from the calling thread; non-OK cancels
};

// Rows of a pipeline, in order, bounded. Destroying it cancels the run.
class RowStream {
 public:
  virtual ~RowStream() = default;
  virtual const std::shared_ptr<arrow::Schema>& schema() const = 0;
  // The next rows; null at the end.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Next() = 0;
  virtual Observer* observer() = 0;
};

class RemoteRun;
class RemoteWorker;

class Session {
 public:
  explicit Session(Env* env);

  // Rows for the read step from_memory; the returned id is its argument `id`. Kept until the session ends or
  // Forget.
  Result<std::string> AddTable(std::shared_ptr<arrow::Schema> schema,
                               std::vector<std::shared_ptr<arrow::RecordBatch>> batches);
  // The same of blocks that lie elsewhere and are got when a task reads them; each is a partition. `name`
  // says what they are: another process that gives the same name goes on where this one stopped.
  Result<std::string> AddBlocks(const std::string& name, std::shared_ptr<arrow::Schema> schema,
                                std::vector<RemoteBlock> blocks, MemoryTable::Fetch fetch, bool fetch_copies);
  void ForgetTable(const std::string& id);

  // How much of the sources to look at: what the plan needs (metadata of the files that it cuts), all files
  // but the metadata of the first alone, the first file alone (all that the schema needs), or the metadata of
  // all. Of `control` it uses `cancel` and `poll`.
  enum class Look { kPlan, kFirstFile, kSchema, kRowCounts };
  Result<Snapshot> TakeSnapshot(const Pipeline& pipeline, Look look = Look::kPlan,
                                const RunControl& control = {});
  Result<CompiledPlan> CompilePipeline(const Pipeline& pipeline, Look look = Look::kPlan,
                                       const RunControl& control = {});
  // The schema after step `step` (the last when empty), touching one file of each source.
  Result<std::shared_ptr<arrow::Schema>> SchemaOf(const Pipeline& pipeline, const std::string& step = "",
                                                  const RunControl& control = {});

  // Writes every dataset of the plan. Resumes where an earlier run of the same plan and snapshot stopped.
  Result<RunResult> Run(const CompiledPlan& compiled, const RunOptions& options, RunControl control = {});
  // Reruns the rows that an earlier run of this plan put in quarantine; what succeeds is added to the
  // datasets.
  Result<RunResult> RetryQuarantine(const CompiledPlan& compiled, const RunOptions& options,
                                    RunControl control = {});
  // Rows after step `step` (the last when empty), at most `limit` (-1: all). With a limit, only the first
  // file is opened where it has rows enough.
  Result<std::unique_ptr<RowStream>> Stream(const Pipeline& pipeline, const std::string& step, int64_t limit,
                                            const RunOptions& options, RunControl control = {});
  // Number of rows after a step; from metadata alone where steps and formats allow.
  Result<int64_t> Count(const Pipeline& pipeline, const std::string& step, const RunOptions& options,
                        RunControl control = {});

  // A run of which another program executes the tasks, on whatever engine: see session/remote_run.h.
  Result<std::unique_ptr<RemoteRun>> OpenRun(CompiledPlan compiled, const RunOptions& options,
                                             Observer* observer);
  // The side that executes them, in this process; also in one that another machine runs.
  // `run_folder`: RemoteRun::folder(). `node_host`, `node_token`: TaskRunnerOptions, used where exchanged rows stay
  // on the nodes.
  Result<std::unique_ptr<RemoteWorker>> OpenWorker(CompiledPlan compiled, const RunOptions& options,
                                                   const std::string& run_folder = "",
                                                   const std::string& node_host = "",
                                                   const std::string& node_token = "");
  // The rows of from_memory's `id`; null: not known.
  std::shared_ptr<const MemoryTable> TableOf(const std::string& id);

  // One task through storage: the contract of batch engines. Its outputs are committed to the plan's folders.
  Status RunTask(const CompiledPlan& compiled, TaskId task, const RunOptions& options,
                 RunControl control = {});

  // Rows of a plan of one scanning stage, window after window instead of its partitions: see
  // session/ingest.h. The rows must be as many as the windows say.
  Result<std::unique_ptr<RowStream>> OpenStream(CompiledPlan compiled, const RunOptions& options,
                                                RunControl control, std::vector<WindowRead> windows);

  Env* env() const { return env_; }

 private:
  Result<RunResult> RunIn(RunDirectory* directory, const CompiledPlan& compiled, const RunOptions& options,
                          RunControl control);
  Result<Snapshot> LookAtSources(const Pipeline& pipeline, Look look, const CancelToken& cancel);
  Result<std::unique_ptr<RowStream>> OpenStream(CompiledPlan compiled, const RunOptions& options,
                                                RunControl control);
  Result<std::unique_ptr<RowStream>> StartStream(CompiledPlan compiled, const RunOptions& options,
                                                 RunControl control,
                                                 std::optional<std::vector<WindowRead>> windows);
  friend class FirstRowsStream;

  std::string Keep(const std::string& name, std::shared_ptr<const MemoryTable> table);

  Env* env_;
  std::mutex mutex_;
  MemoryTables tables_;
};

// The pipeline with a `collect` sink after `step`, and without its own sinks: what Stream and Count run.
Result<Pipeline> CollectPipeline(const Pipeline& pipeline, const std::string& step, int64_t limit);

// The build that made a run: version and a digest of the binary; workers of another build are refused.
std::string BuildVersion();

}  // namespace partita
