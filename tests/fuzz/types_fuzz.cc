// A type as hostile text: what is parsed is written and read again as the same type.
#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  const auto type = ParseType(fuzz::Text(data, size));
  if (!type.ok()) {
    FUZZ_CHECK(KindOf(type.status()) == ErrorKind::kUser, RenderError(type.status()));
    return 0;
  }
  const std::string text = TypeToString(**type);
  const auto again = ParseType(text);
  FUZZ_CHECK(again.ok() && TypeToString(**again) == text, text);
  const auto schema = SchemaFromJson(SchemaToJson(*arrow::schema({arrow::field("x", *type)})));
  FUZZ_CHECK(schema.ok() && TypeToString(*(*schema)->field(0)->type()) == text, text);
  return 0;
}
