// Reads WebDataset tars: consecutive members with one key are a sample, a sample is a row. Internal to
// storage/.
#pragma once

#include <memory>
#include <vector>

#include "partita/storage/format.h"
#include "partita/storage/webdataset/tar_reader.h"

namespace partita {

// Reader of one whole tar. A bad sample (a hostile member name, an extension twice, text that is not UTF-8)
// is a data error with a row, after the samples before it; the next call goes on behind it. A damaged archive
// is an error without a row, which stays.
Result<std::unique_ptr<FragmentReader>> OpenWebDatasetReader(ReadRequest request);

// The extensions of the first samples, in order of first occurrence. At most `max_samples`, and `max_bytes`
// of the archive.
Result<std::vector<std::string>> ListExtensions(TarReader* tar, int64_t max_samples, int64_t max_bytes);

}  // namespace partita
