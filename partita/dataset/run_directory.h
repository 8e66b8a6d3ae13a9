// The folders a run writes: who owns them, what is committed, and how a run ends.
//
//   <sink>/part-00000-000.parquet …   data files, renamed into place when their task is done
//   <sink>/_manifest.json             written last
//   <sink>/_partita/owner.json        {plan, snapshot, primary}: which plan this folder belongs to
//   <sink>/_partita/tmp/              files being written
//   <first sink>/_partita/            the run's books: plan.json, commits.log, lock, exchange/, runs/
//
// Of a sink on an object store the books are in a local folder instead (output_folder.h); its _partita/ holds
// owner.json and, once the run is finished, a copy of the log.
//
// A folder that holds anything of another plan, or files Partita did not write, is refused; `fresh` removes
// what Partita wrote there (by manifest, log and owner) and nothing else.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/dataset/commit_log.h"
#include "partita/dataset/manifest.h"

namespace partita {

struct RunIdentity {
  std::string plan_hash, snapshot_hash;
  std::string document;  // plan.json's text: plan and snapshot
};

class RunDirectory {
 public:
  struct Dataset {
    std::string path;  // folder of the sink
    std::string format;
    std::shared_ptr<arrow::Schema> schema;
  };
  struct Options {
    bool fresh = false;
    bool read_only_log = false;  // `partita task`: no lock, commits are appended by the coordinator
    std::string work_dir;        // for the books of outputs on object stores; "": the user's cache
  };

  // Claims the datasets' folders for this plan. Without datasets: a temporary folder that Close removes.
  // Errors: another plan's output (user), a run that is under way (environment).
  static Result<std::unique_ptr<RunDirectory>> Open(Env* env, std::vector<Dataset> datasets,
                                                    const RunIdentity& identity, std::string scratch_dir,
                                                    Options options);
  // A worker's view of a run that another process owns: the same folders, a log in memory of what it is told.
  // It claims, locks and removes nothing but its own spill folder, below `scratch_dir` (must not be shared).
  // `run_folder`: books() of a run without datasets, where rows change partition; else "".
  // Where the books of outputs on object stores are not seen from here, they are not needed: see `carries`.
  // Errors: the run's folder is not seen from here (environment), or is another plan's (user).
  static Result<std::unique_ptr<RunDirectory>> Attach(Env* env, std::vector<Dataset> datasets,
                                                      const RunIdentity& identity,
                                                      const std::string& scratch_dir,
                                                      const std::string& work_dir = "",
                                                      const std::string& run_folder = "");
  ~RunDirectory();

  // Of a worker: what is staged must travel to the committer (TakeStaged), for it does not see this folder.
  bool carries() const { return carries_; }
  // Are books() those of the run? Else exchanges have no storage here.
  bool shares_books() const { return shares_books_; }
  CommitLog* log() { return log_.get(); }
  // True when every dataset has the manifest of this plan and snapshot: nothing is left to do.
  bool complete() const { return complete_; }
  void NotComplete() { complete_ = false; }  // something was committed since: the manifests are written anew
  // The local folder of the log and the records of all runs: <first sink>/_partita.
  const std::string& books() const { return books_[0]; }
  std::string TemporaryDir(size_t dataset) const;
  std::string ExchangeDir(int exchange) const;
  std::string SpillDir() const;

  // Renames a task's files into place; then appends the commit. After an error nothing counts.
  struct Pending {
    size_t dataset;
    std::string temporary;
    std::string path;  // relative to the dataset
  };
  Status Commit(const std::vector<Pending>& files, TaskCommit commit);

  // Syncs once and writes the manifests. `partitions[d]` are the dataset's partitions in order.
  Status Finish(std::vector<Manifest> manifests);
  // Removes temporary, exchange and spill files: after Finish, and where an earlier run died in doing so.
  Status RemoveScratch();
  // Keeps the run record: <books>/runs/<name>.json
  Status WriteRunRecord(const std::string& name, const std::string& text);
  // Removes temporary files of this run (and everything, without datasets).
  void Close();

 private:
  RunDirectory() = default;
  // What the manifests name, the log and the files `written` reach the disk.
  Status SyncOutput(const std::vector<Manifest>& manifests, const std::vector<std::string>& written);
  struct Standing {
    bool owned = false;     // an earlier run of Partita wrote here
    bool same = false;      // … of this plan and snapshot
    bool finished = false;  // … and its manifest is there
  };
  Result<Standing> StandingOf(const Dataset& dataset, const RunIdentity& identity,
                              const Options& options) const;
  Status CheckDistinct() const;
  Status Claim(const RunIdentity& identity, const Options& options);
  Status Take(size_t index, const Standing& standing, const RunIdentity& identity, const Options& options);
  Status FetchLog();
  Status DropLost();
  Status RemoveOrphans();
  Status DiscardTemporary(size_t dataset) const;
  Status WriteRemoteManifests(const std::vector<Manifest>& manifests);

  Env* env_ = nullptr;
  std::vector<Dataset> datasets_;
  std::vector<std::string> books_;  // by dataset; without datasets: the temporary folder
  std::string spill_dir_;
  bool temporary_ = false;
  bool carries_ = false, shares_books_ = true;
  bool complete_ = false;
  std::shared_ptr<void> lock_;
  std::unique_ptr<CommitLog> log_;
};

}  // namespace partita
