// A small HTTP/1.1 server for tests, the demo and benchmarks: serves the files of a folder from memory, and
// misbehaves on request. One thread, epoll, keep-alive; binds 127.0.0.1 only.
//
//   /<file>                     a file of the folder (Content-Type by its ending)
//   /status/<code>              that status with a short body; /404 and /500 are the same as /status/404 and
//   /status/500 /flaky/<key>?n=2&code=503   that status the first n times, then an image;
//   /retry-after/<key>?n=2&after=1 the same with 429 and
//                               Retry-After (after=date: an HTTP date one second ahead)
//   /slow?ms=300                an image after so long;  /drip?ms=20 one byte at a time
//   /stall                      headers, then nothing;   /silent nothing at all
//   /truncated                  half of what Content-Length says; /truncated-chunked
//   /lie-length?claim=10        more bytes than Content-Length says
//   /oversized                  Content-Length of 10 GiB and bytes without end; /endless the same without a
//   length /body?bytes=1000            a body of that size (byte i is i mod 251) /redirect?to=<escaped url>
//   302;  /redirect-chain?n=3 so many hops, then an image;  /redirect-loop /redirect-private to 10.0.0.1;
//   /redirect-scheme to ftp;  /redirect-file to file:///etc/passwd /not-an-image               HTML with
//   status 200 /noai                       an image with X-Robots-Tag: noai;  /robots-tag?value=<escaped> any
//   value /gzip-bomb                  a gzip that unpacks to 64 MiB, with Content-Encoding: gzip /reset
//   headers and some bytes, then RST;  /garbage not HTTP;  /header-flood headers without end /disallowed/...
//   an image, forbidden by /robots.txt /echo                       the request's header, as text /stats JSON:
//   requests by path, most at once, least gap; /stats/reset
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace partita_testing {

struct ImageServerOptions {
  std::string folder;  // empty: none
  int port = 0;        // 0: any free one
  std::string robots_txt = "User-agent: *\nDisallow: /disallowed\n";
  int robots_status = 200;
};

struct ImageServerStats {
  std::map<std::string, int64_t> requests;  // by path, without the query
  int64_t total_requests = 0;
  int64_t connections = 0;   // accepted ever
  int64_t most_at_once = 0;  // requests under way at once
  double least_gap_s = 1e9;  // between two requests that came one after the other
};

class ImageServer {
 public:
  // Listens and serves from a thread of its own. Null when the port or the folder cannot be had; *error says
  // why.
  static std::unique_ptr<ImageServer> Start(ImageServerOptions options, std::string* error);
  ~ImageServer();

  int port() const;
  std::string url() const;  // "http://127.0.0.1:<port>"
  ImageServerStats stats() const;
  void ResetStats();
  void SetRobots(int status, std::string text);

  // A small valid PNG (1x1).
  static const std::string& Pixel();

 private:
  class Impl;
  explicit ImageServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace partita_testing
