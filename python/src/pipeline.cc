// Pipelines: values that cross as JSON and YAML text.
#include "partita/pipeline/pipeline.h"

#include <nanobind/stl/map.h>

#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"
#include "python/src/bindings.h"

namespace partita::python {

void BindPipeline(nb::module_& m) {
  nb::class_<Pipeline>(m, "Pipeline", "A pipeline as the engine takes it. Immutable.")
      .def_static(
          "from_json",
          [](const std::string& text) {
            return ValueOrThrow(Pipeline::FromJson(ValueOrThrow(ParseJson(text))));
          },
          nb::arg("text"))
      .def_static(
          "from_yaml",
          [](const std::string& text, const std::string& file,
             const std::map<std::string, std::string>& set) {
            return ValueOrThrow(ParsePipelineYaml(text, file, set));
          },
          nb::arg("text"), nb::arg("file"), nb::arg("set"))
      .def("to_json", [](const Pipeline& self) { return CanonicalJson(self.ToJson()); })
      .def("to_yaml", &PipelineToYaml);
  m.def(
      "check_step",
      [](const std::string& op, const std::string& args) {
        const StepSpec* spec = FindStep(op);
        if (spec == nullptr) throw StatusError(UnknownStep(op));
        auto normal = NormaliseArgs(*spec, ValueOrThrow(ParseJson(args)));
        if (!normal.ok()) throw StatusError(normal.status());
        return std::string(spec->name);
      },
      nb::arg("op"), nb::arg("args"),
      "Checks a step's arguments; returns the step's name (an alias is resolved).");
}

}  // namespace partita::python
