// What may start when: hosts, robots.txt, redirects, retries, memory. See download_loop.h for the life of a
// transfer.
#include <arrow/buffer.h>

#include <algorithm>
#include <cmath>

#include "components/image/download_loop.h"
#include "partita/base/digest.h"

namespace partita {
namespace {

constexpr int kRobotsRedirects = 5;            // RFC 9309, 2.3.1.2
constexpr double kRobotsErrorSeconds = 300;    // an origin whose robots.txt failed is asked again after this
constexpr size_t kRobotsCacheBytes = 8 << 20;  // all origins
constexpr size_t kRobotsCacheOrigins = 20'000;
constexpr double kNotFoundSeconds = 10;
constexpr double kMaxRetryDelaySeconds = 30;
constexpr double kMemoryPollSeconds = 0.02;  // after a refusal
constexpr double kStarvedSeconds = 0.1;      // nothing runs, memory is refused: then somebody must go

// 0.5 to 1, the same for the same URL and attempt.
double Jitter(const std::string& url, int attempt) {
  const uint64_t hash =
      Checksum64(url.data(), static_cast<int64_t>(url.size()), static_cast<uint64_t>(attempt));
  return 0.5 + 0.5 * static_cast<double>(hash >> 11) / 9007199254740992.0;
}

}  // namespace

Downloader::Loop::Host* Downloader::Loop::HostOf(const std::string& name) {
  auto& host = hosts_[name];
  if (!host) {
    host = std::make_unique<Host>(
        HostLimits{options_.per_host_connections, options_.per_host_rate, options_.max_retry_after_s});
  }
  return host.get();
}

Downloader::Loop::Origin* Downloader::Loop::OriginOf(const std::string& name) {
  auto& origin = origins_[name];
  if (!origin) {
    origin = std::make_unique<Origin>();
    origin->name = name;
    origin->recent = recent_origins_.insert(recent_origins_.begin(), origin.get());
  } else {
    recent_origins_.splice(recent_origins_.begin(), recent_origins_, origin->recent);
  }
  return origin.get();
}

// Decides whether the transfer's current URL may be asked for at all, then queues it at its host.
void Downloader::Loop::Route(Transfer* transfer) {
  if (!options_.allow_private_addresses && IsPrivateLiteral(transfer->url.host)) {
    return Settle(transfer, {.error = kPrivateRefused, .unreachable = true});
  }
  if (options_.respect_robots && transfer->robots_of == nullptr) {
    Origin* origin = OriginOf(transfer->url.origin);
    if (origin->state == Origin::kFailed && Now() >= origin->expires) origin->state = Origin::kUnknown;
    switch (origin->state) {
      case Origin::kUnknown:
      case Origin::kFetching:
        origin->waiters.emplace(transfer->order, transfer);
        transfer->waiting_for = origin;
        if (origin->state == Origin::kUnknown) FetchRobots(origin, transfer);
        return;
      case Origin::kFailed:
        return Fail(transfer, origin->error);
      case Origin::kKnown:
        if (!origin->rules.Allows(transfer->url.path)) return Fail(transfer, "disallowed by robots.txt");
        break;
    }
  }
  Enqueue(transfer);
}

void Downloader::Loop::Enqueue(Transfer* transfer) {
  Host* host = HostOf(transfer->url.host);
  transfer->host = host;
  host->queue.emplace(transfer->order, transfer);
  File(host);
}

void Downloader::Loop::Unfile(Host* host) {
  if (host->is_ready) ready_.erase({host->ready_order, host});
  host->is_ready = false;
  if (host->timed_at >= 0) {
    auto [begin, end] = timed_.equal_range(host->timed_at);
    timed_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == host; }));
    host->timed_at = -1;
  }
}

