// Ctrl-C and SIGTERM. While a run is under way the first one asks it to stop cleanly; a second one, or one
// outside a run, ends the process at once with exit code 130. Nothing is lost either way: what is committed
// stays committed.
#pragma once

#include "partita/base/cancel.h"

namespace partita::cli {

inline constexpr int kInterruptedExitCode = 130;

// One at a time; the process ends at once again when it dies.
class Interruptible {
 public:
  explicit Interruptible(CancelToken token);
  ~Interruptible();
  Interruptible(const Interruptible&) = delete;
  Interruptible& operator=(const Interruptible&) = delete;

 private:
  CancelToken token_;  // keeps the flag alive that the handler sets
};

}  // namespace partita::cli
