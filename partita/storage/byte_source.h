// The bytes of a file in order, from an offset on, decompressed where its name says so (.gz, .zst, .bz2,
// .lz4). Internal to storage/.
//
// Decompression is a stream: whatever a compressed file claims to hold, no more than the caller's buffer, a
// fixed input window and the decompressor's own state (reserved from the pool) are in memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/storage/file_system.h"

namespace arrow {
class Buffer;
}

namespace partita {

class BudgetPool;

class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // Up to `size` (> 0) bytes into `out`; 0 only at the end. An error (refused memory among them) means that
  // nothing was consumed by this call: after an OutOfMemory it may be called again.
  virtual Result<int64_t> Read(int64_t size, uint8_t* out) = 0;
  // Leaves out up to `size` bytes, without reading them where the file allows; returns how many. 0 only at
  // the end.
  virtual Result<int64_t> Skip(int64_t size);
  // From storage, so far.
  virtual int64_t bytes_read() const = 0;
};

// Does the name end like a compressed file?
bool IsCompressed(std::string_view location);
// Opens `file`, at `begin` (0 for compressed files). `budget` may be null: then the decompressor's state is
// not reserved (the bounded looks of Inspect); buffers come from `pool`.
Result<std::unique_ptr<ByteSource>> OpenByteSource(Env* env, const FileEntry& file, int64_t begin,
                                                   arrow::MemoryPool* pool, BudgetPool* budget,
                                                   const CancelToken& cancel);
// The first bytes of a file (decompressed), at most `size_bytes`; `*complete` tells whether that was all.
Result<std::shared_ptr<arrow::Buffer>> ReadPrefix(Env* env, const FileEntry& file, int64_t size_bytes,
                                                  arrow::MemoryPool* pool, bool* complete);

// The window that decompressing a zstd frame needs, by its header: -1 when `bytes` does not begin with one, 0
// when more bytes are needed to tell (a header has at most 18).
int64_t ZstdWindowBytes(std::string_view bytes);

}  // namespace partita
