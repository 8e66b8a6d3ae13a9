#include "partita/dataset/run_directory.h"

#include <filesystem>
#include <set>

#include "partita/base/json.h"
#include "partita/dataset/output_folder.h"
#include "partita/storage/staged_file.h"
#include "partita/storage/store.h"

namespace partita {
namespace {

constexpr size_t kMostSyncedAlone = 32;  // files and folders; syncfs waits for all that any program wrote

constexpr int64_t kMostLogBytes = int64_t{1} << 30;

// What an object store keeps of a finished run's log, so that a machine without the books knows what is
// there.
std::string LogCopyOf(const std::string& folder) {
  return JoinPath(JoinPath(folder, kStateName), "commits.log");
}

}  // namespace

Result<std::unique_ptr<RunDirectory>> RunDirectory::Open(Env* env, std::vector<Dataset> datasets,
                                                         const RunIdentity& identity, std::string scratch_dir,
                                                         Options options) {
  auto run = std::unique_ptr<RunDirectory>(new RunDirectory());
  run->env_ = env;
  run->datasets_ = std::move(datasets);
  if (run->datasets_.empty()) {
    run->temporary_ = true;
    run->books_.push_back(JoinPath(scratch_dir, "partita-" + env->RandomHex(8)));
    run->spill_dir_ = run->books();
    run->log_ = CommitLog::InMemory();
    return run;  // made when first written to
  }
  for (const auto& dataset : run->datasets_) run->books_.push_back(BooksOf(dataset.path, options.work_dir));
  run->spill_dir_ = scratch_dir.empty() ? JoinPath(run->books(), "spill")
                                        : JoinPath(scratch_dir, "partita-" + env->RandomHex(8));
  ARROW_RETURN_NOT_OK(run->Claim(identity, options));
  return run;
}

Result<std::unique_ptr<RunDirectory>> RunDirectory::Attach(Env* env, std::vector<Dataset> datasets,
                                                           const RunIdentity& identity,
                                                           const std::string& scratch_dir,
                                                           const std::string& work_dir,
                                                           const std::string& run_folder) {
  const auto not_seen = [](const std::string& folder, const std::string& hint) {
    return EnvironmentError("this worker does not see the folder of the run: '" + folder + "'", hint,
                            /*retriable=*/false);
  };
  const std::string mount_it = "name storage that every worker mounts at the same path";
  auto run = std::unique_ptr<RunDirectory>(new RunDirectory());
  run->env_ = env;
  run->datasets_ = std::move(datasets);
  run->spill_dir_ = JoinPath(scratch_dir, "partita-" + env->RandomHex(8));
  run->log_ = CommitLog::InMemory();
  if (run->datasets_.empty()) {
    run->books_.push_back(run_folder.empty() ? run->spill_dir_ : run_folder);
    if (run_folder.empty()) return run;
    ARROW_ASSIGN_OR_RAISE(const auto status, env->Stat(run_folder));
    if (!status.exists) return not_seen(run_folder, mount_it);
    return run;
  }
  for (const auto& dataset : run->datasets_) run->books_.push_back(BooksOf(dataset.path, work_dir));
  for (size_t i = 0; i < run->datasets_.size(); ++i) {
    const auto& dataset = run->datasets_[i];
    ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env, dataset.path));
    ARROW_ASSIGN_OR_RAISE(auto owner, ReadOwner(store.get(), dataset.path));
    if (!owner.exists) return not_seen(dataset.path, mount_it);
    ARROW_ASSIGN_OR_RAISE(const FileStatus temporary, env->Stat(run->TemporaryDir(i)));
    if (!temporary.exists) {
      if (!IsObjectStore(dataset.path)) return not_seen(run->books_[i], mount_it);
      run->carries_ = true;
      run->shares_books_ = run->shares_books_ && i > 0;
      run->books_[i] = JoinPath(run->spill_dir_, "staged-" + std::to_string(i));
      ARROW_RETURN_NOT_OK(env->CreateDirs(run->TemporaryDir(i)));
    }
    if (owner.plan_hash != identity.plan_hash || owner.snapshot_hash != identity.snapshot_hash) {
      return UserError("the folder '" + dataset.path + "' belongs to the run of another plan",
                       "stop that run, or choose another folder");
    }
  }
  return run;
}

