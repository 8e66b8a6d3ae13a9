// Line splitting by byte ranges: any cut of any text into two ranges gives the lines of the whole. The first
// byte chooses cut and piece size.
#include <arrow/memory_pool.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "partita/storage/text/line_reader.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

std::string Lines(std::string_view text, partita::LineRange range, int64_t piece_bytes) {
  const auto offset = static_cast<size_t>(partita::LineReader::SourceOffset(range));
  partita::LineReader reader(
      std::make_unique<partita::fuzz::MemorySource>(text.substr(std::min(offset, text.size()))), range,
      piece_bytes, -1, nullptr, arrow::default_memory_pool());
  std::string out;
  while (true) {
    auto piece = reader.Next();
    if (!piece.ok()) std::abort();
    if (piece->empty()) return out;
    out += *piece;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const int64_t piece_bytes = 1 + data[1] % 64;
  const int64_t cut = text.empty() ? 0 : static_cast<int64_t>(data[0] % (text.size() + 1));
  const std::string whole = Lines(text, {}, piece_bytes);
  if (cut == 0) return 0;
  const std::string halves =
      Lines(text, {0, cut}, piece_bytes) + Lines(text, {cut, INT64_MAX}, piece_bytes + 7);
  if (halves != whole) std::abort();
  return 0;
}
