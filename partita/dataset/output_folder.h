// An output's folder, wherever it is stored: whose it is, and which of its files are Partita's. Internal to
// dataset/.
#pragma once

#include <set>
#include <string>

#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/storage/store.h"

namespace partita {

inline constexpr std::string_view kStateName = "_partita";
inline constexpr std::string_view kQuarantineName = "_quarantine";

struct FolderOwner {
  bool exists = false;
  std::string plan_hash, snapshot_hash;
};
std::string OwnerFile(const std::string& folder);
Result<FolderOwner> ReadOwner(Store* store, const std::string& folder);

// Where the books of a dataset's run are (log, lock, files being written): in the folder itself, or, of an
// object store, in a folder of this machine named by the output's location, below `work_dir` ("": the user's
// cache, ~/.cache/partita/runs).
std::string BooksOf(const std::string& folder, const std::string& work_dir);

// The first thing in an owned folder that Partita did not write; "" where there is none.
Result<std::string> FindForeign(Store* store, const std::string& folder);
// Removes what Partita wrote, of a local folder but the lock that is held and the records of earlier runs.
Status RemoveOurs(Store* store, Env* env, const std::string& folder, const std::string& books);
// Removes data files that are not `committed` (relative paths), and manifests that were never renamed.
Status RemoveUncommitted(Store* store, const std::string& folder, const std::set<std::string>& committed);

}  // namespace partita