// Looks at a dataset's folder without changing anything: whose is it?
Result<RunDirectory::Standing> RunDirectory::StandingOf(const Dataset& dataset, const RunIdentity& identity,
                                                        const Options& options) const {
  Standing standing;
  ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env_, dataset.path));
  ARROW_ASSIGN_OR_RAISE(const auto status, store->Stat(dataset.path));
  if (!status.exists) return standing;
  if (!status.is_directory) {
    return UserError("'" + dataset.path + "' is a file; a dataset is a folder", "choose another path");
  }
  ARROW_ASSIGN_OR_RAISE(auto owner, ReadOwner(store.get(), dataset.path));
  if (!owner.exists) {
    ARROW_ASSIGN_OR_RAISE(auto entries, store->ListDir(dataset.path));
    for (const auto& entry : entries) {
      if (entry.name == kStateName) continue;  // an earlier run died before it owned the folder
      return UserError("the output folder holds something that Partita did not write: " +
                           JoinPath(dataset.path, entry.name),
                       "choose an empty folder");
    }
    return standing;
  }
  standing.owned = true;
  standing.same = owner.plan_hash == identity.plan_hash && owner.snapshot_hash == identity.snapshot_hash;
  if (!standing.same && !options.fresh) {
    // A run that made nothing has no claim: its folder is taken over.
    ARROW_ASSIGN_OR_RAISE(auto entries, store->ListDir(dataset.path));
    bool bare = true;
    for (const auto& entry : entries)
      bare = bare && (entry.name == kStateName || (entry.is_directory && entry.name == kQuarantineName));
    if (bare) {
      ARROW_ASSIGN_OR_RAISE(auto log,
                            env_->Stat(JoinPath(BooksOf(dataset.path, options.work_dir), "commits.log")));
      if (!log.exists || log.size_bytes == 0) return standing;
    }
    const bool same_plan = owner.plan_hash == identity.plan_hash;
    return UserError("'" + dataset.path + "' holds the output of " +
                         (same_plan ? "this plan on other input: a source changed since" : "another plan"),
                     "choose another folder, or pass --fresh to start over");
  }
  if (options.fresh) {
    ARROW_ASSIGN_OR_RAISE(auto foreign, FindForeign(store.get(), dataset.path));
    if (!foreign.empty()) {
      return UserError("'" + foreign + "' was not written by Partita; --fresh removes only its own files",
                       "move it away or choose another folder");
    }
  }
  ARROW_ASSIGN_OR_RAISE(const auto manifest, store->Stat(JoinPath(dataset.path, kManifestName)));
  standing.finished = standing.same && manifest.exists;
  return standing;
}

Status RunDirectory::CheckDistinct() const {
  std::set<std::string> folders;
  for (const auto& dataset : datasets_) {
    std::error_code ignored;
    std::string folder = dataset.path;
    while (folder.size() > 1 && folder.ends_with('/')) folder.pop_back();
    if (!IsObjectStore(folder)) folder = std::filesystem::weakly_canonical(folder, ignored).string();
    if (!folders.insert(folder).second) {
      return UserError("two sinks write to '" + dataset.path + "'", "give each sink a folder of its own");
    }
  }
  return Status::OK();
}

