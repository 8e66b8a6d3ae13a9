// A name for rows: equal digests mean equal schema and equal rows in the same order. However the rows are cut
// into batches, sliced or padded, and whatever lies hidden behind a null, the digest is the same. A
// dictionary or runs count as they are: the same values encoded otherwise have another digest.
//
// One pass at about memory speed (XXH3, 128 bit). Not a defence against rows made to collide.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

// Lower-case hex.
Result<std::string> ContentDigest(const arrow::Schema& schema,
                                  const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches);

}  // namespace partita
