// Things that a user has so many of (licences, connections of a service, robots) and that workers hold while
// they live. How many there are is an option of the run (operator/resources.h). All runs of a process know of
// each other's. Thread-safe.
#pragma once

#include <memory>

#include "partita/operator/resources.h"

namespace partita {

class ResourceLease {
 public:
  virtual ~ResourceLease() = default;  // all of it comes back
};

// All of `wanted` or nothing. Null: not free now. An environment error where it never will be.
Result<std::shared_ptr<ResourceLease>> TakeResources(const Resources& wanted);

}  // namespace partita