Status RunDirectory::Claim(const RunIdentity& identity, const Options& options) {
  ARROW_RETURN_NOT_OK(CheckDistinct());
  // All folders are looked at before the first is changed: a refusal leaves no trace.
  std::vector<Standing> standings;
  for (const auto& dataset : datasets_) {
    ARROW_ASSIGN_OR_RAISE(auto standing, StandingOf(dataset, identity, options));
    standings.push_back(standing);
  }
  ARROW_RETURN_NOT_OK(env_->CreateDirs(books()));
  if (!options.read_only_log) {
    auto lock = env_->LockFile(JoinPath(books(), "lock"));
    if (!lock.ok()) {
      return EnvironmentError(
          "another run is writing '" + datasets_[0].path + "': " + MessageOf(lock.status()),
          "wait for it, or stop it",
          /*retriable=*/false);
    }
    lock_ = std::move(*lock);
  }
  size_t finished = 0;
  for (size_t i = 0; i < datasets_.size(); ++i) {
    ARROW_RETURN_NOT_OK(Take(i, standings[i], identity, options));
    const bool kept = standings[i].finished && !options.fresh;
    if (kept) ++finished;
  }
  complete_ = finished == datasets_.size();
  const std::string plan = JoinPath(books(), "plan.json");
  ARROW_ASSIGN_OR_RAISE(auto plan_status, env_->Stat(plan));
  if (!plan_status.exists) ARROW_RETURN_NOT_OK(WriteFileAtomically(env_, plan, identity.document));
  if (IsObjectStore(datasets_[0].path)) ARROW_RETURN_NOT_OK(FetchLog());
  ARROW_ASSIGN_OR_RAISE(log_, CommitLog::Open(env_, JoinPath(books(), "commits.log")));
  if (options.read_only_log) return Status::OK();
  ARROW_RETURN_NOT_OK(DropLost());
  return RemoveOrphans();
}

// Makes one dataset's folder this plan's.
Status RunDirectory::Take(size_t index, const Standing& standing, const RunIdentity& identity,
                          const Options& options) {
  const std::string& folder = datasets_[index].path;
  ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env_, folder));
  ARROW_RETURN_NOT_OK(env_->CreateDirs(books_[index]));
  // An object store's books of another plan may be left of an output that somebody removed since.
  ARROW_ASSIGN_OR_RAISE(const FileStatus log, env_->Stat(JoinPath(books_[index], "commits.log")));
  const bool strange_books = IsObjectStore(folder) && !standing.same && log.exists;
  if ((standing.owned && (options.fresh || !standing.same)) || strange_books) {
    ARROW_RETURN_NOT_OK(DiscardTemporary(index));
    ARROW_RETURN_NOT_OK(RemoveOurs(store.get(), env_, folder, books_[index]));
  }
  ARROW_RETURN_NOT_OK(env_->CreateDirs(TemporaryDir(index)));
  if (standing.same && !options.fresh) return Status::OK();
  const Json json = {
      {"plan", identity.plan_hash}, {"snapshot", identity.snapshot_hash}, {"primary", datasets_[0].path}};
  // Only local folders are guarded by a lock: of an object store the first who writes has it.
  ARROW_ASSIGN_OR_RAISE(const bool first,
                        store->WriteText(OwnerFile(folder), PrettyJson(json), IsObjectStore(folder)));
  if (first) return Status::OK();
  return EnvironmentError("another run began to write '" + folder + "' just now", "wait for it, or stop it",
                          /*retriable=*/false);
}

// A machine without the books of an object store's finished output takes over their copy.
Status RunDirectory::FetchLog() {
  const std::string log = JoinPath(books(), "commits.log");
  ARROW_ASSIGN_OR_RAISE(const FileStatus known, env_->Stat(log));
  if (known.exists && known.size_bytes > 0) return Status::OK();
  const std::string& folder = datasets_[0].path;
  ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env_, folder));
  ARROW_ASSIGN_OR_RAISE(const auto copy, store->Stat(LogCopyOf(folder)));
  if (!copy.exists) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const std::string text, store->ReadText(LogCopyOf(folder), kMostLogBytes));
  return WriteFileAtomically(env_, log, text);
}