void Downloader::Loop::File(Host* host) {
  Unfile(host);
  if (host->queue.empty()) return;
  const double at = host->policy.ReadyAt();
  if (at == HostPolicy::kNever) return;  // filed again when a running transfer ends
  if (at <= Now()) {
    host->is_ready = true;
    host->ready_order = host->queue.begin()->first;
    ready_.insert({host->ready_order, host});
  } else {
    host->timed_at = at;
    timed_.emplace(at, host);
  }
}

void Downloader::Loop::Pump() {
  const double now = Now();
  while (!timed_.empty() && timed_.begin()->first <= now) File(timed_.begin()->second);
  while (running_ < std::min(options_.n_connections, memory_window_) && !ready_.empty() &&
         Now() >= memory_gate_) {
    Host* host = ready_.begin()->second;
    Transfer* transfer = host->queue.begin()->second;
    host->queue.erase(host->queue.begin());
    if (host->not_found_until > now) {
      File(host);
      Settle(transfer, {.error = "host not found", .unreachable = true, .host_not_found = true});
      continue;
    }
    if (!Start(transfer)) return;
  }
}

ExchangeSpec Downloader::Loop::SpecOf(const Transfer& transfer) const {
  ExchangeSpec spec;
  spec.url = transfer.url;
  spec.pool = transfer.request.pool;
  spec.timeout_s = std::max(0.001, options_.timeout_s - transfer.used_s);
  spec.expected_bytes = transfer.expected_bytes;
  if (transfer.robots_of != nullptr) {
    spec.max_bytes = kMaxRobotsBytes;
    spec.cut_at_max = true;
    spec.is_page = false;
  } else {
    spec.max_bytes = options_.max_bytes;
  }
  spec.send_headers = transfer.url.host == transfer.first_host;
  return spec;
}

// False when memory was refused: nothing else should be started now.
bool Downloader::Loop::Start(Transfer* transfer) {
  Host* host = transfer->host;
  CURL* easy = TakeEasy();
  if (easy == nullptr) {
    NoMemory(transfer, OutOfMemoryError("libcurl found no memory"), 0);
    return false;
  }
  auto exchange = Exchange::Make(easy, SpecOf(*transfer), shared_);
  if (!exchange.ok()) {
    ReturnEasy(easy);
    NoMemory(transfer, exchange.status(), transfer->expected_bytes);
    return false;
  }
  transfer->exchange = std::move(*exchange);
  transfer->exchange->owner = transfer;
  transfer->started = Now();
  host->policy.OnStart(transfer->started);
  ++running_;
  File(host);
  Curl().multi_add_handle(multi_, easy);
  return true;
}

// An exchange is over, or needed none: transfer->exchange is gone.
void Downloader::Loop::Settle(Transfer* transfer, ExchangeOutcome outcome) {
  const double now = Now();
  if (Host* host = transfer->host; host != nullptr && transfer->started > 0) {
    const bool too_many = outcome.http_status == 429;
    const bool overloaded = too_many || outcome.http_status == 503;
    host->policy.OnFinish(overloaded ? HostOutcome::kOverloaded : HostOutcome::kFine, transfer->started, now,
                          outcome.retry_after_s, too_many);
    transfer->used_s += now - transfer->started;
    File(host);
  }
  transfer->started = 0;
  if (outcome.http_status != 0) transfer->http_status = outcome.http_status;
  if (outcome.kind == ExchangeOutcome::kNoMemory)
    return NoMemory(transfer, outcome.no_memory, outcome.wanted_bytes);
  starved_since_ = -1;
  memory_gate_ = 0;
  memory_window_ = std::min(options_.n_connections, memory_window_ + 1);
  if (outcome.kind == ExchangeOutcome::kRedirect) return Redirect(transfer, outcome.location);
  if (outcome.kind == ExchangeOutcome::kFailed) return RetryOrFail(transfer, outcome);
  if (transfer->robots_of != nullptr) return RobotsArrived(transfer, outcome);
  End(transfer, {Status::OK(), std::move(outcome.body), transfer->http_status});
}

