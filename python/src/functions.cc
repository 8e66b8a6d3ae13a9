// What Python functions as steps need of the native side.
#include <nanobind/ndarray.h>
#include <nanobind/stl/shared_ptr.h>
#include <unistd.h>

#include <atomic>
#include <thread>

#include "components/python/infer_columns.h"
#include "components/python/local_pool.h"
#include "components/python/python_command.h"
#include "partita/base/json.h"
#include "partita/operator/payload.h"
#include "python/src/bindings.h"
#include "python/src/poll.h"

namespace partita::python {
namespace {

std::atomic<bool> ending{false};
std::atomic<int> returning{0};

// Lets go of the interpreter's lock in a thread that may outlive the interpreter. Taking the lock then would
// end the thread in the middle of C++; it waits for the end of the process instead.
class Unlocked {
 public:
  Unlocked() : state_(PyEval_SaveThread()) {}
  ~Unlocked() {
    ++returning;
    if (ending) {
      --returning;
      while (true) ::pause();
    }
    PyEval_RestoreThread(state_);
    --returning;
  }
  Unlocked(const Unlocked&) = delete;
  Unlocked& operator=(const Unlocked&) = delete;

 private:
  PyThreadState* state_;
};

// Called when the interpreter is about to end: no thread takes its lock again.
void EndLocal() {
  ending = true;
  nb::gil_scoped_release release;
  while (returning > 0) std::this_thread::yield();
}

using Bytes = nb::ndarray<nb::numpy, uint8_t, nb::ndim<1>>;

// The first `bytes` of a piece. It is used again when nobody looks at it any more.
Bytes View(const SegmentPool::Lease& lease, int64_t bytes) {
  auto* kept = new SegmentPool::Lease(lease);
  nb::capsule owner(kept, [](void* at) noexcept { delete static_cast<SegmentPool::Lease*>(at); });
  return Bytes(lease->memory->data(), {static_cast<size_t>(bytes)}, owner);
}

Bytes Output(LocalTask* task, int64_t bytes) {
  SegmentPool::Lease lease;
  {
    const Unlocked unlocked;
    lease = ValueOrThrow(task->Output(bytes));
  }
  return View(lease, bytes);
}

void Finish(LocalTask* task, const std::string& words) {
  Json answer = ValueOrThrow(ParseJson(words));
  const Unlocked unlocked;
  task->Finish(answer);
}

std::pair<nb::bytes, std::string> Infer(const std::string& name, const nb::bytes& question) {
  const Poll poll{nb::none(), nb::none()};
  const std::string asked(question.c_str(), question.size());
  auto found = [&] {
    nb::gil_scoped_release release;
    return InferColumns(name, asked, poll.function());
  }();
  poll.Rethrow();
  const Inferred inferred = ValueOrThrow(std::move(found));
  return {nb::bytes(inferred.answer.data(), inferred.answer.size()), inferred.end};
}

// `start` is called with the jobs of a step, from a thread of the engine.
void SetHost(nb::object start) {
  // Never let go of: the engine's threads may outlive the interpreter.
  auto* kept = new nb::object(std::move(start));
  SetLocalHost([kept](std::shared_ptr<LocalJobs> jobs) -> Status {
    nb::gil_scoped_acquire acquire;
    try {
      (*kept)(jobs);
    } catch (const nb::python_error& error) {
      return BugError(std::string("no thread for functions can be started: ") + error.what());
    }
    return Status::OK();
  });
}

}  // namespace

void BindFunctions(nb::module_& m) {
  m.def(
      "set_python_runtime",
      [](std::string executable, std::string worker, std::vector<std::string> sys_path, int log_level) {
        SetPythonRuntime({std::move(executable), std::move(worker), std::move(sys_path), log_level});
      },
      nb::arg("executable"), nb::arg("worker"), nb::arg("sys_path"), nb::arg("log_level"),
      "Which interpreter runs the workers of Python steps, what it can import, and what its loggers let "
      "through.");
  m.def(
      "add_payload",
      [](const nb::bytes& bytes) {
        return ValueOrThrow(AddPayload(std::string(bytes.c_str(), bytes.size())));
      },
      nb::arg("bytes"), "Keeps bytes that plans name; returns the name.");
  m.def("infer_columns", &Infer, nb::arg("name"), nb::arg("question"),
        "What a function says of its columns (worker/infer.py), and how its process ended.");
  nb::class_<LocalTask>(m, "LocalTask", "A batch for a function that runs in this process.")
      .def(
          "input", [](const LocalTask& self) { return View(self.input, self.input_bytes); },
          "The batch: an Arrow stream, which may be written to.")
      .def_ro("groups", &LocalTask::groups)
      .def("output", &Output, nb::arg("bytes"), "Memory for the result, inside the budget.")
      .def("tell_stuck", &LocalTask::TellStuck, nb::arg("stack"), nb::call_guard<Unlocked>(),
           "It takes long: where the function is.")
      .def("finish", &Finish, nb::arg("words"), "The answer, as JSON.");
  nb::class_<LocalJobs>(m, "LocalJobs", "Batches of a step whose function runs in this process.")
      .def_prop_ro("setup", [](const LocalJobs& self) { return self.options().setup; })
      .def_prop_ro("payload",
                   [](const LocalJobs& self) {
                     const auto& payload = self.options().payload;
                     return payload ? nb::bytes(payload->data(), payload->size()) : nb::bytes("", 0);
                   })
      .def_prop_ro("threads", [](const LocalJobs& self) { return self.options().threads; })
      .def_prop_ro("closed", &LocalJobs::closed, "Whether no batch will come any more.")
      .def("next", &LocalJobs::Next, nb::call_guard<Unlocked>(), "The next batch, or None at the end.")
      .def(
          "fail", [](LocalJobs& self, const std::string& text) { self.Fail(UserError(text)); },
          nb::arg("text"), nb::call_guard<Unlocked>(), "No batch can be run.");
  m.def("end_local", &EndLocal, "No function of this process gives or takes a batch any more.");
  m.def("set_local_host", &SetHost, nb::arg("start"), "Who starts the threads of functions in this process.");
}

}  // namespace partita::python
