// Words of a command line: positional arguments, the run options of session/options.h, and the verb's own
// flags.
#pragma once

#include <map>
#include <optional>
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

// What a verb takes: its help is made of it, and its words are checked against it.
struct VerbSpec {
  std::string usage;        // "run FILE [OPTIONS]"
  std::string description;  // a paragraph
  size_t min_positional = 0, max_positional = 0;
  std::vector<FlagSpec> flags;
  bool run_options = false;
  std::string examples;  // lines, each indented by two
};

struct Arguments {
  std::vector<std::string> positional;
  std::map<std::string, std::vector<std::string>> flags;
  std::vector<std::pair<std::string, std::string>>
      run_options;  // in order, applied over file and environment
  bool help = false;

  bool Has(const std::string& name) const { return flags.contains(name); }
  std::string Get(const std::string& name, std::string fallback = "") const;
};

// `--name value`, `--name=value`, `--` ends flags. Unknown flags, a switch with a value, a value that is
// missing and a flag given twice that does not repeat are user errors; the nearest right name is told.
Result<Arguments> ParseArguments(const std::vector<std::string>& words, const VerbSpec& spec);
std::string HelpText(const VerbSpec& spec);

// The arguments of a verb. Nothing: help or an error was printed, and `exit_code` is what the verb returns.
std::optional<Arguments> ParseVerb(const std::vector<std::string>& words, const VerbSpec& spec,
                                   int* exit_code);

// The pipeline file's options, over them the environment, over them the command line.
Result<RunOptions> OptionsOf(const Arguments& arguments, const Json& file_options);

// A whole number that is at least `least`.
Result<int64_t> ParseNumber(const std::string& flag, const std::string& text, int64_t least);

// Prints the error to stderr and returns its exit code.
int Report(const Status& status);

}  // namespace partita::cli
