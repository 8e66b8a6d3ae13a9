// What Python functions as steps need of the native side.
#include "components/python/python_command.h"
#include "partita/operator/payload.h"
#include "python/src/bindings.h"

namespace partita::python {

void BindFunctions(nb::module_& m) {
  m.def(
      "set_python_runtime",
      [](std::string executable, std::string worker, std::vector<std::string> sys_path) {
        SetPythonRuntime({std::move(executable), std::move(worker), std::move(sys_path)});
      },
      nb::arg("executable"), nb::arg("worker"), nb::arg("sys_path"),
      "Which interpreter runs the workers of Python steps, and what it can import.");
  m.def(
      "add_payload",
      [](const nb::bytes& bytes) {
        return ValueOrThrow(AddPayload(std::string(bytes.c_str(), bytes.size())));
      },
      nb::arg("bytes"), "Keeps bytes that plans name; returns the name.");
}

}  // namespace partita::python
