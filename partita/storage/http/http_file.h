// HTTP(S) files: positioned reads by range requests over libcurl. Internal to storage/.
//
// Only http and https, also after redirects (at most 5). A transport failure, 408, 429 and 5xx are tried
// again, four times in all, with growing pauses (Retry-After is honoured up to 30 s). A stalled transfer
// (under 1 byte/s for 30 s) counts as a failure. No answer body is ever larger than what was asked for; a
// server without ranges is read whole, at most kHttpMaxBufferBytes, into the pool. Waits end early when
// `cancel` is set.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "partita/base/cancel.h"
#include "partita/base/error.h"
#include "partita/storage/file_system.h"

namespace partita {

inline constexpr int64_t kHttpMaxBufferBytes = 256 << 20;

// Size and etag by HEAD, else by a one-byte range. A missing document (404, 410) is a user error.
Result<FileEntry> ProbeHttp(const std::string& url, const CancelToken& cancel);

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenHttpFile(const FileEntry& entry,
                                                                  arrow::MemoryPool* pool,
                                                                  const CancelToken& cancel);

}  // namespace partita
