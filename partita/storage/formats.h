// The built-in formats, one factory each; format.cc lists them. Internal to the room. A format is a stateless
// singleton.
#pragma once

#include "partita/storage/format.h"

namespace partita {

const Format* ParquetFormat();
const Format* CsvFormat();
const Format* JsonlFormat();
const Format* TextFormat();
const Format* FilesFormat();
const Format* WebDatasetFormat();

}  // namespace partita
