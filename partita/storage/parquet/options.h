// The arguments of write_parquet. Internal to the room.
#pragma once

#include <arrow/util/compression.h>

#include <cstdint>
#include <optional>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace partita {

struct ParquetOptions {
  arrow::Compression::type compression = arrow::Compression::ZSTD;
  std::optional<int> compression_level;  // none: the codec's own default
  // As many rows as other writers of Arrow data put in a row group; for rows of more than 128 B
  // row_group_bytes cuts first.
  int64_t row_group_rows = 1 << 20;
  int64_t row_group_bytes = 128 << 20;  // logical
  int64_t data_page_bytes = 1 << 20;
  bool dictionary = true;
  bool statistics = true;

  // Absent and null arguments keep the defaults above; `args` may be null.
  static Result<ParquetOptions> FromArgs(const Json* args);
};

}  // namespace partita
