// Files of an output: written where nobody looks, published whole. Of local outputs the staged file is the
// file itself, and publishing is a rename. Of S3 it is a small local document that tells of an upload in
// parts: whoever writes sends the parts, whoever commits completes the upload, and no byte passes the
// committer (small files excepted: they wait beside their document and are sent in one request). What was
// staged and not published is found again by these documents, also after a kill. docs/decisions/0018-s3.md.
//
// All functions may be called from any thread; a stream is of one thread at a time.
#pragma once

#include <memory>
#include <string>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

struct StagedFile {
  std::shared_ptr<arrow::io::OutputStream> stream;  // Close ends it; Abort where it is not wanted any more
  std::string path;                                 // local: what Publish and Discard are given
};

// `temporary` is a local path in a folder that exists and that the committer sees; `location` is where the
// file will be. What an upload needs beside local disk is claimed from `pool` (may be null).
Result<StagedFile> StageFile(Env* env, const std::string& temporary, const std::string& location,
                             BudgetPool* pool, const CancelToken& cancel);
// Makes a staged file, whose stream was closed, the file at `location`, in place of what is there.
Status PublishStaged(Env* env, const std::string& path, const std::string& location);
// A staged file of an object store as bytes, and back: for a committer who does not see the folder that it
// was staged in. Taking it away removes it there. O(parts), and of files of up to a MiB their bytes.
Result<std::string> TakeStaged(Env* env, const std::string& path);
Status PutStaged(Env* env, const std::string& path, const std::string& taken);
bool IsStagedUpload(const std::string& path);  // else it is the file itself, which stays where it is
// Removes a staged file that does not count; missing is OK. `alone`: no other attempt writes the same file
// now, so uploads of it that nobody knows of are ended too.
Status DiscardStaged(Env* env, const std::string& path, bool alone = false);

}  // namespace partita
