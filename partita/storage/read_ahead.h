// A file on a server, read in order. Internal to storage/.
//
// Small reads are served from a window, since each request costs a round trip. Once a reader has gone on for
// two mebibytes, the next window is under way while it works on this one, by a thread of its own. Windows are
// memory of the budget: at most a 32nd of what is free each, and where they are refused reads are made one by
// one.
#pragma once

#include <cstdint>
#include <memory>

#include "partita/storage/byte_source.h"

namespace partita {

// `left_bytes`: what the file has from here on, -1 where it is not known. `budget` may be null: then nothing
// is read ahead. Not thread-safe; when it dies it waits for the window that is under way.
std::unique_ptr<ByteSource> ReadAhead(std::unique_ptr<ByteSource> input, int64_t left_bytes,
                                      arrow::MemoryPool* pool, BudgetPool* budget);

}  // namespace partita
