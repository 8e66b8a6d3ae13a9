#include "components/python/worker_demand.h"

#include <algorithm>
#include <cmath>

namespace partita {
namespace {

constexpr double kNanosPerSecond = 1e9;
constexpr double kLeastMemorySeconds = 0.05, kMostMemorySeconds = 5;
constexpr double kLeastIdleSeconds = 5, kMostIdleSeconds = 60;
constexpr double kHalf = 0.5;

}  // namespace

int WorkerDemand::Wanted(int64_t now_ns, int unserved, bool any_ready) {
  const double seconds = static_cast<double>(now_ns - last_ns_) / kNanosPerSecond;
  const double memory = std::clamp(start_seconds_, kLeastMemorySeconds, kMostMemorySeconds);
  average_ += -std::expm1(-seconds / memory) * (unserved_ - average_);
  last_ns_ = now_ns;
  unserved_ = std::max(0, unserved);
  if (!any_ready) return unserved_;
  return std::min(unserved_, static_cast<int>(average_ + kHalf));
}

double WorkerDemand::idle_seconds() const {
  return std::clamp(start_seconds_, kLeastIdleSeconds, kMostIdleSeconds);
}

}  // namespace partita
