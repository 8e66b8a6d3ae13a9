#include "partita/storage/http/http_file.h"

#include <arpa/inet.h>
#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <mutex>
#include <thread>

#include "partita/storage/format_fixture.h"

namespace partita {
namespace {

// A server of a few documents, each with its own vice; one connection at a time.
class Server {
 public:
  Server() {
    listener_ = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    socklen_t size = sizeof(address);
    getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    listen(listener_, 16);
    thread_ = std::thread([this] { Run(); });
  }
  ~Server() {
    stop_ = true;
    shutdown(listener_, SHUT_RDWR);
    close(listener_);
    thread_.join();
  }
  std::string Url(const std::string& path) const {
    return "http://127.0.0.1:" + std::to_string(port_) + path;
  }
  int requests() const { return requests_; }

  std::string body = "0123456789abcdefghijklmnopqrstuvwxyz";
  std::atomic<int> failures = 0;  // answers 503 so many times first
  std::atomic<int> version = 1;

 private:
  void Run() {
    while (!stop_) {
      const int connection = accept(listener_, nullptr, nullptr);
      if (connection < 0) return;
      std::string request;
      char window[4096];
      while (request.find("\r\n\r\n") == std::string::npos) {
        const ssize_t got = read(connection, window, sizeof(window));
        if (got <= 0) break;
        request.append(window, static_cast<size_t>(got));
      }
      ++requests_;
      const std::string answer = Answer(request);
      (void)!write(connection, answer.data(), answer.size());
      close(connection);
    }
  }

  std::string Answer(const std::string& request) {
    const bool head = request.substr(0, 5) == "HEAD ";
    const std::string path = request.substr(request.find(' ') + 1,
                                            request.find(' ', request.find(' ') + 1) - request.find(' ') - 1);
    const auto reply = [&](const std::string& status, const std::string& headers,
                           const std::string& content) {
      return "HTTP/1.1 " + status + "\r\nConnection: close\r\n" + headers + "\r\n" + (head ? "" : content);
    };
    const auto length = [](size_t size) { return "Content-Length: " + std::to_string(size) + "\r\n"; };
    if (failures > 0) {
      --failures;
      return reply("503 Busy", "Retry-After: 0\r\n" + length(0), "");
    }
    const std::string etag = "ETag: \"v" + std::to_string(version) + "\"\r\n";
    if (path == "/missing") return reply("404 Not Found", length(4), "gone");
    if (path == "/loop") return reply("302 Found", "Location: /loop\r\n" + length(0), "");
    if (path == "/escape") return reply("302 Found", "Location: file:///etc/passwd\r\n" + length(0), "");
    if (path == "/redirect") return reply("302 Found", "Location: /file\r\n" + length(0), "");
    if (path == "/nohead" && head) return reply("405 Method Not Allowed", length(0), "");
    if (path == "/short")
      return reply("200 OK", etag + length(head ? body.size() : body.size()), body.substr(0, 5));
    if (path == "/unknown") return reply("200 OK", "", body);
    size_t begin = 0, end = body.size();
    const size_t range = request.find("Range: bytes=");
    const size_t match = request.find("If-Match: ");
    if (match != std::string::npos &&
        request.compare(match + 10, 4, "\"v" + std::to_string(version) + "\"") != 0) {
      return reply("412 Precondition Failed", length(0), "");
    }
    if (path == "/whole" || range == std::string::npos)
      return reply("200 OK", etag + length(body.size()), body);
    begin = std::stoul(request.substr(range + 13));
    end = std::stoul(request.substr(request.find('-', range + 13) + 1)) + 1;
    if (path == "/more") end = body.size();
    if (path == "/other") ++begin;
    end = std::min(end, body.size());
    return reply("206 Partial Content",
                 etag + length(end - begin) + "Content-Range: bytes " + std::to_string(begin) + "-" +
                     std::to_string(end - 1) + "/" + std::to_string(body.size()) + "\r\n",
                 body.substr(begin, end - begin));
  }

