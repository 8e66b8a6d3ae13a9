// The WebDataset writer: a tar whose bytes depend on rows, schema and arguments alone. Internal to storage/.
#pragma once

#include <memory>

#include "partita/storage/format.h"

namespace partita {

Result<std::unique_ptr<FileWriter>> OpenWebDatasetWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                         WriteRequest request);

}  // namespace partita
