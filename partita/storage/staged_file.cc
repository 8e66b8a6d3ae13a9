#include "partita/storage/staged_file.h"

#include <arrow/io/interfaces.h>

#include "partita/storage/s3/upload.h"
#include "partita/storage/store.h"

namespace partita {

Result<StagedFile> StageFile(Env* env, const std::string& temporary, const std::string& location,
                             BudgetPool* pool, const CancelToken& cancel) {
  StagedFile staged;
  if (IsObjectStore(location)) {
    staged.path = temporary + std::string(kUploadEnding);
    ARROW_ASSIGN_OR_RAISE(staged.stream, StageS3Upload(env, staged.path, location, pool, cancel));
  } else {
    staged.path = temporary;
    ARROW_ASSIGN_OR_RAISE(staged.stream, env->OpenWrite(temporary, WriteOptions()));
  }
  return staged;
}

Status PublishStaged(Env* env, const std::string& path, const std::string& location) {
  if (path.ends_with(kUploadEnding)) return PublishS3Upload(env, path, location);
  Status renamed = env->Rename(path, location);
  if (renamed.ok()) return renamed;
  // A Hive folder or the quarantine's that is not there yet.
  ARROW_RETURN_NOT_OK(env->CreateDirs(std::string(DirName(location))));
  return env->Rename(path, location);
}

bool IsStagedUpload(const std::string& path) { return path.ends_with(kUploadEnding); }

Result<std::string> TakeStaged(Env* env, const std::string& path) {
  if (!IsStagedUpload(path)) return BugError("'" + path + "' is no upload");
  return TakeS3Upload(env, path);
}

Status PutStaged(Env* env, const std::string& path, const std::string& taken) {
  if (!IsStagedUpload(path)) return BugError("'" + path + "' is no upload");
  return PutS3Upload(env, path, taken);
}

Status DiscardStaged(Env* env, const std::string& path, bool alone) {
  if (path.ends_with(kUploadEnding)) return DiscardS3Upload(env, path, alone);
  return env->RemoveFile(path);
}

}  // namespace partita
