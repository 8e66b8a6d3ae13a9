// local_shuffle: rows change places with those near them. A partition's rows are cut in windows of
// `buffer_rows` by their ordinal, and each window is put in the order of a keyed hash of (seed, input,
// partition, ordinal). So the order follows from where rows stand, never from blocks, memory or threads, and
// nothing but a window is in memory.
//
// Args: {"buffer_rows": 10000, "seed": 0, "input": 0}. `input` is added by compile, as for sample.
#pragma once

#include <memory>

#include "partita/operator/operator.h"

namespace partita {

Result<std::unique_ptr<AsyncTransform>> MakeLocalShuffle(const TransformInit& init);

}  // namespace partita
