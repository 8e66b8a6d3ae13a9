// Manifests and snapshots as hostile JSON: what is read is written and read again as the same; no file of a
// manifest lies outside its folder.
#include "partita/base/json.h"
#include "partita/dataset/manifest.h"
#include "partita/dataset/snapshot.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  const std::string_view text = fuzz::Text(data, size);
  const auto manifest = Manifest::FromText(text);
  if (manifest.ok()) {
    for (const auto& partition : manifest->partitions) {
      for (const auto& file : partition.files) FUZZ_CHECK(IsSafeRelativePath(file.path), file.path);
    }
    const auto again = Manifest::FromText(manifest->ToText());
    FUZZ_CHECK(again.ok() && again->ToText() == manifest->ToText(), manifest->ToText());
  } else {
    fuzz::CheckKind(manifest.status());
  }
  const auto json = ParseJson(text);
  if (!json.ok()) return 0;
  const auto snapshot = Snapshot::FromJson(*json);
  if (snapshot.ok()) {
    const auto again = Snapshot::FromJson(snapshot->ToJson());
    FUZZ_CHECK(again.ok() && again->Hash() == snapshot->Hash(), PrettyJson(snapshot->ToJson()));
  } else {
    fuzz::CheckKind(snapshot.status());
  }
  return 0;
}
