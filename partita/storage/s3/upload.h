// Staged files (storage/staged_file.h) of S3. Internal to storage/.
//
// <name>.s3-upload         {"location", "size_bytes", "upload", "etags"}: written before the upload begins
// (with
//                          no id), when its id is known, and when all parts are sent
// <name>.s3-upload.block   what is written but not sent: a part of 16 MiB at most; a small file whole
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

inline constexpr std::string_view kUploadEnding = ".s3-upload";

Result<std::shared_ptr<arrow::io::OutputStream>> StageS3Upload(Env* env, const std::string& document,
                                                               const std::string& location, BudgetPool* pool,
                                                               const CancelToken& cancel);
Status PublishS3Upload(Env* env, const std::string& document, const std::string& location);
Result<std::string> TakeS3Upload(Env* env, const std::string& document);
Status PutS3Upload(Env* env, const std::string& document, const std::string& taken);
Status DiscardS3Upload(Env* env, const std::string& document, bool alone);

}  // namespace partita
