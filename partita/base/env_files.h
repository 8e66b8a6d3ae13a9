// Files of LocalEnv. Private to this room; env.h is the contract.
#pragma once

#include <memory>
#include <string>

#include "partita/base/env.h"

namespace partita {

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenLocalRead(const std::string& path,
                                                                   ReadOptions options);
Result<std::shared_ptr<arrow::io::OutputStream>> OpenLocalWrite(const std::string& path,
                                                                WriteOptions options);
Result<std::shared_ptr<arrow::io::OutputStream>> OpenLocalAppend(const std::string& path);

}  // namespace partita
