#include "cli/arguments.h"

#include <charconv>
#include <cstdio>
#include <cstdlib>

#include "cli/table.h"
#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita::cli {
namespace {

constexpr size_t kHelpWidth = 110;
constexpr size_t kHelpColumn = 26;

// What `--name` may be: a flag of the verb or a run option.
struct Known {
  bool takes_value = false;
  bool is_option = false;
  bool repeats = false;
};

Result<Known> FindFlag(const std::string& name, const VerbSpec& spec) {
  std::vector<std::string> names;
  for (const auto& flag : spec.flags) {
    if (flag.name == name) return Known{!flag.value.empty(), false, flag.repeats};
    names.push_back(flag.name);
  }
  if (spec.run_options) {
    for (const auto& option : RunOptionSpecs()) {
      if (option.name == name) return Known{!option.value.empty(), true, true};
      names.push_back(option.name);
    }
  }
  const auto nearest = NearestName(name, names);
  return UserError("unknown option --" + name,
                   nearest.empty() ? "see --help" : "did you mean --" + nearest + "?");
}

}  // namespace

std::string Arguments::Get(const std::string& name, std::string fallback) const {
  auto it = flags.find(name);
  return it == flags.end() || it->second.empty() ? std::move(fallback) : it->second.back();
}

Result<Arguments> ParseArguments(const std::vector<std::string>& words, const VerbSpec& spec) {
  Arguments result;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "--") {
      result.positional.insert(result.positional.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                               words.end());
      break;
    }
    if (word == "-h" || word == "--help") {
      result.help = true;
      continue;
    }
    if (word == "-o") word = "--output";
    if (!word.starts_with("-") || word == "-") {
      result.positional.push_back(word);
      continue;
    }
    if (!word.starts_with("--")) return UserError("unknown option " + word, "see --help");
    std::string name = word.substr(2), value;
    const auto equals = name.find('=');
    const bool inline_value = equals != std::string::npos;
    if (inline_value) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    ARROW_ASSIGN_OR_RAISE(const Known known, FindFlag(name, spec));
    if (known.takes_value && !inline_value) {
      if (i + 1 == words.size()) return UserError("option --" + name + " needs a value", "see --help");
      value = words[++i];
    }
    if (known.is_option) {  // a switch takes --fresh=false too
      result.run_options.emplace_back(name, known.takes_value || inline_value ? value : "true");
      continue;
    }
    if (!known.takes_value && inline_value) return UserError("option --" + name + " takes no value");
    auto& values = result.flags[name];
    if (!known.repeats && !values.empty()) return UserError("option --" + name + " is given twice");
    values.push_back(std::move(value));
  }
  return result;
}

std::string HelpText(const VerbSpec& spec) {
  std::string text = "Usage: partita " + spec.usage + "\n\n" + WrapText("", spec.description, 0, kHelpWidth);
  const auto line = [&](const std::string& name, const std::string& value, const std::string& doc) {
    text += WrapText("  --" + name + (value.empty() ? "" : " " + value), doc, kHelpColumn, kHelpWidth);
  };
  text += "\nOptions:\n";
  for (const auto& flag : spec.flags) line(flag.name, flag.value, flag.doc);
  line("help", "", "this text");
  if (spec.run_options) {
    text += "\nRun options (also PARTITA_<NAME> in the environment, and `options:` of the file):\n";
    for (const auto& option : RunOptionSpecs())
      line(option.name, option.value, option.doc + " [" + option.default_text + "]");
  }
  if (!spec.examples.empty()) text += "\nExamples:\n" + spec.examples;
  return text;
}

std::optional<Arguments> ParseVerb(const std::vector<std::string>& words, const VerbSpec& spec,
                                   int* exit_code) {
  auto arguments = ParseArguments(words, spec);
  if (arguments.ok() && arguments->help) {
    std::fputs(HelpText(spec).c_str(), stdout);
    *exit_code = 0;
    return std::nullopt;
  }
  Status status = arguments.status();
  if (status.ok()) {
    const size_t given = arguments->positional.size();
    if (given < spec.min_positional)
      status = UserError("an argument is missing: partita " + spec.usage, "see --help");
    if (given > spec.max_positional) {
      status = UserError(
          "there is no place for '" + arguments->positional[spec.max_positional] + "': partita " + spec.usage,
          "see --help");
    }
  }
  if (!status.ok()) {
    *exit_code = Report(status);
    return std::nullopt;
  }
  return std::move(*arguments);
}

Result<RunOptions> OptionsOf(const Arguments& arguments, const Json& file_options) {
  RunOptions options;
  ARROW_RETURN_NOT_OK(ApplyJson(&options, file_options));
  ARROW_RETURN_NOT_OK(
      ApplyEnvironment(&options, [](const std::string& name) { return std::getenv(name.c_str()); }));
  for (const auto& [name, value] : arguments.run_options)
    ARROW_RETURN_NOT_OK(SetOption(&options, name, value));
  return options;
}

Result<int64_t> ParseNumber(const std::string& flag, const std::string& text, int64_t least) {
  int64_t value = 0;
  const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (ec != std::errc() || end != text.data() + text.size() || value < least) {
    return UserError("option --" + flag + ": '" + text + "' is no whole number from " +
                     std::to_string(least) + " on");
  }
  return value;
}

int Report(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", RenderError(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace partita::cli
