#include "partita/operator/resources.h"

#include <algorithm>
#include <cstdlib>
#include <mutex>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr double kMost = 1e9;

Status Wrong(const std::string& part) {
  return UserError("resources must be like `licence=2,robot=1`, not '" + part + "'");
}

std::mutex& Mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

Resources& Current() {
  static auto* current = new Resources();
  return *current;
}

}  // namespace

Result<Resources> ParseResources(std::string_view text) {
  Resources found;
  if (text.starts_with('{')) {
    ARROW_ASSIGN_OR_RAISE(const Json json, ParseJson(std::string(text)));
    for (const auto& [name, count] : json.items()) {
      if (name.empty() || !count.is_number() || !(count.get<double>() >= 0 && count.get<double>() <= kMost))
        return Wrong(std::string(text));
      found[name] = count.get<double>();
    }
    return found;
  }
  for (std::string_view rest = text; !rest.empty();) {
    const std::string part(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const size_t equals = part.find('=');
    if (equals == std::string::npos || equals == 0) return Wrong(part);
    const char* number = part.c_str() + equals + 1;
    char* end = nullptr;
    const double count = std::strtod(number, &end);
    if (end == number || *end != '\0' || !(count >= 0 && count <= kMost)) return Wrong(part);
    found[part.substr(0, equals)] = count;
  }
  return found;
}

Status SetResources(std::string_view text) {
  ARROW_ASSIGN_OR_RAISE(Resources found, ParseResources(text));
  const std::lock_guard lock(Mutex());
  Current() = std::move(found);
  return Status::OK();
}

Resources CurrentResources() {
  const std::lock_guard lock(Mutex());
  return Current();
}

}  // namespace partita
