#include "partita/pipeline/builtin_steps.h"

#include <arrow/util/logging.h>

#include <mutex>

namespace partita {

void RegisterBuiltinSteps() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (auto list : {BuiltinSources, BuiltinTransforms, BuiltinExchanges, BuiltinSinks}) {
      for (StepSpec& spec : list()) ARROW_CHECK_OK(RegisterStep(std::move(spec)));
    }
  });
}

}  // namespace partita
