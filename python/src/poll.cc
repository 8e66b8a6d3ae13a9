#include "python/src/poll.h"

#include <mutex>
#include <optional>
#include <thread>

namespace partita::python {

struct Poll::State {
  nb::object callback;
  nb::object keep;
  std::optional<nb::python_error> raised;
  std::optional<std::thread::id> only_thread;

  // Called with the GIL.
  Status Run() {
    if (raised) return Status::Cancelled("interrupted");
    if (PyErr_CheckSignals() != 0) return Keep();
    if (callback.is_none()) return Status::OK();
    PyObject* result = PyObject_CallNoArgs(callback.ptr());
    if (result == nullptr) return Keep();
    Py_DECREF(result);
    return Status::OK();
  }

  Status Keep() {
    raised.emplace();  // takes the error that is set
    if (!only_thread) return Status::Cancelled("interrupted");
    const auto name = nb::cast<std::string>(raised->type().attr("__name__"));
    raised.reset();
    return Status::Cancelled(name);
  }
};

Poll::Poll(nb::object callback, nb::object keep) {
  // The last copy may die in any thread.
  state_ = std::shared_ptr<State>(new State{std::move(callback), std::move(keep), std::nullopt, std::nullopt},
                                  [](State* state) {
                                    nb::gil_scoped_acquire acquire;
                                    delete state;
                                  });
}

std::function<Status()> Poll::function() const {
  return [state = state_]() -> Status {
    if (state->only_thread && *state->only_thread != std::this_thread::get_id()) return Status::OK();
    nb::gil_scoped_acquire acquire;
    return state->Run();
  };
}

void Poll::Rethrow() const {
  if (!state_->raised) return;
  nb::python_error error = std::move(*state_->raised);
  state_->raised.reset();
  throw std::move(error);
}

void Poll::Detach() const {
  state_->only_thread = std::this_thread::get_id();
  state_->callback = nb::none();
}

}  // namespace partita::python
