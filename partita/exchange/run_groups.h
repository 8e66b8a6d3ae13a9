// Fewer runs of more runs: where one frame of each would not fit in memory, consecutive runs are merged to
// scratch files first, so that their order stays.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "partita/operator/operator.h"
#include "partita/runs/merge.h"

namespace partita {

class RunGroups {
 public:
  // `schema`: the columns of the run files. `scratch`: the prefix of the paths of scratch files, of this
  // attempt alone; they are removed when this dies.
  RunGroups(Env* env, std::shared_ptr<arrow::Schema> schema, KeysOf keys_of, std::string scratch,
            int64_t frame_bytes);
  ~RunGroups();
  // Until at most `most` are left. After OutOfMemory it may be called again.
  Status Reduce(size_t most, std::vector<RunSlice>* slices, const OperatorContext& ctx);

 private:
  Result<RunSlice> Merge(std::vector<RunSlice> group, const OperatorContext& ctx);

  Env* env_;
  std::shared_ptr<arrow::Schema> schema_;
  KeysOf keys_of_;
  std::string scratch_;
  int64_t frame_bytes_;
  std::vector<std::string> files_;
  size_t next_ = 0;  // where the next group begins
};

}  // namespace partita
