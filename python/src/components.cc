// The registry of steps, for help, docs and the checks that Python makes early.
#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"
#include "python/src/bindings.h"

namespace partita::python {
namespace {

Json ArgJson(const ArgSpec& arg) {
  Json out = {{"name", arg.name},
              {"type", std::string(ArgTypeName(arg.type))},
              {"required", arg.required},
              {"doc", arg.doc}};
  out["default"] = Json::parse(arg.default_json, nullptr, /*allow_exceptions=*/false);
  if (!arg.choices.empty()) out["choices"] = arg.choices;
  if (arg.min) out["min"] = *arg.min;
  if (arg.max) out["max"] = *arg.max;
  return out;
}

std::string StepsJson() {
  Json steps = Json::array();
  for (const StepSpec* spec : AllSteps()) {
    Json args = Json::array();
    for (const ArgSpec& arg : spec->args) args.push_back(ArgJson(arg));
    steps.push_back({{"name", spec->name},
                     {"version", spec->version},
                     {"kind", std::string(StepKindName(spec->kind))},
                     {"summary", spec->summary},
                     {"args", std::move(args)},
                     {"aliases", spec->aliases},
                     {"volatile", spec->is_volatile},
                     {"exchange", spec->is_exchange},
                     {"internal", spec->is_internal}});
  }
  return CanonicalJson(steps);
}

}  // namespace

void BindComponents(nb::module_& m) {
  m.def("steps", StepsJson, "All registered steps as JSON: name, kind, summary, args.");
}

}  // namespace partita::python
