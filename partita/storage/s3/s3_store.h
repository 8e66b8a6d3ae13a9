// S3 as a store, and its objects as files. Internal to storage/.
#pragma once

#include <memory>
#include <string_view>

#include "partita/base/cancel.h"
#include "partita/base/error.h"
#include "partita/storage/file_system.h"
#include "partita/storage/s3/client.h"
#include "partita/storage/store.h"

namespace partita {

// Folders are what "/" in keys makes them. A bucket that cannot be listed is an error of the first call.
Result<std::unique_ptr<Store>> OpenS3Store(std::string_view location, const CancelToken& cancel);

// Positioned reads of the very object that `entry` tells of (its etag): one request each.
Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenS3File(const FileEntry& entry,
                                                                arrow::MemoryPool* pool,
                                                                const CancelToken& cancel);

}  // namespace partita