  int listener_ = -1;
  uint16_t port_ = 0;
  std::thread thread_;
  std::atomic<bool> stop_ = false;
  std::atomic<int> requests_ = 0;
};

class HttpFileTest : public FormatFixture {
 protected:
  HttpFileTest() { setenv("no_proxy", "127.0.0.1", 1); }
  Result<std::string> Range(const FileEntry& entry, int64_t begin, int64_t size) {
    ARROW_ASSIGN_OR_RAISE(auto file, OpenFile(Env::Default(), entry, budget_->root().get()));
    ARROW_ASSIGN_OR_RAISE(auto buffer, file->ReadAt(begin, size));
    return buffer->ToString();
  }
  Server server_;
};

TEST_F(HttpFileTest, ListsAndReadsRanges) {
  for (const char* path : {"/file", "/whole", "/nohead", "/redirect"}) {
    const auto files = ListFiles(Env::Default(), {server_.Url(path)}, {});
    ASSERT_TRUE(files.ok()) << files.status();
    EXPECT_EQ(files->at(0).size_bytes, 36) << path;
    EXPECT_EQ(files->at(0).etag, "\"v1\"");
    EXPECT_EQ(*Range(files->at(0), 10, 6), "abcdef") << path;
    EXPECT_EQ(*Range(files->at(0), 30, 100), "uvwxyz");
    EXPECT_EQ(*Range(files->at(0), 36, 5), "");
  }
  const auto unknown = ListFiles(Env::Default(), {server_.Url("/unknown")}, {});
  ASSERT_TRUE(unknown.ok()) << unknown.status();
  EXPECT_EQ(unknown->at(0).size_bytes, -1);
  EXPECT_EQ(*Range(unknown->at(0), 10, 6), "abcdef");
}

TEST_F(HttpFileTest, FormatsReadThroughIt) {
  server_.body = "a,b\n1,x\n2,y\n3,z\n";
  const FileEntry entry = ListFiles(Env::Default(), {server_.Url("/file")}, {})->at(0);
  const auto schema = *Inspect(CsvFormat(), entry);
  ExpectSameRowsAtEverySplit(CsvFormat(), entry, schema);
}

TEST_F(HttpFileTest, BusyServersAreAskedAgain) {
  server_.failures = 2;
  const FileEntry entry = ListFiles(Env::Default(), {server_.Url("/file")}, {})->at(0);
  server_.failures = 1;
  EXPECT_EQ(*Range(entry, 0, 3), "012");
  server_.failures = 100;
  const int before = server_.requests();
  const Status status = Range(entry, 0, 3).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kEnvironment);
  EXPECT_TRUE(IsRetriable(status));
  EXPECT_EQ(server_.requests() - before, 4);
}

TEST_F(HttpFileTest, ChangesAndLiesAreErrors) {
  const FileEntry entry = ListFiles(Env::Default(), {server_.Url("/file")}, {})->at(0);
  server_.version = 2;
  Status status = Range(entry, 0, 3).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kEnvironment);
  EXPECT_FALSE(IsRetriable(status)) << status;
  for (const char* path : {"/more", "/other", "/missing"}) {
    FileEntry other = entry;
    other.etag.clear();
    other.location = server_.Url(path);
    EXPECT_EQ(KindOf(Range(other, 3, 4).status()), ErrorKind::kEnvironment) << path;
  }
  FileEntry shorter = entry;
  shorter.etag.clear();
  shorter.location = server_.Url("/short");
  EXPECT_FALSE(Range(shorter, 0, 20).ok());
}

TEST_F(HttpFileTest, RefusedLocations) {
  EXPECT_EQ(KindOf(ListFiles(Env::Default(), {server_.Url("/missing")}, {}).status()), ErrorKind::kUser);
  EXPECT_FALSE(ListFiles(Env::Default(), {server_.Url("/loop")}, {}).ok());
  EXPECT_FALSE(ListFiles(Env::Default(), {server_.Url("/escape")}, {}).ok());
  EXPECT_EQ(KindOf(ListFiles(Env::Default(), {"ftp://host/x"}, {}).status()), ErrorKind::kUser);
}

TEST_F(HttpFileTest, WaitsEndWhenTheRunIsCancelled) {
  const FileEntry entry = ListFiles(Env::Default(), {server_.Url("/file")}, {})->at(0);
  server_.failures = 100;
  CancelToken cancel;
  auto file = *OpenFile(Env::Default(), entry, budget_->root().get(), cancel);
  cancel.Cancel();
  EXPECT_TRUE(file->ReadAt(0, 3).status().IsCancelled());
}

}  // namespace
}  // namespace partita
