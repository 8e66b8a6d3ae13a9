// Run options: the table of session/options.h as Python sees it.
#include <cstdlib>

#include "partita/base/env.h"
#include "partita/base/json.h"
#include "python/src/bindings.h"

namespace partita::python {
namespace {

std::string OptionSpecsJson() {
  Json specs = Json::array();
  for (const OptionSpec& spec : RunOptionSpecs()) {
    specs.push_back(
        {{"name", spec.name}, {"value", spec.value}, {"default", spec.default_text}, {"doc", spec.doc}});
  }
  return CanonicalJson(specs);
}

}  // namespace

Result<RunOptions> MakeRunOptions(const Json& file_options, const OptionPairs& given) {
  RunOptions options;
  ARROW_RETURN_NOT_OK(
      ApplyEnvironment(&options, [](const std::string& name) { return std::getenv(name.c_str()); }));
  ARROW_RETURN_NOT_OK(ApplyJson(&options, file_options));
  for (const auto& [name, value] : given) ARROW_RETURN_NOT_OK(SetOption(&options, name, value));
  return options;
}

void BindOptions(nb::module_& m) {
  m.def("option_specs", OptionSpecsJson, "The run options as JSON: name, value, default, doc.");
  m.def(
      "check_option",
      [](const std::string& name, const std::string& value) {
        RunOptions options;
        Check(SetOption(&options, name, value));
      },
      nb::arg("name"), nb::arg("value"), "Raises a UserError where the option or its value is wrong.");
  m.def(
      "resolve_options",
      [](const OptionPairs& given) {
        const RunOptions options = ValueOrThrow(MakeRunOptions(Json::object(), given));
        const RunOptions resolved = ValueOrThrow(ResolveOptions(options, Env::Default()));
        OptionPairs pairs;
        for (const OptionSpec& spec : RunOptionSpecs()) pairs.emplace_back(spec.name, spec.get(resolved));
        return pairs;
      },
      nb::arg("given"), "Environment and `given`, with the defaults of this machine filled in.");
}

}  // namespace partita::python
