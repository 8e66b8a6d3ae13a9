// Partita for C++ programs: declare a pipeline, run it, or take its rows. See examples/cmake/ for a complete program.
//
//   partita::RegisterAll();                       // once: built-in steps and components
//   partita::Pipeline pipeline;
//   partita::AddStep(&pipeline, {.op = "read_parquet", .args = {{"path", "in/"}}});
//   ...
#pragma once

#include "partita/session/session.h"

namespace partita {

// Makes all steps known: the built-in ones and the components. Idempotent; call it before compiling a pipeline.
void RegisterAll();

}  // namespace partita
