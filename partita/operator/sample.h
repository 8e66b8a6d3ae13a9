// sample: keeps a row when a keyed hash of (seed, input, partition, ordinal), as a number from 0 to 1, lies
// from offset to offset + fraction. So what is kept depends on where a row stands in its source alone, never
// on blocks, threads or other rows.
//
// Args: {"fraction": 0.1, "offset": 0.0, "seed": 0, "input": 0}. `input` is added by compile: behind a union
// it tells rows of several sources apart.
#pragma once

#include <memory>

#include "partita/operator/operator.h"

namespace partita {

Result<std::unique_ptr<Transform>> MakeSample(const TransformInit& init);

}  // namespace partita
