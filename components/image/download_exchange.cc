#include "components/image/download_exchange.h"

#include <arrow/buffer.h>
#include <sys/socket.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "components/image/robots.h"

namespace partita {
namespace {

// What libcurl holds for a transfer beside the body: its receive buffer, handle, headers; with TLS the
// session and record buffers.
constexpr int64_t kReceiveBufferBytes = 32 << 10;
constexpr int64_t kScratchBytes = kReceiveBufferBytes + (32 << 10);
constexpr int64_t kTlsScratchBytes = 96 << 10;
constexpr int64_t kFirstBufferBytes = 64 << 10;
constexpr int64_t kBelievedBytes = 512 << 10;
// Bodies that nobody reads (of a 404, of a redirect) are drained up to this, so that the connection can be
// used again.
constexpr int64_t kDrainBytes = 64 << 10;
constexpr int64_t kMaxHeaderBytes = 256 << 10;

bool StartsWithIgnoringCase(std::string_view text, std::string_view prefix) {
  if (text.size() < prefix.size()) return false;
  return std::equal(prefix.begin(), prefix.end(), text.begin(), [](char a, char b) {
    return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
  });
}

std::string_view HeaderValue(std::string_view line, size_t name_size) {
  line.remove_prefix(name_size);
  while (!line.empty() && (line.front() == ' ' || line.front() == '\t')) line.remove_prefix(1);
  while (!line.empty() && std::isspace(static_cast<unsigned char>(line.back()))) line.remove_suffix(1);
  return line;
}

bool RetriableStatus(int status) {
  return status == 408 || status == 429 || (status >= 500 && status <= 599 && status != 501 && status != 505);
}

std::string ConnectError(CURL* easy) {
  long os_error = 0;
  Curl().easy_getinfo(easy, CURLINFO_OS_ERRNO, &os_error);
  switch (os_error) {
    case ECONNREFUSED:
      return "connection refused";
    case ENETUNREACH:
    case EHOSTUNREACH:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return "host unreachable";
    default:
      return "connection failed";
  }
}

}  // namespace

Result<std::unique_ptr<Exchange>> Exchange::Make(CURL* easy, ExchangeSpec spec,
                                                 const ExchangeShared& shared) {
  std::unique_ptr<Exchange> exchange(new Exchange(easy, std::move(spec), shared));
  ARROW_RETURN_NOT_OK(exchange->Claim());
  exchange->Configure();
  return exchange;
}

Exchange::Exchange(CURL* easy, ExchangeSpec spec, const ExchangeShared& shared)
    : easy_(easy), spec_(std::move(spec)), shared_(shared) {}

Exchange::~Exchange() { Curl().slist_free_all(headers_); }

Status Exchange::Claim() {
  const int64_t scratch_bytes = kScratchBytes + (spec_.url.https ? kTlsScratchBytes : 0);
  ARROW_ASSIGN_OR_RAISE(scratch_, spec_.pool->Reserve(scratch_bytes));
  if (spec_.expected_bytes > 0) {
    ARROW_ASSIGN_OR_RAISE(body_, arrow::AllocateResizableBuffer(spec_.expected_bytes, spec_.pool.get()));
  }
  return Status::OK();
}

void Exchange::Configure() {
  const DownloadOptions& options = *shared_.options;
  auto set = [this](CURLoption option, auto value) { Curl().easy_setopt(easy_, option, value); };
  auto milliseconds = [](double seconds) {
    return static_cast<long>(std::clamp(seconds, 0.001, 1e6) * 1000);
  };
  set(CURLOPT_URL, spec_.url.text.c_str());
  set(CURLOPT_PRIVATE, static_cast<void*>(this));
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_QUICK_EXIT, 1L);  // removing a handle never waits for a name look-up
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, 0L);
  set(CURLOPT_PROXY, "");  // a proxy would hide the peer's address from the private-address check
  set(CURLOPT_BUFFERSIZE, static_cast<long>(kReceiveBufferBytes));
  set(CURLOPT_TIMEOUT_MS, milliseconds(spec_.timeout_s));
  set(CURLOPT_CONNECTTIMEOUT_MS, milliseconds(std::min(options.connect_timeout_s, spec_.timeout_s)));
  if (options.low_speed_bytes_per_s > 0 && options.low_speed_s > 0) {
    set(CURLOPT_LOW_SPEED_LIMIT, static_cast<long>(options.low_speed_bytes_per_s));
    set(CURLOPT_LOW_SPEED_TIME, std::max(1L, static_cast<long>(options.low_speed_s)));
  }
  set(CURLOPT_DNS_CACHE_TIMEOUT, 300L);
  set(CURLOPT_TCP_NODELAY, 1L);
  set(CURLOPT_HTTP_VERSION,
      static_cast<long>(options.http2 ? CURL_HTTP_VERSION_2TLS : CURL_HTTP_VERSION_1_1));
  // Over TLS it pays to wait for the first connection's handshake: it tells whether the others can share it.
  set(CURLOPT_PIPEWAIT, options.http2 && spec_.url.https ? 1L : 0L);
  if (options.ignore_ssl_certificate) {
    set(CURLOPT_SSL_VERIFYPEER, 0L);
    set(CURLOPT_SSL_VERIFYHOST, 0L);
  }
  set(CURLOPT_USERAGENT, shared_.user_agent.c_str());
  if (spec_.is_page) {
    headers_ = Curl().slist_append(headers_, "Accept-Encoding: identity");
  } else {
    set(CURLOPT_ACCEPT_ENCODING, "gzip");  // unpacked as it comes, and cut: no bomb
  }
  if (spec_.send_headers) {
    for (const std::string& header : options.headers)
      headers_ = Curl().slist_append(headers_, header.c_str());
  }
  set(CURLOPT_HTTPHEADER, headers_);
  set(CURLOPT_HEADERFUNCTION, &Exchange::OnHeader);
  set(CURLOPT_HEADERDATA, static_cast<void*>(this));
  set(CURLOPT_WRITEFUNCTION, &Exchange::OnBody);
  set(CURLOPT_WRITEDATA, static_cast<void*>(this));
  if (!options.allow_private_addresses) {
    set(CURLOPT_OPENSOCKETFUNCTION, &Exchange::OnOpenSocket);
    set(CURLOPT_OPENSOCKETDATA, static_cast<void*>(this));
  }
}

