#include "partita/storage/http/transfer.h"

#include <arrow/io/interfaces.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <thread>

#include "partita/storage/http/libcurl.h"

namespace partita {
namespace {

constexpr int64_t kLongestPauseMs = 30'000;
constexpr size_t kMostErrorBytes = 16 << 10;
constexpr long kBufferBytes = 128 << 10;

bool ParseNumber(std::string_view text, int64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && *out >= 0;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() &&
         (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n')) {
    text.remove_suffix(1);
  }
  return text;
}

void ReadHeader(std::string_view line, HttpReply* reply) {
  if (line.substr(0, 5) ==
      "HTTP/") {  // a new answer (after a redirect or 100 Continue): forget the one before
    *reply = HttpReply();
    const size_t space = line.find(' ');
    int64_t status = 0;
    if (space != std::string_view::npos && ParseNumber(line.substr(space + 1, 3), &status)) {
      reply->status = static_cast<long>(status);
    }
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  const std::string_view value = Trim(line.substr(colon + 1));
  int64_t number = 0;
  if (name == "content-length" && ParseNumber(value, &number)) {
    reply->content_length = number;
  } else if (name == "etag") {
    reply->etag = std::string(value);
  } else if (name == "x-amz-bucket-region") {
    reply->bucket_region = std::string(value);
  } else if (name == "content-encoding") {
    reply->encoded = !value.empty() && value != "identity";
  } else if (name == "retry-after" && ParseNumber(value, &number)) {
    reply->retry_after_ms = std::min<int64_t>(number, kLongestPauseMs / 1000) * 1000;
  } else if (name == "content-range" && value.substr(0, 6) == "bytes ") {
    const size_t slash = value.find('/');
    const size_t dash = value.find('-');
    if (slash == std::string_view::npos) return;
    if (!ParseNumber(value.substr(slash + 1), &reply->range_total)) reply->range_total = -1;
    if (dash == std::string_view::npos || !ParseNumber(value.substr(6, dash - 6), &reply->range_begin)) {
      reply->range_begin = -1;
    }
  }
}

struct Transfer {
  HttpReply reply;
  BodySink* sink = nullptr;
  bool began = false;
  Status status;  // of the sink, or of the body that is sent
  const CancelToken* cancel = nullptr;
  arrow::io::RandomAccessFile* body = nullptr;
  int64_t body_bytes = 0, sent = 0;
};

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  ReadHeader(std::string_view(data, size * count), &static_cast<Transfer*>(user)->reply);
  return size * count;
}

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  const size_t bytes = size * count;
  if (transfer->reply.status / 100 != 2) {
    std::string& page = transfer->reply.error_body;
    page.append(data, std::min(bytes, kMostErrorBytes - std::min(kMostErrorBytes, page.size())));
    return bytes;
  }
  if (transfer->sink == nullptr) return bytes;
  if (!transfer->began) {
    transfer->began = true;
    transfer->status = transfer->sink->Begin(transfer->reply);
  }
  if (transfer->status.ok()) {
    transfer->status =
        transfer->sink->Put(reinterpret_cast<const uint8_t*>(data), static_cast<int64_t>(bytes));
  }
  return transfer->status.ok() ? bytes : 0;
}

size_t OnSend(char* out, size_t size, size_t count, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  const int64_t want =
      std::min<int64_t>(static_cast<int64_t>(size * count), transfer->body_bytes - transfer->sent);
  if (want <= 0) return 0;
  auto got = transfer->body->ReadAt(transfer->sent, want, out);
  if (!got.ok() || *got <= 0) {
    transfer->status = got.ok() ? BugError("what is sent is shorter than it was") : got.status();
    return CURL_READFUNC_ABORT;
  }
  transfer->sent += *got;
  return static_cast<size_t>(*got);
}

// A connection that died while idle is opened again, and the body sent from its beginning.
int OnRewind(void* user, curl_off_t offset, int origin) {
  auto* transfer = static_cast<Transfer*>(user);
  if (origin != SEEK_SET || offset < 0 || offset > transfer->body_bytes) return CURL_SEEKFUNC_FAIL;
  transfer->sent = offset;
  return CURL_SEEKFUNC_OK;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->cancel->cancelled() ? 1 : 0;
}

void SetOptions(CURL* curl, const HttpRequest& request, Transfer* transfer) {
  const auto set = [curl](CURLoption option, auto value) { Curl().easy_setopt(curl, option, value); };
  set(CURLOPT_URL, request.url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(CURLOPT_FOLLOWLOCATION, request.follow_redirects ? 1L : 0L);
  set(CURLOPT_MAXREDIRS, 5L);
  set(CURLOPT_PATH_AS_IS, request.path_as_is ? 1L : 0L);
  set(CURLOPT_NOSIGNAL, 1L);
  set(CURLOPT_CONNECTTIMEOUT_MS, 10'000L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, 30L);
  set(CURLOPT_BUFFERSIZE, kBufferBytes);
  set(CURLOPT_USERAGENT, "partita");
  set(CURLOPT_HEADERFUNCTION, OnHeader);
  set(CURLOPT_HEADERDATA, transfer);
  set(CURLOPT_WRITEFUNCTION, OnBody);
  set(CURLOPT_WRITEDATA, transfer);
  set(CURLOPT_NOPROGRESS, 0L);
  set(CURLOPT_XFERINFOFUNCTION, OnProgress);
  set(CURLOPT_XFERINFODATA, transfer);
  if (!request.ca_file.empty()) set(CURLOPT_CAINFO, request.ca_file.c_str());
  if (!request.range.empty()) set(CURLOPT_RANGE, request.range.c_str());
  if (request.method == "HEAD") {
    set(CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    set(CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  if (request.method == "PUT" || request.method == "POST") {
    set(CURLOPT_UPLOAD, 1L);
    set(CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
    set(CURLOPT_INFILESIZE_LARGE, static_cast<curl_off_t>(request.body_bytes));
    set(CURLOPT_READFUNCTION, OnSend);
    set(CURLOPT_READDATA, transfer);
    set(CURLOPT_SEEKFUNCTION, OnRewind);
    set(CURLOPT_SEEKDATA, transfer);
  }
}

}  // namespace

Status TextSink::Begin(const HttpReply&) {
  text_.clear();
  return Status::OK();
}

Status TextSink::Put(const uint8_t* data, int64_t size) {
  if (static_cast<int64_t>(text_.size()) + size > max_bytes_) {
    return EnvironmentError("the server's answer has more than " + std::to_string(max_bytes_) + " bytes", "",
                            /*retriable=*/false);
  }
  text_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  return Status::OK();
}

HttpConnection::~HttpConnection() {
  if (curl_ != nullptr) Curl().easy_cleanup(static_cast<CURL*>(curl_));
}

Result<HttpReply> HttpConnection::Send(const HttpRequest& request, BodySink* sink,
                                       const CancelToken& cancel) {
  ARROW_RETURN_NOT_OK(LoadCurl());
  if (curl_ == nullptr) curl_ = Curl().easy_init();
  if (curl_ == nullptr) return OutOfMemoryError("libcurl could not be started");
  auto* curl = static_cast<CURL*>(curl_);
  Curl().easy_reset(curl);  // keeps the connection
  Transfer transfer;
  transfer.sink = sink;
  transfer.cancel = &cancel;
  transfer.body = request.body;
  transfer.body_bytes = request.body_bytes;
  SetOptions(curl, request, &transfer);
  // Without "Expect" nothing waits for the server to ask for the body.
  curl_slist* headers = request.body_bytes > 0 ? Curl().slist_append(nullptr, "Expect:") : nullptr;
  for (const std::string& header : request.headers) headers = Curl().slist_append(headers, header.c_str());
  if (headers != nullptr) Curl().easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
  const CURLcode code = Curl().easy_perform(curl);
  Curl().slist_free_all(headers);
  ARROW_RETURN_NOT_OK(cancel.Check());
  ARROW_RETURN_NOT_OK(transfer.status);
  if (code == CURLE_OK) return transfer.reply;
  const bool impossible =
      code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT || code == CURLE_TOO_MANY_REDIRECTS;
  return EnvironmentError(Curl().easy_strerror(code), "", !impossible);
}

bool IsRetriableStatus(long status) { return status >= 500 || status == 429 || status == 408; }

Status PauseFor(int64_t wait_ms, const CancelToken& cancel) {
  for (int64_t waited_ms = 0; waited_ms < wait_ms; waited_ms += 20) {
    ARROW_RETURN_NOT_OK(cancel.Check());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return cancel.Check();
}

}  // namespace partita
