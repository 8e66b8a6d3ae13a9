// Things that a user has so many of (licences, connections of a service, robots) and that workers hold while
// they live. How many there are stands in PARTITA_RESOURCES: "licence=2,robot=1". All runs of a process know
// of each other's. Thread-safe.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "partita/base/error.h"

namespace partita {

using Resources = std::map<std::string, double>;

class ResourceLease {
 public:
  virtual ~ResourceLease() = default;  // all of it comes back
};

// All of `wanted` or nothing. Null: not free now. An environment error where it never will be.
Result<std::shared_ptr<ResourceLease>> TakeResources(const Resources& wanted);

}  // namespace partita