// The check is on the address that is about to be connected to, so a name that resolves to something else the
// second time does not help.
curl_socket_t Exchange::OnOpenSocket(void* self, curlsocktype, curl_sockaddr* address) {
  if (IsPrivateAddress(address->addr)) {
    static_cast<Exchange*>(self)->private_refused_ = true;
    return CURL_SOCKET_BAD;
  }
  return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
}

size_t Exchange::OnHeader(char* data, size_t size, size_t n, void* self) {
  return static_cast<Exchange*>(self)->HeaderLine({data, size * n}) ? size * n : 0;
}

size_t Exchange::OnBody(char* data, size_t size, size_t n, void* self) {
  return static_cast<Exchange*>(self)->Append(data, static_cast<int64_t>(size * n)) ? size * n : 0;
}

bool Exchange::HeaderLine(std::string_view line) {
  header_bytes_ += static_cast<int64_t>(line.size());
  if (header_bytes_ > kMaxHeaderBytes) {
    stop_ = Stop::kHeaders;
    return false;
  }
  if (StartsWithIgnoringCase(line,
                             "HTTP/")) {  // a status line: interim answers (1xx) come before the real one
    http_status_ = 0;
    answered_ = false;
    content_length_ = -1;
    robots_tag_.clear();
    encoded_ = false;
    if (const size_t space = line.find(' '); space != std::string_view::npos && line.size() >= space + 4) {
      std::from_chars(line.data() + space + 1, line.data() + space + 4, http_status_);
    }
    return true;
  }
  if (line == "\r\n" || line == "\n") return http_status_ < 200 || HeadersComplete();
  constexpr std::string_view kLength = "content-length:", kRobotsTag = "x-robots-tag:",
                             kEncoding = "content-encoding:";
  if (StartsWithIgnoringCase(line, kLength)) {
    const std::string_view value = HeaderValue(line, kLength.size());
    int64_t length = -1;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc::result_out_of_range) length = INT64_MAX;
    content_length_ = length;
  } else if (StartsWithIgnoringCase(line, kRobotsTag)) {
    if (robots_tag_.empty()) {
      robots_tag_ = ForbiddenByRobotsTag(HeaderValue(line, kRobotsTag.size()),
                                         shared_.options->disallowed_header_directives, shared_.tokens);
    }
  } else if (StartsWithIgnoringCase(line, kEncoding)) {
    const std::string_view value = HeaderValue(line, kEncoding.size());
    encoded_ = !value.empty() && !(value.size() == 8 && StartsWithIgnoringCase(value, "identity"));
  }
  return true;
}

// The last moment to say no before the body costs anything.
bool Exchange::HeadersComplete() {
  answered_ = true;
  if (!success()) return true;
  if (spec_.is_page && !robots_tag_.empty()) {
    stop_ = Stop::kRobotsTag;
  } else if (spec_.is_page && encoded_) {
    stop_ = Stop::kEncoding;
  } else if (content_length_ > spec_.max_bytes && !spec_.cut_at_max) {
    stop_ = Stop::kTooLarge;
  }
  return stop_ == Stop::kNone;
}

bool Exchange::Append(const char* data, int64_t n) {
  if (!success()) {
    received_ += n;
    if (received_ <= kDrainBytes && content_length_ <= kDrainBytes) return true;
    stop_ = Stop::kEnough;
    return false;
  }
  const int64_t room = spec_.max_bytes - received_;
  if (n > room) {
    stop_ = spec_.cut_at_max ? Stop::kEnough : Stop::kTooLarge;
    if (!spec_.cut_at_max) return false;
    n = room;
  }
  if (!Grow(received_ + n)) return false;
  std::memcpy(body_->mutable_data() + received_, data, static_cast<size_t>(n));
  received_ += n;
  return stop_ == Stop::kNone;
}

