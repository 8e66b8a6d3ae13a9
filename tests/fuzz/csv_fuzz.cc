// CSV records: cutting into cells never reads outside, and the scanner finds the same record ends in one
// piece and in two.
#include <arrow/memory_pool.h>

#include <cstdlib>

#include "partita/storage/csv/parser.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  partita::CsvOptions options;
  options.escape = (data[0] & 1) != 0 ? '\\' : '\0';
  options.quote = (data[0] & 2) != 0 ? '\0' : '"';
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t cut = text.empty() ? 0 : data[1] % text.size();

  partita::CsvRecordScanner whole(options), pieces(options);
  const int64_t end = whole.LastEnd(text);
  const int64_t first = pieces.LastEnd(text.substr(0, cut)), second = pieces.LastEnd(text.substr(cut));
  if (end != (second >= 0 ? second + static_cast<int64_t>(cut) : first)) std::abort();

  partita::CsvTokenizer tokenizer(options, arrow::default_memory_pool());
  std::vector<partita::CsvCell> cells;
  size_t bytes = 0;
  if (tokenizer.Split(text, &cells).ok()) {
    for (const auto& cell : cells) bytes += cell.text.size();
    if (bytes > text.size()) std::abort();
  }
  return 0;
}
