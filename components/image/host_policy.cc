#include "components/image/host_policy.h"

#include <algorithm>
#include <cmath>

namespace partita {

HostPolicy::HostPolicy(HostLimits limits) : limits_(limits) {
  limits_.max_concurrent = std::max(1, limits_.max_concurrent);
  concurrency_ = limits_.max_concurrent;
  if (limits_.requests_per_second > 0) interval_s_ = 1 / limits_.requests_per_second;
}

double HostPolicy::ReadyAt() const {
  if (running_ >= concurrency()) return kNever;
  return std::max(next_start_, paused_until_);
}

void HostPolicy::OnStart(double now) {
  ++running_;
  next_start_ = now + interval_s_;
}

void HostPolicy::OnAbandon() { running_ = std::max(0, running_ - 1); }

void HostPolicy::OnFinish(HostOutcome outcome, double started, double now,
                          std::optional<double> retry_after_s, bool too_many) {
  running_ = std::max(0, running_ - 1);
  if (outcome == HostOutcome::kFine) {
    consecutive_refusals_ = 0;
    concurrency_ = std::min<double>(limits_.max_concurrent, concurrency_ + 1 / concurrency_);
    return;
  }
  const bool news = started > slowed_at_;  // else it was under way when the host was slowed down
  if (news) {
    slowed_at_ = now;
    concurrency_ = std::max(1.0, std::floor(concurrency_ / 2));
    ++consecutive_refusals_;
  }
  double pause_s = 0;
  if (retry_after_s) {
    pause_s = *retry_after_s;
  } else if (too_many && news) {
    pause_s = std::ldexp(1.0, std::min(consecutive_refusals_ - 1, 10));
  }
  pause_s = std::clamp(pause_s, 0.0, limits_.max_pause_s);
  paused_until_ = std::max(paused_until_, now + pause_s);
}

void HostPolicy::LimitInterval(double seconds) {
  if (!(seconds > interval_s_)) return;  // also refuses NaN
  interval_s_ = std::max(interval_s_, std::min(seconds, kMaxIntervalSeconds));
}

bool HostPolicy::Forgettable(double now) const {
  return running_ == 0 && next_start_ <= now && paused_until_ <= now &&
         concurrency() == limits_.max_concurrent;
}

}  // namespace partita
