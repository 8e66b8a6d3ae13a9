// Makes the steps that run Python functions known. Called by components/register.cc.
#pragma once

namespace partita {

void RegisterPythonComponents();

}  // namespace partita
