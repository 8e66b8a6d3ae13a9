#include "cli/arguments.h"

#include <cstdio>
#include <cstdlib>

#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita::cli {

std::string Arguments::Get(const std::string& name, std::string fallback) const {
  auto it = flags.find(name);
  return it == flags.end() || it->second.empty() ? std::move(fallback) : it->second.back();
}

Result<Arguments> ParseArguments(const std::vector<std::string>& words, const std::vector<FlagSpec>& flags, bool run_options) {
  Arguments result;
  for (size_t i = 0; i < words.size(); ++i) {
    std::string word = words[i];
    if (word == "--") {
      result.positional.insert(result.positional.end(), words.begin() + static_cast<std::ptrdiff_t>(i) + 1, words.end());
      break;
    }
    if (word == "-h" || word == "--help") {
      result.help = true;
      continue;
    }
    if (word == "-o") word = "--output";
    if (word.size() < 3 || !word.starts_with("--")) {
      result.positional.push_back(word);
      continue;
    }
    std::string name = word.substr(2), value;
    const auto equals = name.find('=');
    const bool inline_value = equals != std::string::npos;
    if (inline_value) {
      value = name.substr(equals + 1);
      name.resize(equals);
    }
    bool known = false, takes_value = false, is_option = false;
    std::vector<std::string> names;
    for (const auto& flag : flags) {
      names.push_back(flag.name);
      if (flag.name == name) known = true, takes_value = !flag.value.empty();
    }
    if (run_options) {
      for (const auto& spec : RunOptionSpecs()) {
        names.push_back(spec.name);
        if (spec.name == name) known = is_option = true, takes_value = !spec.value.empty();
      }
    }
    if (!known) {
      const auto nearest = NearestName(name, names);
      return UserError("unknown option --" + name, nearest.empty() ? "see --help" : "did you mean --" + nearest + "?");
    }
    if (takes_value && !inline_value) {
      if (i + 1 == words.size()) return UserError("option --" + name + " needs a value");
      value = words[++i];
    }
    if (!takes_value && !inline_value) value = "true";
    if (is_option) {
      result.run_options.emplace_back(name, value);
    } else {
      result.flags[name].push_back(value);
    }
  }
  return result;
}

std::string FlagHelp(const std::vector<FlagSpec>& flags, bool run_options) {
  std::string text;
  const auto line = [&](const std::string& name, const std::string& value, const std::string& doc) {
    std::string head = "  --" + name + (value.empty() ? "" : " " + value);
    head.resize(std::max<size_t>(head.size() + 2, 30), ' ');
    text += head + doc + "\n";
  };
  for (const auto& flag : flags) line(flag.name, flag.value, flag.doc);
  if (run_options) {
    text += "\nRun options (also PARTITA_<NAME>, pt.options, and `options:` of the file):\n";
    for (const auto& spec : RunOptionSpecs()) line(spec.name, spec.value, spec.doc + " [" + spec.default_text + "]");
  }
  return text;
}

Result<RunOptions> OptionsOf(const Arguments& arguments, const Json& file_options) {
  RunOptions options;
  ARROW_RETURN_NOT_OK(ApplyJson(&options, file_options));
  ARROW_RETURN_NOT_OK(ApplyEnvironment(&options, [](const std::string& name) { return std::getenv(name.c_str()); }));
  for (const auto& [name, value] : arguments.run_options) ARROW_RETURN_NOT_OK(SetOption(&options, name, value));
  return options;
}

int Report(const Status& status) {
  if (!status.ok()) std::fprintf(stderr, "%s\n", RenderError(status).c_str());
  return ExitCodeOf(status);
}

}  // namespace partita::cli
