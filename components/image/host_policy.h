// How hard one host may be asked: concurrency, rate, pauses. A value with pure transitions: time comes in as
// an argument (seconds on any monotonic clock), so it is tested without a clock or a network.
//
// Overload (429, 503) halves the concurrency, at most once for the requests that were already under way; each
// success gives a little back (additive increase, multiplicative decrease, as in RFC 5681). Retry-After
// pauses the host as a whole.
#pragma once

#include <limits>
#include <optional>

namespace partita {

struct HostLimits {
  int max_concurrent = 16;
  double requests_per_second = 0;  // 0: no limit
  double max_pause_s = 60;         // a longer Retry-After is cut to this
};

enum class HostOutcome {
  kFine,        // it answered, or failed in a way that says nothing about load
  kOverloaded,  // 429 or 503
};

class HostPolicy {
 public:
  static constexpr double kNever = std::numeric_limits<double>::infinity();
  // Crawl-delay above this is cut to it: a site that wants less is asked at this pace, its rows do not block
  // a run for hours.
  static constexpr double kMaxIntervalSeconds = 30;

  explicit HostPolicy(HostLimits limits);

  // When the next request may start: `now` or earlier means at once; kNever means after a running one
  // finished.
  double ReadyAt() const;
  void OnStart(double now);
  // `started` is the `now` of the matching OnStart. `too_many` tells 429 from 503 where there is no
  // Retry-After.
  void OnFinish(HostOutcome outcome, double started, double now, std::optional<double> retry_after_s = {},
                bool too_many = false);
  // The request was called off before the host was asked: its turn counts as unused.
  void OnAbandon();
  // At least so many seconds between two requests (robots.txt Crawl-delay). Only ever slows down.
  void LimitInterval(double seconds);

  int running() const { return running_; }
  int concurrency() const { return static_cast<int>(concurrency_); }
  // Nothing would be lost by forgetting this host.
  bool Forgettable(double now) const;

 private:
  HostLimits limits_;
  double interval_s_ = 0;
  double concurrency_;
  int running_ = 0;
  int consecutive_refusals_ = 0;
  double next_start_ = -std::numeric_limits<double>::infinity();
  double paused_until_ = -std::numeric_limits<double>::infinity();
  double slowed_at_ = -std::numeric_limits<double>::infinity();
};

}  // namespace partita
