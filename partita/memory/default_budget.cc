#include "partita/memory/default_budget.h"

#include <algorithm>

#include "partita/base/units.h"

namespace partita {
namespace {

constexpr int64_t kLeastBudgetBytes = 64 * kMiB;

// bytes * percent / 100 without overflow.
int64_t Percent(int64_t bytes, int64_t percent) {
  return bytes / 100 * percent + bytes % 100 * percent / 100;
}

}  // namespace

int64_t DefaultBudgetBytes(const MachineLimits& limits) {
  int64_t limit = limits.total_bytes;
  int64_t free = limits.available_bytes;
  if (limits.cgroup_limit_bytes > 0) {
    limit = std::min(limit, limits.cgroup_limit_bytes);
    free = std::min(free, limits.cgroup_limit_bytes - limits.cgroup_used_bytes);
  }
  return std::max(kLeastBudgetBytes, std::min(Percent(limit, 70), Percent(free, 85)));
}

}  // namespace partita
