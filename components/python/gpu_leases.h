// Which GPUs the workers of this process have: shares of them are handed out and come back. Thread-safe.
//
// The GPUs are those that CUDA_VISIBLE_DEVICES names, else those of the machine.
#pragma once

#include <memory>
#include <string>

#include "partita/base/error.h"

namespace partita {

class GpuLease {
 public:
  virtual ~GpuLease() = default;                   // it comes back
  virtual const std::string& devices() const = 0;  // for CUDA_VISIBLE_DEVICES: "0", "2,3"
};

// `count`: up to 1, a share of one, that which has the least left; else whole ones. Null: not free now. A
// user or an environment error where it never will be.
Result<std::shared_ptr<GpuLease>> TakeGpus(double count);

}  // namespace partita
