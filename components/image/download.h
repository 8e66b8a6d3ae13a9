// The polite downloader: many URLs at once from one event-loop thread, on libcurl's multi interface.
//
// Submit hands over a request and returns at once; its callback is called exactly once, on the loop thread:
// it must be brief and may call Submit. Requests are started in the order of submission, as far as their
// hosts allow. All methods are thread-safe.
//
// A request goes to its host when: the host's concurrency, rate and pauses allow it (host_policy.h); the
// origin's robots.txt, fetched once, allows it; a connection slot is free; and memory for it was granted.
// Redirects are new requests to their host: checked the same way. Connections, DNS answers and TLS sessions
// are shared; HTTP/2 is used where the server offers it over TLS.
//
// Memory: bodies are Arrow buffers of the request's pool; what libcurl needs for a transfer is reserved there
// first. When the pool refuses, the transfer is aborted and queued again, fewer run at once, and nothing new
// starts until one ends. When none is left running and memory does not come free, the youngest waiting
// request ends with the pool's out-of-memory status, so that the oldest gets its least.
//
// Failures of a URL are data errors with a canonical message (no address, no duration, nothing of the URL):
// "HTTP 404", "timeout", "connection refused", "host not found", ...: docs/steps/download.md lists them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/memory/budget.h"

namespace arrow {
class Buffer;
}

namespace partita {

struct DownloadOptions {
  int n_connections = 256;        // transfers at once, all hosts
  int per_host_connections = 16;  // transfers at once, one host
  double per_host_rate = 0;       // requests per second to one host; 0: no limit
  double timeout_s =
      10;  // of one attempt, from connecting to the last byte; waiting in the queue does not count
  double connect_timeout_s = 10;
  int64_t low_speed_bytes_per_s = 1;  // slower than this for low_speed_s: "timeout"; 0: off
  double low_speed_s = 10;
  int retries = 0;             // after timeouts, failed connections, truncated bodies, 408, 429 and 5xx
  double retry_delay_s = 0.5;  // doubles with each retry, times 0.5 to 1 by hash of the URL; at most 30 s
  double max_retry_after_s = 60;
  int max_redirects = 5;
  int64_t max_bytes = 64 << 20;
  bool allow_private_addresses = false;
  bool ignore_ssl_certificate = false;
  bool http2 = true;
  bool respect_robots = true;
  bool robots_error_allows = false;  // robots.txt answers 5xx or not at all: true fetches anyway
  std::string
      user_agent_token;  // added to the user agent; the name that robots.txt and X-Robots-Tag know us by
  std::vector<std::string> disallowed_header_directives = {"noai", "noimageai", "noindex", "noimageindex"};
  std::vector<std::string> headers;  // "Name: value"; not sent to other hosts after a redirect
  Env* env = nullptr;                // null: Env::Default()
};

struct DownloadRequest {
  std::string url;
  std::shared_ptr<BudgetPool> pool;
  CancelToken cancel;                // the run's
  CancelToken abandon;               // the caller's own: nobody wants this one any more
  int64_t partition = -1, row = -1;  // for Slowest
};

struct DownloadResult {
  Status status;  // OK: body is set. Cancelled, OutOfMemory, or a data error
  std::shared_ptr<arrow::Buffer> body;
  int http_status = 0;  // of the last answer; 0: there was none
};
using DownloadCallback = std::function<void(DownloadResult)>;

struct SlowDownload {
  int64_t partition = -1, row = -1;
  std::string url;  // without credentials
  double seconds = 0;
};

class Downloader {
 public:
  static Result<std::unique_ptr<Downloader>> Make(DownloadOptions options);
  ~Downloader();  // what is under way ends as cancelled
  Downloader(const Downloader&) = delete;
  Downloader& operator=(const Downloader&) = delete;

  void Submit(DownloadRequest request, DownloadCallback callback);
  // The n oldest requests, oldest first; those waiting for their host or robots.txt count too.
  std::vector<SlowDownload> Slowest(int n) const;

 private:
  class Loop;
  explicit Downloader(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

// "HTTP 404" -> "http_404", "disallowed by X-Robots-Tag: noai" -> "disallowed_by_x_robots_tag": a counter's
// key.
std::string DownloadErrorKey(std::string_view message);

}  // namespace partita
