// What the bindings of the front door share.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "partita/session/session.h"
#include "python/src/arrow_capsules.h"
#include "python/src/bindings.h"
#include "python/src/poll.h"
#include "python/src/stream.h"

namespace partita::python {

using SessionPtr = std::shared_ptr<Session>;

struct PySession {
  SessionPtr session = std::make_shared<Session>(Env::Default());
};

// Rows that a session knows while this lives, by their name.
struct KnownRows {
  SessionPtr session;
  std::string id;
  int64_t num_rows = 0;
  KnownRows(SessionPtr owner, std::string name, int64_t rows)
      : session(std::move(owner)), id(std::move(name)), num_rows(rows) {}
  KnownRows(const KnownRows&) = delete;
  KnownRows& operator=(const KnownRows&) = delete;
  ~KnownRows() { session->ForgetTable(id); }
};

// What a run wrote, as partita/runs.py reads it.
std::string ResultJson(const RunResult& result);

// A call that runs a plan: in this thread, without the GIL, with signals and the progress callback polled.
class Call {
 public:
  Call(nb::handle observer, nb::object on_poll)
      : observer_(nb::cast<Observer*>(observer)), poll_(std::move(on_poll), nb::borrow(observer)) {
    control_.observer = observer_;
    control_.poll = poll_.function();
  }

  // `run` takes the RunControl and returns a Result.
  template <typename Run>
  auto operator()(Run run) const {
    auto result = [&] {
      nb::gil_scoped_release release;
      return run(control_);
    }();
    poll_.Rethrow();
    return ValueOrThrow(std::move(result));
  }

  const Poll& poll() const { return poll_; }
  const CancelToken& cancel() const { return control_.cancel; }

 private:
  Observer* observer_;
  Poll poll_;
  RunControl control_;
};

}  // namespace partita::python
