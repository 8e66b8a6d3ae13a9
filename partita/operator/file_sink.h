// The sink that writes files of any format: cuts them by rows and logical bytes, splits rows over Hive
// folders, names files by partition so that a retry or a resume writes the same names.
//
//   part-<partition:05d>-<file:03d><extension>, below <key>=<value>/… with `partition_by`
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

struct FileSinkInit {
  const PlanSink* sink = nullptr;  // outlives the sink
  int64_t partition = 0;           // of the dataset
  std::string attempt;             // distinguishes temporary files of attempts
  std::string temporary_dir;       // exists
  std::string location;            // what the paths of the files will be relative to
  std::string spill_dir;
  Env* env = nullptr;
};
Result<std::unique_ptr<Sink>> MakeFileSink(FileSinkInit init);

}  // namespace partita
