#include "partita/dataset/run_directory.h"

#include <cctype>
#include <filesystem>
#include <set>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr std::string_view kState = "_partita";
constexpr std::string_view kQuarantine = "_quarantine";
constexpr size_t kMostSyncedAlone = 32;  // files and folders; syncfs waits for all that any program wrote

std::string StateDir(const std::string& folder) { return JoinPath(folder, kState); }
std::string OwnerFile(const std::string& folder) { return JoinPath(StateDir(folder), "owner.json"); }

struct Owner {
  bool exists = false;
  std::string plan_hash, snapshot_hash;
};

Result<Owner> ReadOwner(Env* env, const std::string& folder) {
  Owner owner;
  ARROW_ASSIGN_OR_RAISE(auto status, env->Stat(OwnerFile(folder)));
  if (!status.exists) return owner;
  ARROW_ASSIGN_OR_RAISE(auto text, ReadSmallFile(env, OwnerFile(folder), 1 << 20));
  ARROW_ASSIGN_OR_RAISE(auto json, ParseJson(text));
  owner.exists = true;
  ARROW_ASSIGN_OR_RAISE(owner.plan_hash, GetString(json, "plan"));
  ARROW_ASSIGN_OR_RAISE(owner.snapshot_hash, GetString(json, "snapshot"));
  return owner;
}

// Names that only Partita gives to data files: part-<digits>-<3 digits>.<ext>, and part-r<round>-… of a
// retry.
bool IsDataFile(std::string_view name) {
  if (!name.starts_with("part-")) return false;
  name.remove_prefix(5);
  if (name.starts_with("r")) name.remove_prefix(1);
  size_t digits = 0;
  while (digits < name.size() &&
         (std::isdigit(static_cast<unsigned char>(name[digits])) || name[digits] == '-'))
    ++digits;
  if (digits < 5 || digits >= name.size() || name[digits] != '.') return false;
  return std::isdigit(static_cast<unsigned char>(name[digits - 1])) != 0;
}

bool IsHiveFolder(const DirEntry& entry) {
  return entry.is_directory && entry.name.find('=') != std::string::npos;
}

// The first thing in an owned folder that Partita did not write; "" where there is none.
Result<std::string> FindForeign(Env* env, const std::string& folder) {
  ARROW_ASSIGN_OR_RAISE(auto entries, env->ListDir(folder));
  for (const auto& entry : entries) {
    if (entry.name == kState || entry.name == kManifestName) continue;
    if (entry.is_directory && entry.name == kQuarantine) continue;
    if (!entry.is_directory && IsDataFile(entry.name)) continue;
    if (!IsHiveFolder(entry)) return JoinPath(folder, entry.name);
    ARROW_ASSIGN_OR_RAISE(auto foreign, FindForeign(env, JoinPath(folder, entry.name)));
    if (!foreign.empty()) return foreign;
  }
  return std::string();
}

// Removes what Partita wrote; keeps the lock that is held and the records of earlier runs.
Status RemoveOurs(Env* env, const std::string& folder) {
  // The manifest goes first: a folder that is being emptied must not look finished.
  ARROW_RETURN_NOT_OK(env->RemoveFile(JoinPath(folder, kManifestName)));
  ARROW_ASSIGN_OR_RAISE(auto entries, env->ListDir(folder));
  for (const auto& entry : entries) {
    if (entry.name != kState) ARROW_RETURN_NOT_OK(env->RemoveTree(JoinPath(folder, entry.name)));
  }
  ARROW_ASSIGN_OR_RAISE(auto state, env->ListDir(StateDir(folder)));
  for (const auto& entry : state) {
    if (entry.name == "lock" || entry.name == "runs") continue;
    ARROW_RETURN_NOT_OK(env->RemoveTree(JoinPath(StateDir(folder), entry.name)));
  }
  return Status::OK();
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
    run->primary_ = JoinPath(scratch_dir, "partita-" + env->RandomHex(8));
    run->spill_dir_ = run->primary_;
    run->log_ = CommitLog::InMemory();
    return run;  // made when first written to
  }
  run->primary_ = run->datasets_[0].path;
  run->spill_dir_ = scratch_dir.empty() ? JoinPath(StateDir(run->primary_), "spill")
                                        : JoinPath(scratch_dir, "partita-" + env->RandomHex(8));
  ARROW_RETURN_NOT_OK(run->Claim(identity, options));
  return run;
}

