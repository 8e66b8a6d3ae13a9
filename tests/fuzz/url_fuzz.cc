// A URL as a hostile server or dataset writes it: what is parsed has one host, and nothing in it splits a
// request.
#include <cctype>

#include "components/image/download_url.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  const std::string_view text = fuzz::Text(data, size);
  FUZZ_CHECK(RedactUrl(text).size() <= 400, "a long text for people");
  (void)IsPrivateLiteral(text);
  const auto url = ParseHttpUrl(text);
  if (!url.ok()) {
    FUZZ_CHECK(KindOf(url.status()) == ErrorKind::kData, RenderError(url.status()));
    return 0;
  }
  FUZZ_CHECK(!url->host.empty() && url->path.starts_with("/"), url->text);
  for (const unsigned char c : url->text) FUZZ_CHECK(c > ' ' && c != 127, url->text);  // splits no request
  FUZZ_CHECK(url->text.find('#') == std::string::npos, url->text);
  (void)IsPrivateLiteral(url->host);
  // Not always the same URL: libcurl reads numbers as an address only where they are not escaped. The address
  // that is connected to is looked at, whatever the name was.
  (void)ParseHttpUrl(url->text);
  return 0;
}