void Downloader::Loop::Redirect(Transfer* transfer, const std::string& location) {
  transfer->host = nullptr;
  transfer->expected_bytes = 0;
  const int most = transfer->robots_of != nullptr ? kRobotsRedirects : options_.max_redirects;
  if (transfer->hops >= most) {
    return RetryOrFail(transfer, {.error = "too many redirects", .http_status = transfer->http_status});
  }
  ++transfer->hops;
  auto url = ParseHttpUrl(location);
  if (!url.ok())
    return RetryOrFail(transfer, {.error = MessageOf(url.status()), .http_status = transfer->http_status});
  if (transfer->used_s >= options_.timeout_s)
    return RetryOrFail(transfer, {.error = "timeout", .retriable = true});
  transfer->url = std::move(*url);
  Route(transfer);
}

void Downloader::Loop::RetryOrFail(Transfer* transfer, const ExchangeOutcome& outcome) {
  Host* host = transfer->host;
  transfer->host = nullptr;
  if (outcome.retriable && transfer->attempt < options_.retries) {
    const double delay_s =
        std::min(kMaxRetryDelaySeconds, std::ldexp(options_.retry_delay_s, transfer->attempt)) *
        Jitter(transfer->url.text, transfer->attempt);
    ++transfer->attempt;
    transfer->hops = 0;
    transfer->used_s = 0;
    transfer->expected_bytes = 0;
    if (transfer->robots_of == nullptr) {  // from the start: the redirect may have been temporary
      if (auto url = ParseHttpUrl(transfer->request.url); url.ok()) transfer->url = std::move(*url);
    }
    transfer->delayed_until = Now() + delay_s;
    delayed_.emplace(transfer->delayed_until, transfer);
    return;
  }
  if (outcome.host_not_found && host != nullptr && host->not_found_until < Now()) {
    host->not_found_until = Now() + kNotFoundSeconds;
  }
  if (transfer->robots_of != nullptr) return RobotsArrived(transfer, outcome);
  Fail(transfer, outcome.error);
}

// Back to its queue, and fewer at once from now on. When nothing runs any more and memory still does not
// come, the youngest goes.
void Downloader::Loop::NoMemory(Transfer* transfer, Status refusal, int64_t wanted_bytes) {
  const double now = Now();
  transfer->expected_bytes = std::max(transfer->expected_bytes, wanted_bytes);
  transfer->used_s = 0;
  Enqueue(transfer);
  memory_window_ = std::max(1, running_ / 2);
  memory_gate_ = now + kMemoryPollSeconds;
  if (running_ > 0) return;
  if (starved_since_ < 0) starved_since_ = now;
  if (now - starved_since_ < kStarvedSeconds) return;
  starved_since_ = now;
  for (auto it = transfers_.rbegin(); it != transfers_.rend(); ++it) {
    if (it->second->robots_of != nullptr) continue;
    check_cancelled_now_ = true;  // its caller may give up others with it
    End(it->second.get(), {refusal, nullptr, 0});
    return;
  }
}

void Downloader::Loop::Unlink(Transfer* transfer) {
  if (transfer->exchange) {
    CURL* easy = transfer->exchange->easy();
    Curl().multi_remove_handle(multi_, easy);
    transfer->exchange.reset();
    ReturnEasy(easy);
    --running_;
    transfer->host->policy.OnAbandon();
    memory_gate_ = 0;
  }
  if (transfer->host != nullptr) {
    transfer->host->queue.erase(transfer->order);
    File(transfer->host);
    transfer->host = nullptr;
  }
  if (transfer->waiting_for != nullptr) {
    transfer->waiting_for->waiters.erase(transfer->order);
    transfer->waiting_for = nullptr;
  }
  if (transfer->delayed_until >= 0) {
    auto [begin, end] = delayed_.equal_range(transfer->delayed_until);
    delayed_.erase(std::find_if(begin, end, [&](const auto& entry) { return entry.second == transfer; }));
    transfer->delayed_until = -1;
  }
}

