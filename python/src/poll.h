// What the engine calls about every 50 ms from the thread that waits for a run: Python's signals (Ctrl-C),
// then the caller's callback (the progress bar). Whatever either raises cancels the run, and is raised again
// by Rethrow when the run has ended.
#pragma once

#include <functional>
#include <memory>

#include "python/src/bindings.h"

namespace partita::python {

class Poll {
 public:
  // With the GIL. `callback` may be None; `keep` lives as long as the last copy (the run's observer).
  Poll(nb::object callback, nb::object keep);

  std::function<Status()> function() const;
  // With the GIL. Throws what was raised, if anything was.
  void Rethrow() const;
  // From now on nobody will call Rethrow: the rows leave through an Arrow stream, whose errors are text. What
  // is raised ends the stream with the exception's name. Threads other than this one, which a holder of the
  // GIL may be waiting for, do not poll.
  void Detach() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace partita::python
