// One HTTP request over libcurl, waited for: what the readers of URLs and of S3 share. Internal to storage/.
//
// Only http and https, also after redirects (at most 5). A stalled transfer (under 1 byte/s for 30 s) fails.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/error.h"

namespace arrow::io {
class RandomAccessFile;
}

namespace partita {

// What libcurl holds for one connection (its buffers, TLS): claimed where there is a budget.
inline constexpr int64_t kConnectionBytes = 384 << 10;

struct HttpReply {
  long status = 0;
  int64_t content_length = -1;
  int64_t range_begin = -1, range_total = -1;  // of "Content-Range: bytes 0-9/100"
  bool encoded = false;                        // a Content-Encoding that was not asked for
  std::string etag;
  int64_t retry_after_ms = -1;
  std::string bucket_region;  // S3's x-amz-bucket-region
  std::string error_body;     // of an answer that is not 2xx: its beginning
};

// Where an answer's body goes. Put refuses (and the transfer stops) by returning an error.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual Status Begin(const HttpReply& reply) = 0;  // before the first byte, and before each new try
  virtual Status Put(const uint8_t* data, int64_t size) = 0;
};

// A document of bounded size.
class TextSink final : public BodySink {
 public:
  explicit TextSink(int64_t max_bytes) : max_bytes_(max_bytes) {}
  Status Begin(const HttpReply&) override;
  Status Put(const uint8_t* data, int64_t size) override;
  const std::string& text() const { return text_; }

 private:
  int64_t max_bytes_;
  std::string text_;
};

struct HttpRequest {
  std::string method = "GET";  // or HEAD, PUT, POST, DELETE
  std::string url;
  std::vector<std::string> headers;  // "Name: value"
  std::string range;                 // "0-9"
  bool follow_redirects = true;
  bool path_as_is = false;                      // "a/../b" is the name of something
  std::string ca_file;                          // "": the system's
  arrow::io::RandomAccessFile* body = nullptr;  // of PUT and POST; null: empty
  int64_t body_bytes = 0;
};

// Keeps its connection between requests. Not thread-safe.
class HttpConnection {
 public:
  HttpConnection() = default;
  ~HttpConnection();
  HttpConnection(const HttpConnection&) = delete;
  HttpConnection& operator=(const HttpConnection&) = delete;

  // OK: the server answered, whatever it answered. Else: what the sink refused with, Cancelled, or an
  // environment error (not retriable where the URL itself is impossible).
  Result<HttpReply> Send(const HttpRequest& request, BodySink* sink, const CancelToken& cancel);

 private:
  void* curl_ = nullptr;
};

// "Too busy" or "failed just now": worth another try.
bool IsRetriableStatus(long status);
// Waits in small steps; an error when cancelled meanwhile.
Status PauseFor(int64_t wait_ms, const CancelToken& cancel);

}  // namespace partita
