// Words of a command line: positional arguments, the run options of session/options.h, and the verb's own flags.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "partita/session/options.h"

namespace partita::cli {

struct FlagSpec {
  std::string name;   // "set"
  std::string value;  // "NAME=VALUE"; "" for a switch
  std::string doc;
  bool repeats = false;
};

struct Arguments {
  std::vector<std::string> positional;
  std::map<std::string, std::vector<std::string>> flags;
  std::vector<std::pair<std::string, std::string>> run_options;  // in order, applied over file and environment
  bool help = false;

  bool Has(const std::string& name) const { return flags.contains(name); }
  std::string Get(const std::string& name, std::string fallback = "") const;
};

// `--name value`, `--name=value`, `--` ends flags. Unknown flags are user errors with the nearest right one.
Result<Arguments> ParseArguments(const std::vector<std::string>& words, const std::vector<FlagSpec>& flags, bool run_options);
std::string FlagHelp(const std::vector<FlagSpec>& flags, bool run_options);

// Environment, then the pipeline file's options, then the command line.
Result<RunOptions> OptionsOf(const Arguments& arguments, const Json& file_options);

// Prints the error to stderr and returns its exit code.
int Report(const Status& status);

}  // namespace partita::cli
