// A plan as hostile JSON: what is accepted must be written and read again as the same plan.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "partita/base/json.h"
#include "partita/plan/plan.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = partita::ParseJson(std::string_view(reinterpret_cast<const char*>(data), size));
  if (!json.ok()) return 0;
  const auto plan = partita::Plan::FromJson(*json);
  if (!plan.ok()) {
    if (partita::KindOf(plan.status()) != partita::ErrorKind::kUser) std::abort();
    return 0;
  }
  const auto again = partita::Plan::FromJson(plan->ToJson());
  if (!again.ok() || again->Hash() != plan->Hash()) std::abort();
  return 0;
}
