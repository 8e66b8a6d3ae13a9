// The CSV writer. Internal to storage/; see docs/formats/csv.md.
#pragma once

#include <memory>

#include "partita/storage/format.h"

namespace partita {

Result<std::unique_ptr<FileWriter>> OpenCsvWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                  WriteRequest request);

}  // namespace partita
