#include "tests/servers/image_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <mutex>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

namespace partita_testing {
namespace {

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size()) {
      out += static_cast<char>(std::strtol(std::string(text.substr(i + 1, 2)).c_str(), nullptr, 16));
      i += 2;
    } else {
      out += text[i];
    }
  }
  return out;
}

std::string_view ContentType(std::string_view name) {
  const auto dot = name.rfind('.');
  const std::string_view ending = dot == std::string_view::npos ? "" : name.substr(dot + 1);
  if (ending == "jpg" || ending == "jpeg") return "image/jpeg";
  if (ending == "png") return "image/png";
  if (ending == "webp") return "image/webp";
  if (ending == "txt") return "text/plain";
  return "application/octet-stream";
}

// 64 MiB of zeros as gzip: stored as one deflate stream of repeated matches, built here so that no zlib is
// needed. A stream of 258-byte matches with fixed Huffman codes: length symbol 285 is 8 bits 11000101,
// distance 1 is 5 zero bits.
std::string GzipBomb() {
  std::string out("\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03", 10);
  uint64_t bits = 0;
  int n = 0;
  auto put = [&](uint32_t value, int width) {  // least significant bit first
    bits |= uint64_t{value} << n;
    n += width;
    while (n >= 8) {
      out += static_cast<char>(bits & 0xFF);
      bits >>= 8;
      n -= 8;
    }
  };
  put(1, 1);
  put(1, 2);     // last block, fixed codes
  put(0x0C, 8);  // literal 0: code 00110000, most significant bit first
  for (int i = 0; i < (64 << 20) / 258; ++i) {
    put(0xA3, 8);  // 285: code 11000101
    put(0, 5);
  }
  put(0, 7);  // end of block
  if (n > 0) put(0, 8 - n);
  out.append(8, '\0');  // a wrong CRC and length: nobody gets that far
  return out;
}

struct Request {
  std::string_view head;  // all of it
  std::string path;       // without the query
  std::map<std::string, std::string> query;
  bool keep_alive = true;

  std::string Get(const std::string& key, std::string fallback) const {
    auto it = query.find(key);
    return it == query.end() ? fallback : it->second;
  }
  int GetInt(const std::string& key, int fallback) const {
    auto it = query.find(key);
    return it == query.end() ? fallback : std::atoi(it->second.c_str());
  }
};

// What goes out on a connection, besides its header.
struct Reply {
  std::string head;                         // with the final empty line; owned
  std::shared_ptr<const std::string> body;  // may be shared with the cache
  double delay_s = 0;                       // before the first byte
  double drip_s = 0;                        // one byte of the body each so often
  bool endless = false;                     // repeats the body for ever
  bool hang = false;                        // sends nothing more, keeps the connection
  bool close = false;                       // after the last byte
  bool reset = false;                       // with RST
};

struct Connection {
  int fd = -1;
  std::string in;
  std::shared_ptr<Reply> reply;  // under way
  size_t sent = 0;               // of head and body
  bool wants_write = false;
  bool counted = false;  // in `at_once`
};

}  // namespace

class ImageServer::Impl {
 public:
  explicit Impl(ImageServerOptions options) : options_(std::move(options)) {}
  ~Impl() {
    stop_ = true;
    const uint64_t one = 1;
    if (wake_ >= 0) (void)!write(wake_, &one, sizeof one);
    if (thread_.joinable()) thread_.join();
    for (auto& [fd, connection] : connections_) close(fd);
    for (int fd : {listen_, epoll_, wake_}) {
      if (fd >= 0) close(fd);
    }
  }

  bool Open(std::string* error) {
    if (!LoadFolder(error)) return false;
    listen_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const int on = 1;
    setsockopt(listen_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(options_.port));
    socklen_t size = sizeof address;
    if (bind(listen_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listen_, 1024) != 0) {
      *error = std::string("cannot listen: ") + std::strerror(errno);
      return false;
    }
    getsockname(listen_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    epoll_ = epoll_create1(EPOLL_CLOEXEC);
    wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    Watch(listen_, EPOLLIN, EPOLL_CTL_ADD);
    Watch(wake_, EPOLLIN, EPOLL_CTL_ADD);
    thread_ = std::thread([this] { Run(); });
    return true;
  }

  int port() const { return port_; }
  ImageServerStats stats() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }
  void ResetStats() {
    std::lock_guard<std::mutex> lock(mutex_);
    stats_ = {};
    last_request_ = -1;
    flaky_.clear();
  }
  void SetRobots(int status, std::string text) {
    std::lock_guard<std::mutex> lock(mutex_);
    options_.robots_status = status;
    options_.robots_txt = std::move(text);
  }