// A commit counts while its files are there as they were: after power loss or a careless hand its task is
// done again.
Status RunDirectory::DropLost() {
  std::vector<std::unique_ptr<Store>> stores;
  for (const auto& dataset : datasets_) {
    ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env_, dataset.path));
    if (!log_->commits().empty()) ARROW_RETURN_NOT_OK(store->WillWalk(dataset.path));
    stores.push_back(std::move(store));
  }
  std::vector<CommitLog::Key> lost;
  for (const auto& [key, commit] : log_->commits()) {
    for (const auto& output : commit.outputs) {
      if (output.dataset < 0 || output.dataset >= static_cast<int>(datasets_.size())) continue;
      const auto dataset = static_cast<size_t>(output.dataset);
      for (const auto& file : output.files) {
        ARROW_ASSIGN_OR_RAISE(const auto status,
                              stores[dataset]->Stat(JoinPath(datasets_[dataset].path, file.path)));
        if (!status.exists || status.size_bytes != file.size_bytes) lost.push_back(key);
      }
    }
  }
  for (const auto& key : lost) log_->Drop(key);
  if (!lost.empty()) complete_ = false;
  return Status::OK();
}

// A crash between rename and commit leaves data files that no commit names; and temporary files, of data and of
// books (WriteFileAtomically).
Status RunDirectory::RemoveOrphans() {
  std::vector<std::set<std::string>> committed(datasets_.size());  // relative paths
  for (const auto& [key, commit] : log_->commits()) {
    for (const auto& output : commit.outputs) {
      if (output.dataset < 0 || output.dataset >= static_cast<int>(committed.size())) continue;
      for (const auto& file : output.files) committed[static_cast<size_t>(output.dataset)].insert(file.path);
    }
  }
  for (size_t i = 0; i < datasets_.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env_, datasets_[i].path));
    ARROW_RETURN_NOT_OK(RemoveUncommitted(store.get(), datasets_[i].path, committed[i]));
    ARROW_RETURN_NOT_OK(DiscardTemporary(i));
    ARROW_ASSIGN_OR_RAISE(const auto books, env_->ListDir(books_[i]));
    for (const auto& entry : books) {
      if (!entry.is_directory && entry.name.find(".tmp-") != std::string::npos)
        ARROW_RETURN_NOT_OK(env_->RemoveFile(JoinPath(books_[i], entry.name)));
    }
  }
  return Status::OK();
}

// Uploads that a killed run left are ended, not only forgotten.
Status RunDirectory::DiscardTemporary(size_t dataset) const {
  const std::string folder = TemporaryDir(dataset);
  ARROW_ASSIGN_OR_RAISE(const FileStatus status, env_->Stat(folder));
  if (!status.exists) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto left, env_->ListDir(folder));
  for (const auto& entry : left) {
    const std::string path = JoinPath(folder, entry.name);
    ARROW_RETURN_NOT_OK(entry.is_directory ? env_->RemoveTree(path)
                                           : DiscardStaged(env_, path, /*alone=*/true));
  }
  return Status::OK();
}

std::string RunDirectory::TemporaryDir(size_t dataset) const { return JoinPath(books_[dataset], "tmp"); }
std::string RunDirectory::ExchangeDir(int exchange) const {
  return JoinPath(books(), "exchange-" + std::to_string(exchange));
}
std::string RunDirectory::SpillDir() const { return spill_dir_; }

Status RunDirectory::Commit(const std::vector<Pending>& files, TaskCommit commit) {
  for (const auto& file : files) {
    ARROW_RETURN_NOT_OK(
        PublishStaged(env_, file.temporary, JoinPath(datasets_[file.dataset].path, file.path)));
  }
  return log_->Append(std::move(commit));
}

Status RunDirectory::SyncOutput(const std::vector<Manifest>& manifests,
                                const std::vector<std::string>& written) {
  std::set<std::string> paths{JoinPath(books(), "commits.log")};
  paths.insert(written.begin(), written.end());
  std::set<std::string> parents;
  for (size_t i = 0; i < manifests.size(); ++i) {
    const std::string& folder = datasets_[i].path;
    if (IsObjectStore(folder)) continue;  // what it took is safe
    paths.insert(folder);
    parents.insert(std::string(DirName(folder)));
    for (const auto& partition : manifests[i].partitions) {
      for (const auto& file : partition.files) {
        const std::string path = JoinPath(folder, file.path);
        paths.insert(path);
        paths.insert(std::string(DirName(path)));
      }
    }
  }
  if (paths.size() > kMostSyncedAlone) {
    for (size_t i = 0; i < datasets_.size(); ++i) {
      ARROW_RETURN_NOT_OK(
          env_->SyncFileSystem(IsObjectStore(datasets_[i].path) ? books_[i] : datasets_[i].path));
    }
    return Status::OK();
  }
  // The folders' own names are in their parents, which need not be readable.
  return env_->SyncFiles({paths.begin(), paths.end()}, {parents.begin(), parents.end()});
}