Result<std::unique_ptr<RunDirectory>> RunDirectory::Attach(Env* env, std::vector<Dataset> datasets,
                                                           const RunIdentity& identity,
                                                           const std::string& scratch_dir,
                                                           const std::string& run_folder) {
  const auto not_seen = [](const std::string& folder) {
    return EnvironmentError("this worker does not see the folder of the run: '" + folder + "'",
                            "name storage that every worker mounts at the same path", /*retriable=*/false);
  };
  auto run = std::unique_ptr<RunDirectory>(new RunDirectory());
  run->env_ = env;
  run->datasets_ = std::move(datasets);
  run->spill_dir_ = JoinPath(scratch_dir, "partita-" + env->RandomHex(8));
  run->log_ = CommitLog::InMemory();
  if (run->datasets_.empty()) {
    run->primary_ = run_folder.empty() ? run->spill_dir_ : run_folder;
    if (run_folder.empty()) return run;
    ARROW_ASSIGN_OR_RAISE(const auto status, env->Stat(run_folder));
    if (!status.exists) return not_seen(run_folder);
    return run;
  }
  run->primary_ = run->datasets_[0].path;
  for (const auto& dataset : run->datasets_) {
    ARROW_ASSIGN_OR_RAISE(auto owner, ReadOwner(env, dataset.path));
    if (!owner.exists) {
      return not_seen(dataset.path);
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
  ARROW_ASSIGN_OR_RAISE(auto status, env_->Stat(dataset.path));
  if (!status.exists) return standing;
  if (!status.is_directory) {
    return UserError("'" + dataset.path + "' is a file; a dataset is a folder", "choose another path");
  }
  ARROW_ASSIGN_OR_RAISE(auto owner, ReadOwner(env_, dataset.path));
  if (!owner.exists) {
    ARROW_ASSIGN_OR_RAISE(auto entries, env_->ListDir(dataset.path));
    for (const auto& entry : entries) {
      if (entry.name == kState) continue;  // an earlier run died before it owned the folder
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
    ARROW_ASSIGN_OR_RAISE(auto entries, env_->ListDir(dataset.path));
    bool bare = true;
    for (const auto& entry : entries)
      bare = bare && (entry.name == kState || (entry.is_directory && entry.name == kQuarantine));
    if (bare) {
      ARROW_ASSIGN_OR_RAISE(auto log, env_->Stat(JoinPath(StateDir(dataset.path), "commits.log")));
      if (!log.exists || log.size_bytes == 0) return standing;
    }
    const bool same_plan = owner.plan_hash == identity.plan_hash;
    return UserError("'" + dataset.path + "' holds the output of " +
                         (same_plan ? "this plan on other input: a source changed since" : "another plan"),
                     "choose another folder, or pass --fresh to start over");
  }
  if (options.fresh) {
    ARROW_ASSIGN_OR_RAISE(auto foreign, FindForeign(env_, dataset.path));
    if (!foreign.empty()) {
      return UserError("'" + foreign + "' was not written by Partita; --fresh removes only its own files",
                       "move it away or choose another folder");
    }
  }
  ARROW_ASSIGN_OR_RAISE(auto manifest, env_->Stat(JoinPath(dataset.path, kManifestName)));
  standing.finished = standing.same && manifest.exists;
  return standing;
}

Status RunDirectory::Claim(const RunIdentity& identity, const Options& options) {
  std::set<std::string> folders;
  for (const auto& dataset : datasets_) {
    std::error_code ignored;
    if (!folders.insert(std::filesystem::weakly_canonical(dataset.path, ignored).string()).second) {
      return UserError("two sinks write to '" + dataset.path + "'", "give each sink a folder of its own");
    }
  }
  // All folders are looked at before the first is changed: a refusal leaves no trace.
  std::vector<Standing> standings;
  for (const auto& dataset : datasets_) {
    ARROW_ASSIGN_OR_RAISE(auto standing, StandingOf(dataset, identity, options));
    standings.push_back(standing);
  }
  ARROW_RETURN_NOT_OK(env_->CreateDirs(StateDir(primary_)));
  if (!options.read_only_log) {
    auto lock = env_->LockFile(JoinPath(StateDir(primary_), "lock"));
    if (!lock.ok()) {
      return EnvironmentError("another run is writing '" + primary_ + "': " + MessageOf(lock.status()),
                              "wait for it, or stop it",
                              /*retriable=*/false);
    }
    lock_ = std::move(*lock);
  }
  size_t finished = 0;
  for (size_t i = 0; i < datasets_.size(); ++i) {
    const auto& dataset = datasets_[i];
    ARROW_RETURN_NOT_OK(env_->CreateDirs(StateDir(dataset.path)));
    if (standings[i].owned && (options.fresh || !standings[i].same)) {
      ARROW_RETURN_NOT_OK(RemoveOurs(env_, dataset.path));
    } else if (standings[i].finished) {
      ++finished;
    }
    ARROW_RETURN_NOT_OK(env_->CreateDirs(JoinPath(StateDir(dataset.path), "tmp")));
    if (!standings[i].same || options.fresh) {
      const Json json = {
          {"plan", identity.plan_hash}, {"snapshot", identity.snapshot_hash}, {"primary", primary_}};
      ARROW_RETURN_NOT_OK(WriteFileAtomically(env_, OwnerFile(dataset.path), PrettyJson(json)));
    }
  }
  complete_ = finished == datasets_.size();
  const std::string plan = JoinPath(StateDir(primary_), "plan.json");
  ARROW_ASSIGN_OR_RAISE(auto plan_status, env_->Stat(plan));
  if (!plan_status.exists) ARROW_RETURN_NOT_OK(WriteFileAtomically(env_, plan, identity.document));
  ARROW_ASSIGN_OR_RAISE(log_, CommitLog::Open(env_, JoinPath(StateDir(primary_), "commits.log")));
  if (options.read_only_log) return Status::OK();
  ARROW_RETURN_NOT_OK(DropLost());
  return RemoveOrphans();
}

// A commit counts while its files are there as they were: after power loss or a careless hand its task is
// done again.
Status RunDirectory::DropLost() {
  std::vector<CommitLog::Key> lost;
  for (const auto& [key, commit] : log_->commits()) {
    for (const auto& output : commit.outputs) {
      if (output.dataset < 0 || output.dataset >= static_cast<int>(datasets_.size())) continue;
      for (const auto& file : output.files) {
        ARROW_ASSIGN_OR_RAISE(
            auto status,
            env_->Stat(JoinPath(datasets_[static_cast<size_t>(output.dataset)].path, file.path)));
        if (!status.exists || status.size_bytes != file.size_bytes) lost.push_back(key);
      }
    }
  }
  for (const auto& key : lost) log_->Drop(key);
  if (!lost.empty()) complete_ = false;
  return Status::OK();
}

// A crash between rename and commit leaves data files that no commit names; and temporary files.
Status RunDirectory::RemoveOrphans() {
  std::vector<std::set<std::string>> committed(datasets_.size());  // relative paths
  for (const auto& [key, commit] : log_->commits()) {
    for (const auto& output : commit.outputs) {
      if (output.dataset < 0 || output.dataset >= static_cast<int>(committed.size())) continue;
      for (const auto& file : output.files) committed[static_cast<size_t>(output.dataset)].insert(file.path);
    }
  }
  struct Walker {
    Env* env;
    const std::set<std::string>& committed;
    Status Walk(const std::string& folder, const std::string& relative) {
      ARROW_ASSIGN_OR_RAISE(auto entries, env->ListDir(folder));
      for (const auto& entry : entries) {
        const std::string path = JoinPath(folder, entry.name);
        const std::string name = relative.empty() ? entry.name : relative + "/" + entry.name;
        if (entry.is_directory) {
          if (!entry.name.starts_with("_")) ARROW_RETURN_NOT_OK(Walk(path, name));
        } else if ((IsDataFile(entry.name) && !committed.contains(name)) ||
                   entry.name.starts_with(std::string(kManifestName) + ".tmp-")) {
          ARROW_RETURN_NOT_OK(env->RemoveFile(path));
        }
      }
      return Status::OK();
    }
  };
  for (size_t i = 0; i < datasets_.size(); ++i) {
    const auto& dataset = datasets_[i];
    ARROW_RETURN_NOT_OK((Walker{env_, committed[i]}.Walk(dataset.path, "")));
    const std::string temporary = TemporaryDir(i);
    ARROW_ASSIGN_OR_RAISE(auto left, env_->ListDir(temporary));
    for (const auto& entry : left) ARROW_RETURN_NOT_OK(env_->RemoveTree(JoinPath(temporary, entry.name)));
  }
  return Status::OK();
}

std::string RunDirectory::TemporaryDir(size_t dataset) const {
  return JoinPath(StateDir(datasets_[dataset].path), "tmp");
}
std::string RunDirectory::ExchangeDir(int exchange) const {
  return JoinPath(datasets_.empty() ? primary_ : StateDir(primary_), "exchange-" + std::to_string(exchange));
}
std::string RunDirectory::SpillDir() const { return spill_dir_; }

Status RunDirectory::Commit(const std::vector<Pending>& files, TaskCommit commit) {
  for (const auto& file : files) {
    const std::string target = JoinPath(datasets_[file.dataset].path, file.path);
    Status renamed = env_->Rename(file.temporary, target);
    if (!renamed.ok()) {  // a Hive folder or the quarantine's that is not there yet
      ARROW_RETURN_NOT_OK(env_->CreateDirs(std::string(DirName(target))));
      ARROW_RETURN_NOT_OK(env_->Rename(file.temporary, target));
    }
  }
  return log_->Append(std::move(commit));
}

Status RunDirectory::SyncOutput(const std::vector<Manifest>& manifests,
                                const std::vector<std::string>& written) {
  std::set<std::string> paths{JoinPath(StateDir(primary_), "commits.log")};
  paths.insert(written.begin(), written.end());
  std::set<std::string> parents;
  for (size_t i = 0; i < manifests.size(); ++i) {
    const std::string& folder = datasets_[i].path;
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
    for (const auto& dataset : datasets_) ARROW_RETURN_NOT_OK(env_->SyncFileSystem(dataset.path));
    return Status::OK();
  }
  // The folders' own names are in their parents, which need not be readable.
  return env_->SyncFiles({paths.begin(), paths.end()}, {parents.begin(), parents.end()});
}

Status RunDirectory::Finish(std::vector<Manifest> manifests) {
  if (temporary_) return Status::OK();
  std::vector<std::string> written;
  const auto finish = [&]() -> Status {
    for (size_t i = 0; i < manifests.size(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto temporary, WriteFileBeside(env_, JoinPath(datasets_[i].path, kManifestName),
                                                            manifests[i].ToText()));
      written.push_back(std::move(temporary));
    }
    ARROW_RETURN_NOT_OK(SyncOutput(manifests, written));
    std::set<std::string> folders;
    for (size_t i = 0; i < manifests.size(); ++i) {
      ARROW_RETURN_NOT_OK(env_->Rename(written[i], JoinPath(datasets_[i].path, kManifestName)));
      folders.insert(datasets_[i].path);
    }
    return env_->SyncFiles({folders.begin(), folders.end()});
  };
  if (Status status = finish(); !status.ok()) {
    for (const auto& temporary : written) (void)env_->RemoveFile(temporary);
    return status;
  }
  return RemoveScratch();
}

Status RunDirectory::RemoveScratch() {
  if (temporary_) return Status::OK();
  for (const auto& dataset : datasets_) (void)env_->RemoveTree(JoinPath(StateDir(dataset.path), "tmp"));
  ARROW_ASSIGN_OR_RAISE(auto entries, env_->ListDir(StateDir(primary_)));
  for (const auto& entry : entries) {
    if (entry.name.starts_with("exchange-") || entry.name == "spill") {
      (void)env_->RemoveTree(JoinPath(StateDir(primary_), entry.name));
    }
  }
  return Status::OK();
}

Status RunDirectory::WriteRunRecord(const std::string& name, const std::string& text) {
  if (temporary_) return Status::OK();
  const std::string folder = JoinPath(StateDir(primary_), "runs");
  ARROW_RETURN_NOT_OK(env_->CreateDirs(folder));
  return WriteFileAtomically(env_, JoinPath(folder, name + ".json"), text);
}

void RunDirectory::Close() {
  if (temporary_) {
    (void)env_->RemoveTree(primary_);
  } else if (!spill_dir_.empty()) {
    (void)env_->RemoveTree(spill_dir_);
  }
  lock_.reset();
}

RunDirectory::~RunDirectory() { Close(); }

}  // namespace partita
