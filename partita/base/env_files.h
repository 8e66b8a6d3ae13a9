// Files of LocalEnv. Private to this room; env.h is the contract.
#pragma once

#include <memory>
#include <string>

#include "partita/base/env.h"

namespace partita {

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenLocalRead(const std::string& path,
                                                                   ReadOptions options);
// Where such a read may begin around the page cache: a descriptor of `file`, and its. -1: it may not, or the
// page cache has it.
int DirectDescriptor(const arrow::io::RandomAccessFile& file, int64_t position, int64_t nbytes,
                     const uint8_t* out);
Result<std::shared_ptr<arrow::io::OutputStream>> OpenLocalWrite(const std::string& path,
                                                                WriteOptions options);
Result<std::shared_ptr<arrow::io::OutputStream>> OpenLocalAppend(const std::string& path);

}  // namespace partita