Status RunDirectory::Finish(std::vector<Manifest> manifests) {
  if (temporary_) return Status::OK();
  std::vector<std::string> written;
  const auto finish = [&]() -> Status {
    std::vector<size_t> local;
    for (size_t i = 0; i < manifests.size(); ++i) {
      if (IsObjectStore(datasets_[i].path)) continue;
      local.push_back(i);
      ARROW_ASSIGN_OR_RAISE(auto temporary, WriteFileBeside(env_, JoinPath(datasets_[i].path, kManifestName),
                                                            manifests[i].ToText()));
      written.push_back(std::move(temporary));
    }
    ARROW_RETURN_NOT_OK(SyncOutput(manifests, written));
    ARROW_RETURN_NOT_OK(WriteRemoteManifests(manifests));
    std::set<std::string> folders;
    for (size_t k = 0; k < local.size(); ++k) {
      const std::string& folder = datasets_[local[k]].path;
      ARROW_RETURN_NOT_OK(env_->Rename(written[k], JoinPath(folder, kManifestName)));
      folders.insert(folder);
    }
    return env_->SyncFiles({folders.begin(), folders.end()});
  };
  if (Status status = finish(); !status.ok()) {
    for (const auto& temporary : written) (void)env_->RemoveFile(temporary);
    return status;
  }
  return RemoveScratch();
}

Status RunDirectory::WriteRemoteManifests(const std::vector<Manifest>& manifests) {
  for (size_t i = 0; i < manifests.size(); ++i) {
    const std::string& folder = datasets_[i].path;
    if (!IsObjectStore(folder)) continue;
    ARROW_ASSIGN_OR_RAISE(auto store, OpenStore(env_, folder));
    if (i == 0) {
      ARROW_ASSIGN_OR_RAISE(const std::string log,
                            ReadSmallFile(env_, JoinPath(books(), "commits.log"), kMostLogBytes));
      ARROW_RETURN_NOT_OK(store->WriteText(LogCopyOf(folder), log).status());
    }
    ARROW_RETURN_NOT_OK(store->WriteText(JoinPath(folder, kManifestName), manifests[i].ToText()).status());
  }
  return Status::OK();
}

Status RunDirectory::RemoveScratch() {
  if (temporary_) return Status::OK();
  for (size_t i = 0; i < datasets_.size(); ++i) (void)env_->RemoveTree(TemporaryDir(i));
  ARROW_ASSIGN_OR_RAISE(auto entries, env_->ListDir(books()));
  for (const auto& entry : entries) {
    if (entry.name.starts_with("exchange-") || entry.name == "spill") {
      (void)env_->RemoveTree(JoinPath(books(), entry.name));
    }
  }
  return Status::OK();
}

Status RunDirectory::WriteRunRecord(const std::string& name, const std::string& text) {
  if (temporary_) return Status::OK();
  const std::string folder = JoinPath(books(), "runs");
  ARROW_RETURN_NOT_OK(env_->CreateDirs(folder));
  return WriteFileAtomically(env_, JoinPath(folder, name + ".json"), text);
}

void RunDirectory::Close() {
  if (temporary_) {
    (void)env_->RemoveTree(books());
  } else if (!spill_dir_.empty()) {
    (void)env_->RemoveTree(spill_dir_);
  }
  lock_.reset();
}

RunDirectory::~RunDirectory() { Close(); }

}  // namespace partita
