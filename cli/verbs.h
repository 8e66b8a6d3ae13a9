// The verbs of the `partita` command. Each takes the words after its name and returns a documented exit code
// (partita/base/error.h: ExitCodeOf).
#pragma once

#include <string>
#include <vector>

namespace partita::cli {

struct Verb {
  const char* name;
  const char* summary;
  int (*run)(const std::vector<std::string>& args);
};

int Run(const std::vector<std::string>& args);
int Validate(const std::vector<std::string>& args);
int Compile(const std::vector<std::string>& args);
int Explain(const std::vector<std::string>& args);
int Inspect(const std::vector<std::string>& args);
int Components(const std::vector<std::string>& args);
int Task(const std::vector<std::string>& args);
int Schema(const std::vector<std::string>& args);

}  // namespace partita::cli
