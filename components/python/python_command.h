// Which interpreter runs Python steps, and where the worker's code is.
#pragma once

#include <string>
#include <vector>

#include "partita/base/error.h"

namespace partita {

struct PythonRuntime {
  std::string executable;             // "": the environment variable PARTITA_PYTHON, else python3
  std::string worker;                 // the worker's __main__.py; "": that of the package partita
  std::vector<std::string> sys_path;  // of the process that made the functions
  int log_level = 30;                 // of its root logger, which workers take over
};

// Set by the Python package, before a run; thread-safe.
void SetPythonRuntime(PythonRuntime runtime);
PythonRuntime GetPythonRuntime();
// The command that starts a fork server.
std::vector<std::string> PythonCommand();

}  // namespace partita
