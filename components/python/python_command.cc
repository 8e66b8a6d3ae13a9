#include "components/python/python_command.h"

#include <cstdlib>
#include <mutex>

namespace partita {
namespace {

std::mutex& Mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

PythonRuntime& Runtime() {
  static auto* runtime = new PythonRuntime();
  return *runtime;
}

// find_spec does not run the package: the worker needs none of it.
constexpr const char* kFindWorker =
    "import importlib.util, runpy, sys\n"
    "spec = importlib.util.find_spec('partita')\n"
    "if spec is None: sys.exit('this Python has no package partita: pip install partita, or name another "
    "Python "
    "with PARTITA_PYTHON')\n"
    "runpy.run_path(spec.submodule_search_locations[0] + '/worker/__main__.py', run_name='__main__')\n";

}  // namespace

void SetPythonRuntime(PythonRuntime runtime) {
  const std::lock_guard lock(Mutex());
  Runtime() = std::move(runtime);
}

PythonRuntime GetPythonRuntime() {
  const std::lock_guard lock(Mutex());
  return Runtime();
}

std::vector<std::string> PythonCommand() {
  const PythonRuntime runtime = GetPythonRuntime();
  std::string python = runtime.executable;
  if (const char* named = std::getenv("PARTITA_PYTHON"); python.empty() && named != nullptr) python = named;
  if (python.empty()) python = "python3";
  if (runtime.worker.empty()) return {python, "-c", kFindWorker};
  return {python, runtime.worker};
}

}  // namespace partita
