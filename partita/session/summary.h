// What a run tells at its end: the command says it, whatever the engine.
#pragma once

#include <string>

#include "partita/base/json_fwd.h"
#include "partita/observe/observe.h"
#include "partita/session/session.h"

namespace partita {

// Datasets, bad rows with their reasons, memory and time; several lines. `on_workers`: the memory is of each
// of several.
std::string SummaryText(const RunResult& result, const Observer& observer, double seconds,
                        bool on_workers = false);
// What becomes of the work of a run that failed or was stopped; "" when nothing can be said.
std::string UnfinishedText(const Status& status, const Observer& observer);
// The one object of --json: status, datasets, stats, record; `error` when the run failed.
Json SummaryJson(const RunResult& result, const Observer& observer, double seconds);
Json FailureJson(const Status& status, const Observer& observer, double seconds);
// {"kind": "user", "message": …, "step": …, "exit_code": 2}: what is known of an error.
Json ErrorJson(const Status& status);

}  // namespace partita
