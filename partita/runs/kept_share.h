// What a task leaves for an exchange in memory instead of in a file, as its keeper sees it.
#pragma once

#include <cstdint>
#include <string>

#include "partita/base/env.h"
#include "partita/base/error.h"

namespace partita {

class KeptShare {
 public:
  virtual ~KeptShare() = default;
  // Of what is in memory.
  virtual int64_t size_bytes() const = 0;
  // Writes that to a scratch file, which goes with this; the bytes that this frees. Once.
  virtual Result<int64_t> Spill(Env* env, const std::string& path, arrow::MemoryPool* pool) = 0;
  // Nobody reads it again. Returns the bytes.
  virtual int64_t ForgetAll() = 0;
};

}  // namespace partita
