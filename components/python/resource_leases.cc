#include "components/python/resource_leases.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <utility>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr double kWhole = 10'000;  // shares are counted in these
constexpr double kMost = 1e9;

using Shares = std::map<std::string, int64_t>;

std::mutex& Mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

// Guarded by Mutex.
Shares& Taken() {
  static auto* taken = new Shares();
  return *taken;
}

Result<Shares> Owned() {
  Shares owned;
  const char* given = std::getenv("PARTITA_RESOURCES");
  for (std::string_view rest = given == nullptr ? "" : given; !rest.empty();) {
    const std::string part(rest.substr(0, rest.find(',')));
    rest.remove_prefix(std::min(rest.size(), part.size() + 1));
    const size_t equals = part.find('=');
    char* end = nullptr;
    const double count = equals == std::string::npos ? -1 : std::strtod(part.c_str() + equals + 1, &end);
    if (equals == 0 || end == nullptr || end == part.c_str() + equals + 1 || *end != '\0' ||
        !(count >= 0 && count <= kMost)) {
      return EnvironmentError("PARTITA_RESOURCES must be like `licence=2,robot=1`, not '" + part + "'", "",
                              /*retriable=*/false);
    }
    owned[part.substr(0, equals)] = std::llround(count * kWhole);
  }
  return owned;
}

class Lease final : public ResourceLease {
 public:
  explicit Lease(Shares shares) : shares_(std::move(shares)) {
    for (const auto& [name, share] : shares_) Taken()[name] += share;
  }
  ~Lease() override {
    const std::lock_guard lock(Mutex());
    for (const auto& [name, share] : shares_) Taken()[name] -= share;
  }

 private:
  const Shares shares_;
};

}  // namespace

Result<std::shared_ptr<ResourceLease>> TakeResources(const Resources& wanted) {
  const std::lock_guard lock(Mutex());
  ARROW_ASSIGN_OR_RAISE(const Shares owned, Owned());
  Shares shares;
  bool is_free = true;
  for (const auto& [name, count] : wanted) {
    const auto has = owned.find(name);
    const int64_t share = std::llround(count * kWhole), all = has == owned.end() ? 0 : has->second;
    if (share > all) {
      return EnvironmentError(
          "a worker wants " + Json(count).dump() + " of the resource '" + name + "', and there is " +
              (has == owned.end() ? "none" : Json(static_cast<double>(all) / kWhole).dump()),
          "say how many there are: PARTITA_RESOURCES=" + name + "=1", /*retriable=*/false);
    }
    is_free = is_free && Taken()[name] + share <= all;
    shares[name] = share;
  }
  if (!is_free) return nullptr;
  return std::make_shared<Lease>(std::move(shares));
}

}  // namespace partita