 private:
  bool LoadFolder(std::string* error) {
    if (options_.folder.empty()) return true;
    namespace fs = std::filesystem;
    std::error_code code;
    for (auto it = fs::recursive_directory_iterator(options_.folder, code); !code && it != fs::end(it);
         it.increment(code)) {
      if (!it->is_regular_file(code)) continue;
      std::ifstream file(it->path(), std::ios::binary);
      auto body = std::make_shared<const std::string>(std::istreambuf_iterator<char>(file),
                                                      std::istreambuf_iterator<char>());
      const std::string name = fs::relative(it->path(), options_.folder, code).generic_string();
      auto reply = std::make_shared<Reply>(Ok(body, ContentType(name)));
      files_["/" + name] = reply;
    }
    if (code) *error = "cannot read " + options_.folder + ": " + code.message();
    return !code;
  }

  void Watch(int fd, uint32_t events, int operation) {
    epoll_event event{};
    event.events = events;
    event.data.fd = fd;
    epoll_ctl(epoll_, operation, fd, &event);
  }

  void Run() {
    std::array<epoll_event, 256> events;
    while (!stop_) {
      int timeout_ms = -1;
      if (!timers_.empty()) {
        timeout_ms = static_cast<int>(std::ceil(std::max(0.0, timers_.begin()->first - Now()) * 1000));
      }
      const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
      for (int i = 0; i < n; ++i) {
        const int fd = events[i].data.fd;
        if (fd == wake_) continue;
        if (fd == listen_) {
          Accept();
          continue;
        }
        if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) Read(fd);
        if (events[i].events & EPOLLOUT) Send(fd);
      }
      while (!timers_.empty() && timers_.begin()->first <= Now()) {
        auto action = std::move(timers_.begin()->second);
        timers_.erase(timers_.begin());
        action();
      }
    }
  }

  void Accept() {
    while (true) {
      const int fd = accept4(listen_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      const int on = 1;
      setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
      connections_[fd].fd = fd;
      Watch(fd, EPOLLIN, EPOLL_CTL_ADD);
      std::lock_guard<std::mutex> lock(mutex_);
      ++stats_.connections;
    }
  }

  Connection* Find(int fd) {
    auto it = connections_.find(fd);
    return it == connections_.end() ? nullptr : &it->second;
  }

  void EndRequest(Connection* connection) {
    if (connection->counted) --at_once_;
    connection->counted = false;
  }

  void Close(int fd, bool reset = false) {
    Connection* connection = Find(fd);
    if (connection == nullptr) return;
    EndRequest(connection);
    if (reset) {
      const linger hard{1, 0};
      setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    close(fd);
    connections_.erase(fd);
  }

  void Read(int fd) {
    Connection* connection = Find(fd);
    if (connection == nullptr) return;
    char buffer[16384];
    const ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (n <= 0 || connection->in.size() > (1 << 20)) return Close(fd);
    connection->in.append(buffer, static_cast<size_t>(n));
    if (connection->in[0] < 'A' || connection->in[0] > 'Z') return Close(fd);  // TLS, say
    if (!connection->reply) Next(fd);
  }

  // Answers the next request in the buffer, if it is whole.
  void Next(int fd) {
    Connection* connection = Find(fd);
    if (connection == nullptr) return;
    const size_t end = connection->in.find("\r\n\r\n");
    if (end == std::string::npos) return;
    const std::string head = connection->in.substr(0, end + 4);
    connection->in.erase(0, end + 4);
    const Request request = Parse(head);
    connection->counted = true;
    ++at_once_;
    Count(request.path);
    connection->reply = Answer(request);
    connection->sent = 0;
    if (!request.keep_alive && !connection->reply->close) {
      connection->reply = std::make_shared<Reply>(*connection->reply);
      connection->reply->close = true;
    }
    if (connection->reply->delay_s > 0) {
      Later(fd, connection->reply, connection->reply->delay_s, [this, fd] { Send(fd); });
    } else {
      Send(fd);
    }
  }

  // `action` runs unless the connection is gone or answers something else by then.
  void Later(int fd, std::weak_ptr<Reply> reply, double delay_s, std::function<void()> action) {
    timers_.emplace(Now() + delay_s, [this, fd, reply, action] {
      Connection* connection = Find(fd);
      if (connection != nullptr && connection->reply && connection->reply == reply.lock()) action();
    });
  }

  static Request Parse(const std::string& head) {
    Request request;
    request.head = head;
    const size_t first = head.find(' ');
    const size_t second = head.find(' ', first + 1);
    std::string target = first == std::string::npos ? "/" : head.substr(first + 1, second - first - 1);
    const size_t mark = target.find('?');
    request.path = Unescape(std::string_view(target).substr(0, mark));
    std::string_view query = mark == std::string::npos ? "" : std::string_view(target).substr(mark + 1);
    while (!query.empty()) {
      const size_t amp = query.find('&');
      const std::string_view item = query.substr(0, amp);
      const size_t equals = item.find('=');
      if (equals != std::string_view::npos) {
        request.query[std::string(item.substr(0, equals))] = Unescape(item.substr(equals + 1));
      }
      query.remove_prefix(amp == std::string_view::npos ? query.size() : amp + 1);
    }
    request.keep_alive =
        head.find("HTTP/1.0") == std::string::npos && head.find("Connection: close") == std::string::npos;
    return request;
  }

  void Count(const std::string& path) {
    if (path.rfind("/stats", 0) == 0) return;
    const double now = Now();
    std::lock_guard<std::mutex> lock(mutex_);
    if (stats_.requests.size() < 100'000) ++stats_.requests[path];
    ++stats_.total_requests;
    stats_.most_at_once = std::max(stats_.most_at_once, at_once_);
    if (last_request_ >= 0) stats_.least_gap_s = std::min(stats_.least_gap_s, now - last_request_);
    last_request_ = now;
  }

  void Send(int fd) {
    Connection* connection = Find(fd);
    if (connection == nullptr || !connection->reply) return;
    const std::shared_ptr<Reply> reply = connection->reply;
    const std::string& head = reply->head;
    const size_t body_size = reply->body ? reply->body->size() : 0;
    while (true) {
      iovec parts[2];
      int n = 0;
      if (connection->sent < head.size()) {
        parts[n++] = {const_cast<char*>(head.data()) + connection->sent, head.size() - connection->sent};
      }
      size_t body_at = connection->sent > head.size() ? connection->sent - head.size() : 0;
      if (reply->endless && body_size > 0) body_at %= body_size;
      size_t body_n = body_size - std::min(body_at, body_size);
      if (reply->drip_s > 0) body_n = connection->sent < head.size() ? 0 : std::min<size_t>(body_n, 1);
      if (body_n > 0) parts[n++] = {const_cast<char*>(reply->body->data()) + body_at, body_n};
      if (n == 0) break;
      msghdr message{};
      message.msg_iov = parts;
      message.msg_iovlen = static_cast<size_t>(n);
      const ssize_t sent = sendmsg(fd, &message, MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno != EAGAIN && errno != EINTR) return Close(fd);
        if (!connection->wants_write) Watch(fd, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
        connection->wants_write = true;
        return;
      }
      connection->sent += static_cast<size_t>(sent);
      if (reply->drip_s > 0) return Later(fd, reply, reply->drip_s, [this, fd] { Send(fd); });
    }
    if (connection->wants_write) Watch(fd, EPOLLIN, EPOLL_CTL_MOD);
    connection->wants_write = false;
    if (reply->hang) return;
    if (reply->close || reply->reset) return Close(fd, reply->reset);
    EndRequest(connection);
    connection->reply.reset();
    Next(fd);
  }

  static std::string Head(int status, std::string_view type, int64_t length, std::string_view more = "") {
    std::string head =
        "HTTP/1.1 " + std::to_string(status) + " Status\r\nContent-Type: " + std::string(type) + "\r\n";
    if (length >= 0) head += "Content-Length: " + std::to_string(length) + "\r\n";
    head += more;
    return head + "\r\n";
  }
  static Reply Ok(std::shared_ptr<const std::string> body, std::string_view type, std::string_view more = "",
                  int status = 200) {
    Reply reply;
    reply.head = Head(status, type, static_cast<int64_t>(body->size()), more);
    reply.body = std::move(body);
    return reply;
  }
  static Reply Image(std::string_view more = "") {
    static const auto pixel = std::make_shared<const std::string>(Pixel());
    return Ok(pixel, "image/png", more);
  }
  static Reply Text(int status, std::string text, std::string_view more = "") {
    return Ok(std::make_shared<const std::string>(std::move(text)), "text/plain", more, status);
  }
  static Reply RedirectTo(const std::string& url) {
    return Text(302, "moved\n", "Location: " + url + "\r\n");
  }

  std::shared_ptr<Reply> Answer(const Request& request) {
    if (auto it = files_.find(request.path); it != files_.end()) return it->second;
    return std::make_shared<Reply>(Special(request));
  }

  Reply Special(const Request& request) {
    const std::string& path = request.path;
    auto under = [&](std::string_view prefix) { return path.rfind(prefix, 0) == 0; };
    if (path == "/404" || path == "/500") return Text(std::atoi(path.c_str() + 1), "no\n");
    if (under("/status/")) return Text(std::atoi(path.c_str() + 8), "as you wish\n");
    if (under("/flaky/") || under("/retry-after")) return Flaky(request, under("/retry-after"));
    if (under("/redirect")) return Redirects(request);
    if (path == "/robots.txt") {
      std::lock_guard<std::mutex> lock(mutex_);
      return Text(options_.robots_status, options_.robots_txt);
    }
    if (under("/disallowed") || under("/image")) return Image();
    if (path == "/noai") return Image("X-Robots-Tag: noai\r\n");
    if (path == "/robots-tag") return Image("X-Robots-Tag: " + request.Get("value", "") + "\r\n");
    if (path == "/not-an-image") return Text(200, "<html><body>Buy our pictures!</body></html>\n");
    if (path == "/echo") return Text(200, std::string(request.head));
    if (path == "/stats") return Text(200, StatsJson());
    if (path == "/stats/reset") {
      ResetStats();
      return Text(200, "{}\n");
    }
    if (path == "/body") {
      std::string body(static_cast<size_t>(std::clamp(request.GetInt("bytes", 1000), 0, 1 << 30)), '\0');
      for (size_t i = 0; i < body.size(); ++i) body[i] = static_cast<char>(i % 251);
      return Ok(std::make_shared<const std::string>(std::move(body)), "application/octet-stream");
    }
    return Hostile(request);
  }

  Reply Flaky(const Request& request, bool retry_after) {
    const int n = request.GetInt("n", 1);
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (++flaky_[request.path] > n) return Image();
    }
    if (!retry_after) return Text(request.GetInt("code", 503), "not yet\n");
    std::string after = request.Get("after", "1");
    if (after == "date") {
      const std::time_t then = std::time(nullptr) + 1;
      char text[64];
      std::tm utc{};
      gmtime_r(&then, &utc);
      std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &utc);
      after = text;
    }
    return Text(request.GetInt("code", 429), "slower\n", "Retry-After: " + after + "\r\n");
  }

  Reply Redirects(const Request& request) {
    const std::string& path = request.path;
    if (path == "/redirect-loop") return RedirectTo("/redirect-loop");
    if (path == "/redirect-private") return RedirectTo("http://10.0.0.1/secret");
    if (path == "/redirect-scheme") return RedirectTo("ftp://127.0.0.1/image");
    if (path == "/redirect-file") return RedirectTo("file:///etc/passwd");
    if (path == "/redirect-chain") {
      const int n = request.GetInt("n", 1);
      return n <= 0 ? Image() : RedirectTo("/redirect-chain?n=" + std::to_string(n - 1));
    }
    return RedirectTo(request.Get("to", "/image"));
  }

  Reply Hostile(const Request& request) {
    const std::string& path = request.path;
    static const auto junk = std::make_shared<const std::string>(65536, 'x');
    Reply reply = Image();
    if (path == "/slow") {
      reply.delay_s = request.GetInt("ms", 300) / 1000.0;
    } else if (path == "/drip") {
      reply.drip_s = request.GetInt("ms", 20) / 1000.0;
    } else if (path == "/stall") {
      reply.body = nullptr;
      reply.hang = true;
    } else if (path == "/silent") {
      reply = {};
      reply.hang = true;
    } else if (path == "/truncated") {
      reply.head = Head(200, "image/png", 2 * static_cast<int64_t>(Pixel().size()));
      reply.close = true;
    } else if (path == "/truncated-chunked") {
      reply = {.head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nabc", .close = true};
    } else if (path == "/lie-length") {
      reply.head = Head(200, "image/png", request.GetInt("claim", 10));
    } else if (path == "/oversized") {
      reply = {.head = Head(200, "image/jpeg", int64_t{10} << 30), .body = junk, .endless = true};
    } else if (path == "/endless") {
      reply = {.head = Head(200, "image/jpeg", -1), .body = junk, .endless = true};
    } else if (path == "/gzip-bomb") {
      static const auto bomb = std::make_shared<const std::string>(GzipBomb());
      reply = Ok(bomb, "image/png", "Content-Encoding: gzip\r\n");
    } else if (path == "/reset") {
      reply = {.head = Head(200, "image/png", 1000) + "some bytes", .reset = true};
    } else if (path == "/garbage") {
      reply = {.head = std::string("\x16\x03\x01\x00\x00 this is not HTTP\r\n\r\n", 26), .close = true};
    } else if (path == "/header-flood") {
      static const auto flood = std::make_shared<const std::string>([] {
        std::string lines;
        for (int i = 0; i < 1000; ++i) lines += "X-Flood: " + std::string(100, 'f') + "\r\n";
        return lines;
      }());
      reply = {.head = "HTTP/1.1 200 OK\r\n", .body = flood, .endless = true};
    } else {
      reply = Text(404, "not found\n");
    }
    return reply;
  }

  std::string StatsJson() const {
    std::lock_guard<std::mutex> lock(mutex_);
    std::string json = "{\"total\": " + std::to_string(stats_.total_requests) +
                       ", \"connections\": " + std::to_string(stats_.connections) +
                       ", \"most_at_once\": " + std::to_string(stats_.most_at_once) + ", \"requests\": {";
    bool first = true;
    for (const auto& [path, n] : stats_.requests) {
      std::string name;
      for (char c : path) {
        if (static_cast<unsigned char>(c) < 0x20) continue;
        if (c == '"' || c == '\\') name += '\\';
        name += c;
      }
      json += (first ? "\"" : ", \"") + name + "\": " + std::to_string(n);
      first = false;
    }
    return json + "}}\n";
  }

  ImageServerOptions options_;
  int listen_ = -1, epoll_ = -1, wake_ = -1, port_ = 0;
  std::atomic<bool> stop_{false};
  std::thread thread_;
  std::unordered_map<std::string, std::shared_ptr<Reply>> files_;
  std::unordered_map<int, Connection> connections_;
  std::multimap<double, std::function<void()>> timers_;
  int64_t at_once_ = 0;
  mutable std::mutex mutex_;
  ImageServerStats stats_;
  double last_request_ = -1;
  std::map<std::string, int> flaky_;
};

std::unique_ptr<ImageServer> ImageServer::Start(ImageServerOptions options, std::string* error) {
  auto impl = std::make_unique<Impl>(std::move(options));
  if (!impl->Open(error)) return nullptr;
  return std::unique_ptr<ImageServer>(new ImageServer(std::move(impl)));
}

ImageServer::ImageServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ImageServer::~ImageServer() = default;
int ImageServer::port() const { return impl_->port(); }
std::string ImageServer::url() const { return "http://127.0.0.1:" + std::to_string(port()); }
ImageServerStats ImageServer::stats() const { return impl_->stats(); }
void ImageServer::ResetStats() { impl_->ResetStats(); }
void ImageServer::SetRobots(int status, std::string text) { impl_->SetRobots(status, std::move(text)); }

const std::string& ImageServer::Pixel() {
  static const std::string pixel(
      "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\6\0\0\0\x1f\x15\xc4\x89\0\0\0\rIDATx\x9c\x63\xf8\xcf"
      "\xc0\xf0\x1f\0\5\0\1\xff"
      "\x89\x99\x3d\x1d\0\0\0\0IEND\xae\x42\x60\x82",
      70);
  return pixel;
}

}  // namespace partita_testing
