// A fresh interpreter that has imported what every worker needs and has one thread: it forks the fork server
// (fork_server.h) of each step from itself, so that imports are paid for once, in time and in memory. All
// steps and runs of this process share it that want the same interpreter in the same environment.
//
// It ends with its last user, or some seconds later; with this process, however that ends. Private to this
// room.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/base/process.h"

namespace partita {

// Thread-safe.
class BaseProcess {
 public:
  virtual ~BaseProcess() = default;  // one user less
  // Forks a fork server that has `socket` as its own, and prints to `log`. It is there when it says so.
  virtual Status Fork(const Descriptor& socket, const Descriptor& log) = 0;
  // Lines that it printed itself: why it could not start.
  virtual std::vector<std::string> Printed() = 0;
};

// The one that `command` starts, or has started here, in this environment and working folder. `lingers`:
// there may be further runs soon.
Result<std::shared_ptr<BaseProcess>> TakeBaseProcess(const std::vector<std::string>& command, bool lingers);

}  // namespace partita