// The one place where a transfer ends.
void Downloader::Loop::End(Transfer* transfer, DownloadResult result) {
  Unlink(transfer);
  auto node = transfers_.extract(transfer->order);
  if (transfer->robots_of != nullptr) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    pending_.erase(transfer->order);
  }
  transfer->callback(std::move(result));
}

void Downloader::Loop::Fail(Transfer* transfer, std::string error) {
  End(transfer, {DataError(std::move(error)), nullptr, transfer->http_status});
}

void Downloader::Loop::FetchRobots(Origin* origin, Transfer* first) {
  origin->state = Origin::kFetching;
  auto fetch = std::make_unique<Transfer>();
  fetch->order = first->order - 1;
  fetch->robots_of = origin;
  fetch->request.pool = first->request.pool;
  fetch->request.url = origin->name + "/robots.txt";
  fetch->url = first->url;
  fetch->url.text = fetch->request.url;
  fetch->url.path = "/robots.txt";
  fetch->first_host = fetch->url.host;
  Transfer* raw = fetch.get();
  transfers_.emplace(raw->order, std::move(fetch));
  Enqueue(raw);
}

void Downloader::Loop::RobotsArrived(Transfer* fetch, const ExchangeOutcome& outcome) {
  Origin* origin = fetch->robots_of;
  const int status = outcome.http_status;
  origins_bytes_ -= origin->memory_bytes;
  origin->rules = {};
  origin->state = Origin::kKnown;
  if (outcome.kind == ExchangeOutcome::kBody) {
    origin->rules = RobotsRules::Parse(
        {reinterpret_cast<const char*>(outcome.body->data()), static_cast<size_t>(outcome.body->size())},
        shared_.tokens);
    if (auto delay = origin->rules.crawl_delay_s()) HostOf(fetch->first_host)->policy.LimitInterval(*delay);
  } else if (fetch->hops == 0 && (outcome.error == kPrivateRefused || outcome.host_not_found)) {
    origin->state = Origin::kFailed;  // the pages would meet the same fate: their errors say so
    origin->error = outcome.error;
  } else if ((status == 0 || status == 429 || status >= 500 || status < 300) &&
             !options_.robots_error_allows) {
    origin->state = Origin::kFailed;
    origin->error = outcome.unreachable ? outcome.error : "robots.txt unavailable";
  }  // else: 4xx and endless redirects mean that there is none
  if (origin->state == Origin::kFailed) origin->expires = Now() + kRobotsErrorSeconds;
  origin->memory_bytes = sizeof(Origin) + 3 * origin->name.size() + origin->rules.memory_bytes();
  origins_bytes_ += origin->memory_bytes;
  End(fetch, {});
  RobotsKnown(origin);
}

void Downloader::Loop::RobotsKnown(Origin* origin) {
  std::map<uint64_t, Transfer*> waiters;
  waiters.swap(origin->waiters);
  for (auto& [order, transfer] : waiters) transfer->waiting_for = nullptr;
  for (auto& [order, transfer] : waiters) Route(transfer);
}

// A crawl meets millions of hosts: what can be learnt again is forgotten.
void Downloader::Loop::ForgetIdle() {
  if (hosts_.size() >= hosts_sweep_at_) {
    const double now = Now();
    std::erase_if(hosts_, [&](const auto& entry) {
      const Host& host = *entry.second;
      return host.queue.empty() && host.not_found_until < now && host.policy.Forgettable(now);
    });
    hosts_sweep_at_ = std::max<size_t>(4096, 2 * hosts_.size());
  }
  auto candidate = recent_origins_.end();
  while ((origins_bytes_ > kRobotsCacheBytes || origins_.size() > kRobotsCacheOrigins) &&
         candidate != recent_origins_.begin()) {
    --candidate;
    Origin* origin = *candidate;
    if (origin->state == Origin::kFetching || !origin->waiters.empty()) continue;
    candidate = recent_origins_.erase(candidate);
    origins_bytes_ -= origin->memory_bytes;
    origins_.erase(std::string(origin->name));
  }
}

}  // namespace partita
