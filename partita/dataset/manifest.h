// The manifest: what a written dataset is. The last file of a run; a folder without one is not finished. No
// time, host or run id inside, so that equal data has equal manifests. See docs/formats/manifest.md.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/dataset/commit_log.h"

namespace arrow {
class Schema;
}

namespace partita {

inline constexpr std::string_view kManifestName = "_manifest.json";

struct ManifestPartition {
  int64_t partition = 0;
  std::vector<CommittedFile> files;
};

struct Manifest {
  int version = 1;
  std::string format;
  std::shared_ptr<arrow::Schema> schema;
  std::string plan_hash, snapshot_hash;
  int64_t num_rows = 0;
  std::vector<ManifestPartition> partitions;  // with at least one file, ascending

  std::string ToText() const;
  static Result<Manifest> FromText(std::string_view text);
  static Result<Manifest> Read(Env* env, const std::string& folder);
};

}  // namespace partita