// At least `bytes`: twice what there is, but no more than the server announced or we would take.
bool Exchange::Grow(int64_t bytes) {
  const int64_t have = body_ ? body_->size() : 0;
  if (bytes <= have) return true;
  int64_t target = std::max({bytes, 2 * have, kFirstBufferBytes});
  target = std::min(target, spec_.max_bytes);
  // What a server announces is believed only where it is little.
  if (content_length_ >= bytes) target = std::min(std::max(target, kBelievedBytes), content_length_);
  Status status;
  if (body_) {
    status = body_->Resize(target, /*shrink_to_fit=*/false);
  } else if (auto buffer = arrow::AllocateResizableBuffer(target, spec_.pool.get()); buffer.ok()) {
    body_ = std::move(*buffer);
  } else {
    status = buffer.status();
  }
  if (status.ok()) return true;
  stop_ = Stop::kNoMemory;
  no_memory_ = std::move(status);
  // Next time ask for all of it before connecting.
  wanted_bytes_ = content_length_ >= bytes ? std::min(content_length_, spec_.max_bytes) : target;
  return false;
}

ExchangeOutcome Exchange::Failure(CURLcode code) const {
  ExchangeOutcome out;
  out.http_status = http_status_;
  out.unreachable = http_status_ == 0;
  auto fail = [&](std::string error, bool retriable) {
    out.error = std::move(error);
    out.retriable = retriable;
    return out;
  };
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT:
      return fail("timeout", true);
    case CURLE_COULDNT_RESOLVE_HOST:
      out.host_not_found = true;
      return fail("host not found", true);
    case CURLE_COULDNT_CONNECT:
      if (private_refused_) return fail(kPrivateRefused, false);
      return fail(ConnectError(easy_), true);
    case CURLE_PARTIAL_FILE:
      return fail("truncated body", true);
    case CURLE_GOT_NOTHING:
      return fail("empty reply", true);
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
      return fail("connection reset", true);
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
      return fail("TLS error", false);
    case CURLE_URL_MALFORMAT:
      return fail("invalid url", false);
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
      return fail("HTTP/2 error", true);
    case CURLE_OUT_OF_MEMORY:
      out.kind = ExchangeOutcome::kNoMemory;
      out.no_memory = OutOfMemoryError("libcurl found no memory");
      return out;
    default:
      return fail("malformed answer", false);
  }
}

ExchangeOutcome Exchange::Answer() {
  ExchangeOutcome out;
  out.http_status = http_status_;
  curl_off_t retry_after_s = 0;
  if (Curl().easy_getinfo(easy_, CURLINFO_RETRY_AFTER, &retry_after_s) == CURLE_OK && retry_after_s > 0) {
    out.retry_after_s = static_cast<double>(retry_after_s);
  }
  char* location = nullptr;
  if (http_status_ >= 300 && http_status_ < 400 &&
      Curl().easy_getinfo(easy_, CURLINFO_REDIRECT_URL, &location) == CURLE_OK && location != nullptr) {
    out.kind = ExchangeOutcome::kRedirect;
    out.location = location;
    return out;
  }
  if (!success()) {
    out.error = "HTTP " + std::to_string(http_status_);
    out.retriable = RetriableStatus(http_status_);
    return out;
  }
  if (!body_) {
    auto empty = arrow::AllocateResizableBuffer(0, spec_.pool.get());
    if (!empty.ok()) {
      out.kind = ExchangeOutcome::kNoMemory;
      out.no_memory = empty.status();
      return out;
    }
    body_ = std::move(*empty);
  }
  // Shrinking copies; it pays where much would stay claimed for nothing.
  const bool shrink = body_->capacity() - received_ > std::max<int64_t>(received_ / 8, 4096);
  if (Status status = body_->Resize(received_, shrink); !status.ok()) {
    if (status = body_->Resize(received_, false); !status.ok()) {
      out.kind = ExchangeOutcome::kNoMemory;
      out.no_memory = std::move(status);
      out.wanted_bytes = received_;
      return out;
    }
  }
  out.kind = ExchangeOutcome::kBody;
  out.body = std::move(body_);
  return out;
}

ExchangeOutcome Exchange::Finish(CURLcode code) {
  ExchangeOutcome out;
  out.http_status = http_status_;
  switch (stop_) {
    case Stop::kNone:
      break;
    case Stop::kEnough:
      return Answer();
    case Stop::kTooLarge:
      out.error = "larger than max_bytes";
      return out;
    case Stop::kRobotsTag:
      out.error = "disallowed by X-Robots-Tag: " + robots_tag_;
      return out;
    case Stop::kEncoding:
      out.error = "content encoding that was not asked for";
      return out;
    case Stop::kHeaders:
      out.error = "malformed answer";
      return out;
    case Stop::kNoMemory:
      out.kind = ExchangeOutcome::kNoMemory;
      out.no_memory = no_memory_;
      out.wanted_bytes = wanted_bytes_;
      return out;
  }
  // A body nobody reads may end as it likes: the status line has told all.
  if (code != CURLE_OK && !(answered_ && !success())) return Failure(code);
  return Answer();
}

}  // namespace partita
