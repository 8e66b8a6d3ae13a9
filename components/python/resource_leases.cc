#include "components/python/resource_leases.h"

#include <cmath>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr double kWhole = 10'000;  // shares are counted in these

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
  const Resources owned = CurrentResources();
  const std::lock_guard lock(Mutex());
  Shares shares;
  bool is_free = true;
  for (const auto& [name, count] : wanted) {
    const auto has = owned.find(name);
    const int64_t share = std::llround(count * kWhole);
    const int64_t all = has == owned.end() ? 0 : std::llround(has->second * kWhole);
    if (share > all) {
      return EnvironmentError(
          "a worker wants " + Json(count).dump() + " of the resource '" + name + "', and there is " +
              (has == owned.end() ? "none" : Json(has->second).dump()),
          "say how many there are: --resources " + name + "=1, or PARTITA_RESOURCES", /*retriable=*/false);
    }
    is_free = is_free && Taken()[name] + share <= all;
    shares[name] = share;
  }
  if (!is_free) return nullptr;
  return std::make_shared<Lease>(std::move(shares));
}

}  // namespace partita
