// One HTTP exchange on a libcurl easy handle: a GET of one URL, no redirects followed, all limits checked
// while bytes arrive. Used only by the loop thread of download.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "components/image/download.h"
#include "components/image/download_url.h"
#include "partita/storage/http/libcurl.h"

namespace arrow {
class ResizableBuffer;
}

namespace partita {

struct ExchangeSpec {
  HttpUrl url;
  std::shared_ptr<BudgetPool> pool;
  int64_t max_bytes = 0;
  bool cut_at_max = false;     // a longer body is cut, not refused (robots.txt)
  bool is_page = true;         // X-Robots-Tag counts (not for robots.txt itself)
  bool send_headers = true;    // the user's extra headers
  int64_t expected_bytes = 0;  // a buffer of this size is claimed before connecting; 0: not known
  double timeout_s = 10;
};

inline constexpr const char* kPrivateRefused = "private address refused";

// What an exchange came to.
struct ExchangeOutcome {
  enum Kind { kBody, kRedirect, kFailed, kNoMemory };
  Kind kind = kFailed;
  std::string error;            // kFailed: canonical
  bool retriable = false;       // kFailed
  bool unreachable = false;     // kFailed: no HTTP answer at all
  bool host_not_found = false;  // kFailed
  int http_status = 0;
  std::optional<double> retry_after_s;
  std::shared_ptr<arrow::Buffer> body;  // kBody
  std::string location;                 // kRedirect: absolute
  Status no_memory;                     // kNoMemory: the pool's refusal
  int64_t wanted_bytes = 0;             // kNoMemory: what it refused
};

// What all exchanges of a downloader share.
struct ExchangeShared {
  const DownloadOptions* options = nullptr;
  std::string user_agent;
  std::vector<std::string> tokens;  // product tokens that are ours
};

class Exchange {
 public:
  // Claims memory and sets `easy` up; the caller adds it to the multi handle. Fails only with out-of-memory:
  // `wanted_bytes` then says what was refused. `easy` must be fresh or reset, and outlive the exchange.
  static Result<std::unique_ptr<Exchange>> Make(CURL* easy, ExchangeSpec spec, const ExchangeShared& shared);
  ~Exchange();
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  // After libcurl reported `code`, with `easy` still set up.
  ExchangeOutcome Finish(CURLcode code);

  CURL* easy() const { return easy_; }
  void* owner = nullptr;

 private:
  // Why we stopped libcurl, or would not use what it brought.
  enum class Stop { kNone, kTooLarge, kNoMemory, kRobotsTag, kEncoding, kEnough, kHeaders };

  Exchange(CURL* easy, ExchangeSpec spec, const ExchangeShared& shared);
  Status Claim();
  void Configure();
  static size_t OnHeader(char* data, size_t size, size_t n, void* self);
  static size_t OnBody(char* data, size_t size, size_t n, void* self);
  static curl_socket_t OnOpenSocket(void* self, curlsocktype purpose, curl_sockaddr* address);
  bool HeaderLine(std::string_view line);
  bool HeadersComplete();
  bool Append(const char* data, int64_t n);
  bool Grow(int64_t bytes);
  bool success() const { return http_status_ >= 200 && http_status_ < 300; }
  ExchangeOutcome Failure(CURLcode code) const;
  ExchangeOutcome Answer();

  CURL* easy_;
  ExchangeSpec spec_;
  const ExchangeShared& shared_;
  curl_slist* headers_ = nullptr;
  Reservation scratch_;
  std::unique_ptr<arrow::ResizableBuffer> body_;
  Stop stop_ = Stop::kNone;
  bool private_refused_ = false;
  int http_status_ = 0;
  bool answered_ = false;  // the headers of the final answer are complete
  int64_t header_bytes_ = 0;
  int64_t content_length_ = -1;
  int64_t received_ = 0;
  int64_t wanted_bytes_ = 0;
  Status no_memory_;
  std::string robots_tag_;  // the directive that forbids
  bool encoded_ = false;
};

}  // namespace partita
