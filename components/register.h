// Makes the ready steps known: call once at start-up, before compiling a pipeline. Idempotent.
#pragma once

namespace partita {

void RegisterComponents();

}  // namespace partita
