// robots.txt and X-Robots-Tag from hostile servers. The first line is the path that is asked for, or the
// header; the rest the file.
#include <cmath>

#include "components/image/robots.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  std::string_view text = fuzz::Text(data, size);
  const size_t line = std::min(text.find('\n'), text.size());
  const std::string path = "/" + std::string(text.substr(0, line));
  const auto rules = RobotsRules::Parse(text.substr(line), {"partita", "img2dataset"});
  (void)rules.Allows(path);
  FUZZ_CHECK(rules.Allows("/robots.txt") || rules.memory_bytes() > 0, "refused by no rule");
  if (const auto delay = rules.crawl_delay_s())
    FUZZ_CHECK(std::isfinite(*delay) && *delay >= 0, "a delay of no sense");
  const std::string forbidden = ForbiddenByRobotsTag(text.substr(0, line), {"noai", "noindex"}, {"partita"});
  FUZZ_CHECK(forbidden.empty() || forbidden == "noai" || forbidden == "noindex" || forbidden == "none",
             forbidden);
  (void)ProductToken(text.substr(0, line));
  return 0;
}
