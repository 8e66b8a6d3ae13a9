// A URL as a hostile server or dataset writes it: what is parsed is stable, and its host stays one host.
#include <cctype>

#include "components/image/download_url.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  const std::string_view text = fuzz::Text(data, size);
  FUZZ_CHECK(RedactUrl(text).size() <= 400, "a long text for people");
  (void)IsPrivateLiteral(text);
  auto url = ParseHttpUrl(text);
  if (!url.ok()) {
    FUZZ_CHECK(KindOf(url.status()) == ErrorKind::kData, RenderError(url.status()));
    return 0;
  }
  FUZZ_CHECK(!url->host.empty() && url->path.starts_with("/"), url->text);
  for (const unsigned char c : url->text) FUZZ_CHECK(c > ' ' && c != 127, url->text);  // splits no request
  FUZZ_CHECK(url->text.find('#') == std::string::npos, url->text);
  (void)IsPrivateLiteral(url->host);
  // An empty query is in the path that robots.txt is asked about, and not in the text.
  if (url->path.ends_with("?")) url->path.pop_back();
  const auto again = ParseHttpUrl(url->text);
  FUZZ_CHECK(
      again.ok() && again->text == url->text && again->origin == url->origin && again->path == url->path,
      url->text);
  return 0;
}
