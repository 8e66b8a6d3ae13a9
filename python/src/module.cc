// The native module of the Python package. Users import `partita`, never this.
#include <arrow/util/config.h>

#include "components/register.h"
#include "partita/operator/operator.h"
#include "partita/pipeline/step_spec.h"
#include "partita/session/session.h"
#include "python/src/bindings.h"

NB_MODULE(_partita, m) {
  using namespace partita::python;
  nb::set_leak_warnings(false);  // a dataset that a user's cycle keeps to the end is no error
  partita::RegisterBuiltinSteps();
  partita::RegisterBuiltinTransforms();
  partita::RegisterComponents();

  m.doc() = "The native side of the package partita.";
  m.attr("ARROW_MAJOR") = ARROW_VERSION_MAJOR;
  m.attr("BUILD_VERSION") = partita::BuildVersion();
  BindErrors(m);
  BindOptions(m);
  BindExpressions(m);
  BindFunctions(m);
  BindPipeline(m);
  BindComponents(m);
  BindObserver(m);
  BindStream(m);
  BindSession(m);
  BindIngest(m);
  BindEngines(m);
}
