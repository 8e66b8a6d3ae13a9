// What a server of S3 answers: paths of elements are as deep as they may be, and the first of a path is found.
#include <algorithm>
#include <map>

#include "partita/storage/s3/xml.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  const std::string_view xml = fuzz::Text(data, size);
  std::map<std::string, std::string> first;
  const Status status = ReadXml(xml, [&](const std::string& path, const std::string& text) {
    FUZZ_CHECK(std::count(path.begin(), path.end(), '/') < 16 || path.size() < size, path);
    FUZZ_CHECK(text.size() <= size, text);
    first.emplace(path, text);
  });
  for (const auto& [path, text] : first) FUZZ_CHECK(XmlText(xml, path) == text, path);
  if (!status.ok()) FUZZ_CHECK(KindOf(status) == ErrorKind::kEnvironment, RenderError(status));
  return 0;
}
