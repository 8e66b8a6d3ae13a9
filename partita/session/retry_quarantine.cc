#include "partita/session/session.h"

namespace partita {

Result<RunResult> Session::RetryQuarantine(const CompiledPlan& compiled, const RunOptions& options, RunControl control) {
  return UserError("retrying quarantined rows is not built yet");
}

}  // namespace partita
