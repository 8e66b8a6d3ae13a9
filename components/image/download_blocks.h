// From finished downloads to blocks: checks bodies (image, hash), reports bad rows, counts, and cuts the
// output in pieces. The part of the download steps that costs CPU; it never runs on the event loop's thread.
// Stateless; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "components/image/download.h"
#include "partita/operator/operator.h"

namespace partita {

struct DownloadColumns {
  std::string url = "url";
  std::string output = "bytes";
  std::string compute_hash;                // "md5", "sha256", "sha512": also the column's name; empty: none
  std::string verify_column, verify_kind;  // empty: not verified
  bool keep_failed = false;                // failed rows stay, with null bytes, and status columns are added
  bool must_be_image = false;
};

// The input's columns, then those that the step adds; a column of the same name is replaced in its place.
Result<std::shared_ptr<arrow::Schema>> DownloadOutputSchema(const DownloadColumns& columns,
                                                            const std::shared_ptr<arrow::Schema>& input);

// The text of a cell of a string or dictionary-of-strings column; null where it is null.
Result<std::optional<std::string>> TextAt(const arrow::Array& array, int64_t row);

// `results` has one entry a row of `in`; bodies are let go of as they are copied. Rows that failed go to
// ctx.errors. A status that is not about one row (cancelled, out of memory) is returned.
Result<std::vector<Block>> AssembleDownloads(const DownloadColumns& columns,
                                             const std::shared_ptr<arrow::Schema>& output, const Block& in,
                                             std::vector<DownloadResult>* results,
                                             const OperatorContext& ctx);

}  // namespace partita
