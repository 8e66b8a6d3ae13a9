#include "cli/engines.h"

#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "partita/base/json.h"

namespace partita::cli {
namespace {

constexpr const char* kStart =
    "import importlib.util, os, runpy, sys\n"
    "if importlib.util.find_spec('partita') is None:\n"
    "    os.remove(sys.argv[1])\n"
    "    sys.stderr.write('environment error: ' + sys.executable + ' has no package partita, which this "
    "engine "
    "needs\\n  try: pip install partita, or name another Python with PARTITA_PYTHON\\n')\n"
    "    sys.exit(5)\n"
    "runpy.run_module('partita.engines', run_name='__main__', alter_sys=True)\n";

// The interpreter that this program was installed beside, else the first on the path.
std::string PythonProgram() {
  if (const char* named = std::getenv("PARTITA_PYTHON"); named != nullptr && *named != '\0') return named;
  std::error_code error;
  const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
  if (!error) {
    const auto beside = self.parent_path() / "python3";
    if (std::filesystem::exists(beside, error)) return beside.string();
  }
  return "python3";
}

}  // namespace

Status BecomeDriver(const CompiledPlan& compiled, const RunOptions& options, const Arguments& arguments) {
  Env* env = Env::Default();
  std::error_code error;
  const auto folder = std::filesystem::temp_directory_path(error);
  if (error) return EnvironmentError("there is no folder for temporary files: " + error.message());
  const std::string path = JoinPath(folder.string(), "partita-run-" + env->RandomHex(8) + ".json");
  Json values = Json::object();
  for (const auto& spec : RunOptionSpecs()) {
    const std::string value = spec.get(options);
    if (!value.empty()) values[spec.name] = value;
  }
  ARROW_RETURN_NOT_OK(WriteFileAtomically(env, path,
                                          CanonicalJson({{"compiled", compiled.ToText()},
                                                         {"options", std::move(values)},
                                                         {"json", arguments.Has("json")},
                                                         {"quiet", arguments.Has("quiet")}})));
  const std::string python = PythonProgram();
  std::vector<std::string> words = {python, "-c", kStart, path};
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  ::execvp(python.c_str(), argv.data());
  const int failed = errno;
  (void)env->RemoveFile(path);
  return EnvironmentError("the engine '" + options.engine + "' is driven by Python, and '" + python +
                              "' does not start: " + std::strerror(failed),
                          "install Python with the package partita, or name it with PARTITA_PYTHON",
                          /*retriable=*/false);
}

}  // namespace partita::cli
