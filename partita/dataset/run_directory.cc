#include "partita/dataset/run_directory.h"

#include <set>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr std::string_view kState = "_partita";

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

// Names that only Partita gives: data files of a task, and our state.
bool IsOurs(std::string_view name) {
  return name == kState || name == kManifestName || name == "_quarantine" || name.starts_with("part-");
}

// Folders of Hive columns that hold only our files count as ours.
Result<bool> OnlyOurs(Env* env, const std::string& folder, std::string* foreign) {
  ARROW_ASSIGN_OR_RAISE(auto entries, env->ListDir(folder));
  for (const auto& entry : entries) {
    if (IsOurs(entry.name)) continue;
    if (entry.is_directory && entry.name.find('=') != std::string::npos) {
      ARROW_ASSIGN_OR_RAISE(bool ours, OnlyOurs(env, JoinPath(folder, entry.name), foreign));
      if (ours) continue;
      return false;
    }
    *foreign = JoinPath(folder, entry.name);
    return false;
  }
  return true;
}

Status RemoveOurs(Env* env, const std::string& folder) {
  ARROW_ASSIGN_OR_RAISE(auto entries, env->ListDir(folder));
  // The manifest goes first: a folder that is being emptied must not look finished.
  ARROW_RETURN_NOT_OK(env->RemoveFile(JoinPath(folder, kManifestName)));
  for (const auto& entry : entries) {
    const std::string path = JoinPath(folder, entry.name);
    if (entry.is_directory) {
      ARROW_RETURN_NOT_OK(env->RemoveTree(path));
    } else {
      ARROW_RETURN_NOT_OK(env->RemoveFile(path));
    }
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
  run->spill_dir_ =
      scratch_dir.empty() ? JoinPath(StateDir(run->primary_), "spill") : JoinPath(scratch_dir, "partita-" + env->RandomHex(8));
  ARROW_RETURN_NOT_OK(run->Claim(identity, options));
  return run;
}

Status RunDirectory::Claim(const RunIdentity& identity, const Options& options) {
  for (const auto& dataset : datasets_) {
    ARROW_ASSIGN_OR_RAISE(auto status, env_->Stat(dataset.path));
    if (status.exists && !status.is_directory) {
      return UserError("'" + dataset.path + "' is a file; a dataset is a folder", "choose another path");
    }
    ARROW_RETURN_NOT_OK(env_->CreateDirs(StateDir(dataset.path)));
  }
  if (!options.read_only_log) {
    ARROW_ASSIGN_OR_RAISE(lock_, env_->LockFile(JoinPath(StateDir(primary_), "lock")));
  }
  size_t finished = 0;
  for (const auto& dataset : datasets_) {
    ARROW_ASSIGN_OR_RAISE(auto owner, ReadOwner(env_, dataset.path));
    std::string foreign;
    ARROW_ASSIGN_OR_RAISE(bool ours, OnlyOurs(env_, dataset.path, &foreign));
    if (!ours && !owner.exists) {
      return UserError("the output folder holds a file that Partita did not write: " + foreign,
                       "choose an empty folder");
    }
    const bool same = owner.exists && owner.plan_hash == identity.plan_hash && owner.snapshot_hash == identity.snapshot_hash;
    if (owner.exists && !same && !options.fresh) {
      const bool same_plan = owner.plan_hash == identity.plan_hash;
      return UserError("'" + dataset.path + "' holds the output of " +
                           (same_plan ? "this plan on other input: a source changed since" : "another plan"),
                       "choose another folder, or pass --fresh to start over");
    }
    if (options.fresh) {
      if (!ours) return UserError("'" + foreign + "' was not written by Partita; --fresh removes only its own files");
      if (&dataset == &datasets_[0]) {  // keep the lock file we hold
        ARROW_ASSIGN_OR_RAISE(auto entries, env_->ListDir(StateDir(dataset.path)));
        for (const auto& entry : entries) {
          if (entry.name == "lock" || entry.name == "runs") continue;
          ARROW_RETURN_NOT_OK(env_->RemoveTree(JoinPath(StateDir(dataset.path), entry.name)));
        }
        ARROW_RETURN_NOT_OK(env_->RemoveFile(JoinPath(dataset.path, kManifestName)));
        ARROW_ASSIGN_OR_RAISE(auto data, env_->ListDir(dataset.path));
        for (const auto& entry : data) {
          if (!entry.name.starts_with("_")) ARROW_RETURN_NOT_OK(env_->RemoveTree(JoinPath(dataset.path, entry.name)));
        }
      } else {
        ARROW_RETURN_NOT_OK(RemoveOurs(env_, dataset.path));
      }
    } else if (same) {
      ARROW_ASSIGN_OR_RAISE(auto manifest, env_->Stat(JoinPath(dataset.path, kManifestName)));
      if (manifest.exists) ++finished;
    }
    ARROW_RETURN_NOT_OK(env_->CreateDirs(JoinPath(StateDir(dataset.path), "tmp")));
    if (!same || options.fresh) {
      const Json json = {{"plan", identity.plan_hash}, {"snapshot", identity.snapshot_hash}, {"primary", primary_}};
      ARROW_RETURN_NOT_OK(WriteFileAtomically(env_, OwnerFile(dataset.path), PrettyJson(json)));
    }
  }
  complete_ = finished == datasets_.size();
  const std::string plan = JoinPath(StateDir(primary_), "plan.json");
  ARROW_ASSIGN_OR_RAISE(auto plan_status, env_->Stat(plan));
  if (!plan_status.exists) ARROW_RETURN_NOT_OK(WriteFileAtomically(env_, plan, identity.document));
  ARROW_ASSIGN_OR_RAISE(log_, CommitLog::Open(env_, JoinPath(StateDir(primary_), "commits.log")));
  if (!complete_ && !options.read_only_log) ARROW_RETURN_NOT_OK(RemoveOrphans());
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
        } else if (entry.name.starts_with("part-") && !committed.contains(name)) {
          ARROW_RETURN_NOT_OK(env->RemoveFile(path));
        }
      }
      return Status::OK();
    }
  };
  for (size_t i = 0; i < datasets_.size(); ++i) {
    const auto& dataset = datasets_[i];
    ARROW_RETURN_NOT_OK((Walker{env_, committed[i]}.Walk(dataset.path, "")));
    ARROW_RETURN_NOT_OK(env_->RemoveTree(JoinPath(StateDir(dataset.path), "tmp")));
    ARROW_RETURN_NOT_OK(env_->CreateDirs(JoinPath(StateDir(dataset.path), "tmp")));
  }
  return Status::OK();
}

std::string RunDirectory::TemporaryDir(size_t dataset) const {
  return JoinPath(StateDir(datasets_[dataset].path), "tmp");
}
std::string RunDirectory::ExchangeDir(int exchange) const {
  return JoinPath(temporary_ ? primary_ : StateDir(primary_), "exchange-" + std::to_string(exchange));
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

Status RunDirectory::Finish(std::vector<Manifest> manifests) {
  if (temporary_) return Status::OK();
  for (size_t i = 0; i < manifests.size(); ++i) ARROW_RETURN_NOT_OK(env_->SyncFileSystem(datasets_[i].path));
  for (size_t i = 0; i < manifests.size(); ++i) {
    ARROW_RETURN_NOT_OK(
        WriteFileAtomically(env_, JoinPath(datasets_[i].path, kManifestName), manifests[i].ToText(), /*sync=*/true));
  }
  for (const auto& dataset : datasets_) {
    (void)env_->RemoveTree(JoinPath(StateDir(dataset.path), "tmp"));
  }
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
