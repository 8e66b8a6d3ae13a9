// What a path of data is, as far as names and sizes tell: no data file is opened.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "partita/session/session.h"

namespace partita::cli {

struct Looked {
  std::string format;
  int64_t files = 0;
  int64_t bytes = -1;  // -1: not all sizes are known
  int64_t rows = -1;   // told by a manifest
  std::string first_file;
  bool has_hive_columns = false;
  std::string plan_hash;
  bool unfinished = false;  // a folder of Partita's without a manifest
};
// `format`: "" finds it by the manifest or the names of the files.
Result<Looked> LookAt(Env* env, const std::string& path, const std::string& format);

// The compiled plan in `path`, if that is what it holds.
Result<std::optional<CompiledPlan>> PlanAt(Env* env, const std::string& path);

// The pipeline with the first file alone as its source. Nothing where that would give other rows or columns:
// of one file, of Hive folders (whose names are columns), and of names that would be read as a glob.
std::optional<Pipeline> FirstFile(const Pipeline& pipeline, const Looked& looked);

// "a,b" -> ["a", "b"]
Json SplitNames(const std::string& text);

}  // namespace partita::cli
