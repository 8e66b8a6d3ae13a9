// pipeline.yaml as hostile text: read it, and what is read must survive being written and read again.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "partita/pipeline/pipeline.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto pipeline = partita::ParsePipelineYaml(text, "fuzz.yaml", {{"n", "5"}});
  const auto without = partita::ParsePipelineYaml(text, "fuzz.yaml", {});
  for (const auto* read : {&pipeline, &without}) {
    if (!read->ok()) {
      if (partita::KindOf(read->status()) != partita::ErrorKind::kUser) std::abort();
      continue;
    }
    const auto from_json = partita::Pipeline::FromJson((*read)->ToJson());
    if (!from_json.ok()) std::abort();
    const auto again = partita::ParsePipelineYaml(partita::PipelineToYaml(**read), "fuzz.yaml", {});
    if (!again.ok() || again->steps.size() != (*read)->steps.size()) std::abort();
  }
  return 0;
}
