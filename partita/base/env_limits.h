// Machine limits as values of the files the kernel shows them in. Private to this room.
#pragma once

#include <string>

#include "partita/base/env.h"

namespace partita {

// Reads <root>/proc and the cgroup mounts below <root>; tests give a made-up root. `affinity_cpus` is what
// the scheduler allows the process.
Result<MachineLimits> ReadMachineLimits(const std::string& root, int affinity_cpus);
Result<ProcessMemory> ReadProcessMemory(const std::string& root);
int AffinityCpus();

}  // namespace partita
