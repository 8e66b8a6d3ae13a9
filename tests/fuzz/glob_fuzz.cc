// Glob patterns and what people type as bytes and seconds. The first line is the pattern, the second the
// name.
#include "partita/base/units.h"
#include "partita/storage/file_system.h"
#include "partita/storage/glob.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  const std::string_view text = fuzz::Text(data, size);
  const size_t line = std::min(text.find('\n'), text.size());
  const std::string_view pattern = text.substr(0, line);
  const std::string_view name = text.substr(std::min(line + 1, text.size()));
  (void)HasGlob(pattern);
  const auto expanded = ExpandBraces(pattern);
  if (expanded.ok()) {
    for (const auto& one : *expanded) (void)MatchesGlob(one, name);
  } else {
    fuzz::CheckKind(expanded.status());
  }
  FUZZ_CHECK(MatchesGlob("*", name), name);
  (void)UnescapeGlob(pattern);
  (void)PercentDecode(pattern);
  if (const auto path = LocalPath(pattern); !path.ok()) fuzz::CheckKind(path.status());
  const auto bytes = ParseBytes(pattern);
  if (bytes.ok()) FUZZ_CHECK(*bytes >= 0 && !FormatBytes(*bytes).empty(), pattern);
  const auto seconds = ParseSeconds(pattern);
  if (seconds.ok()) FUZZ_CHECK(*seconds >= 0, pattern);
  return 0;
}
