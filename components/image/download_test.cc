// The downloader against a hostile server in the same process.
#include "components/image/download.h"

#include <arrow/buffer.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <set>
#include <thread>

#include "tests/servers/image_server.h"

namespace partita {
namespace {

using partita_testing::ImageServer;

class DownloadTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string error;
    server_ = ImageServer::Start({}, &error);
    ASSERT_TRUE(server_) << error;
    options_.allow_private_addresses = true;
    options_.timeout_s = 5;
    options_.retry_delay_s = 0.01;
  }

  std::shared_ptr<std::promise<DownloadResult>> Submit(Downloader* downloader, const std::string& url,
                                                       CancelToken cancel = {}) {
    auto promise = std::make_shared<std::promise<DownloadResult>>();
    DownloadRequest request;
    request.url = url;
    request.pool = budget_->root();
    request.cancel = cancel;
    downloader->Submit(std::move(request),
                       [promise](DownloadResult result) { promise->set_value(std::move(result)); });
    return promise;  // set_value throws when called twice: a callback that runs twice fails the test
  }

  std::unique_ptr<Downloader> Make() {
    auto downloader = Downloader::Make(options_);
    EXPECT_TRUE(downloader.ok()) << downloader.status();
    return std::move(*downloader);
  }

  DownloadResult Get(const std::string& path) {
    auto downloader = Make();
    return Submit(downloader.get(), server_->url() + path)->get_future().get();
  }

  // "" when it came, else the message.
  std::string Error(const std::string& path) {
    const DownloadResult result = Get(path);
    if (!result.status.ok()) {
      EXPECT_EQ(KindOf(result.status), ErrorKind::kData) << result.status;
    }
    return MessageOf(result.status);
  }

  double SecondsFor(int requests) {
    const auto start = std::chrono::steady_clock::now();
    auto downloader = Make();
    std::vector<std::shared_ptr<std::promise<DownloadResult>>> waiting;
    for (int i = 0; i < requests; ++i) waiting.push_back(Submit(downloader.get(), server_->url() + "/image"));
    for (auto& one : waiting) EXPECT_TRUE(one->get_future().get().status.ok());
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }

  std::shared_ptr<Budget> budget_ = Budget::Make(256 << 20);
  std::unique_ptr<ImageServer> server_;
  DownloadOptions options_;
};

TEST_F(DownloadTest, BringsTheBytes) {
  const DownloadResult result = Get("/image");
  ASSERT_TRUE(result.status.ok()) << result.status;
  EXPECT_EQ(result.http_status, 200);
  EXPECT_EQ(result.body->ToString(), ImageServer::Pixel());
}

TEST_F(DownloadTest, BodiesOfAllSizes) {
  for (int bytes : {0, 1, 1000, 65536, 65537, 1'000'000, 5'000'001}) {
    const DownloadResult result = Get("/body?bytes=" + std::to_string(bytes));
    ASSERT_TRUE(result.status.ok()) << result.status;
    ASSERT_EQ(result.body->size(), bytes);
    for (int i = 0; i < bytes; ++i) ASSERT_EQ(result.body->data()[i], i % 251);
  }
}

TEST_F(DownloadTest, FailuresHaveOneTextEach) {
  EXPECT_EQ(Error("/404"), "HTTP 404");
  EXPECT_EQ(Error("/500"), "HTTP 500");
  EXPECT_EQ(Error("/status/418"), "HTTP 418");
  EXPECT_EQ(Error("/truncated"), "truncated body");
  EXPECT_EQ(Error("/truncated-chunked"), "truncated body");
  EXPECT_EQ(Error("/oversized"), "larger than max_bytes");
  EXPECT_EQ(Error("/endless"), "larger than max_bytes");
  EXPECT_EQ(Error("/redirect-loop"), "too many redirects");
  EXPECT_EQ(Error("/redirect-scheme"), "unsupported scheme");
  EXPECT_EQ(Error("/redirect-file"), "unsupported scheme");
  EXPECT_EQ(Error("/redirect?to=http%3A%2F%2F"), "invalid url");
  EXPECT_EQ(Error("/noai"), "disallowed by X-Robots-Tag: noai");
  EXPECT_EQ(Error("/disallowed/x"), "disallowed by robots.txt");
  EXPECT_EQ(Error("/gzip-bomb"), "content encoding that was not asked for");
  EXPECT_EQ(Error("/reset"), "connection reset");
  EXPECT_EQ(Error("/garbage"), "malformed answer");
  EXPECT_EQ(Error("/header-flood"), "malformed answer");
}

TEST_F(DownloadTest, StallsTimeOut) {
  options_.timeout_s = 0.3;
  options_.respect_robots = false;
  EXPECT_EQ(Error("/stall"), "timeout");
  EXPECT_EQ(Error("/silent"), "timeout");
  EXPECT_EQ(Error("/drip?ms=100"), "timeout");
  EXPECT_EQ(Error("/slow?ms=20000"), "timeout");
}

TEST_F(DownloadTest, SlowAnswersArrive) { EXPECT_EQ(Error("/slow?ms=100"), ""); }

TEST_F(DownloadTest, AShorterClaimOfLengthCutsTheBody) {
  const DownloadResult result = Get("/lie-length?claim=10");
  ASSERT_TRUE(result.status.ok());
  EXPECT_EQ(result.body->size(), 10);
}

TEST_F(DownloadTest, UnreachableHosts) {
  options_.respect_robots = false;
  auto downloader = Make();
  auto error = [&](const std::string& url) {
    return MessageOf(Submit(downloader.get(), url)->get_future().get().status);
  };
  EXPECT_EQ(error("http://127.0.0.1:1/x"), "connection refused");
  EXPECT_EQ(error("http://no-such-host.invalid/x"), "host not found");
  EXPECT_EQ(error("http://no-such-host.invalid/y"), "host not found");
  EXPECT_EQ(error("https://127.0.0.1:" + std::to_string(server_->port()) + "/"), "TLS error");
  EXPECT_EQ(error("nonsense"), "invalid url");
  EXPECT_EQ(error("ftp://h/x"), "unsupported scheme");
}

TEST_F(DownloadTest, RobotsFailuresOfAHostAreItsOwn) {
  auto downloader = Make();
  auto error = [&](const std::string& url) {
    return MessageOf(Submit(downloader.get(), url)->get_future().get().status);
  };
  EXPECT_EQ(error("http://127.0.0.1:1/x"), "connection refused");
  EXPECT_EQ(error("http://no-such-host.invalid/x"), "host not found");
}

TEST_F(DownloadTest, RedirectsAreFollowedWithinTheirBound) {
  EXPECT_EQ(Error("/redirect-chain?n=5"), "");
  EXPECT_EQ(Error("/redirect-chain?n=6"), "too many redirects");
  options_.max_redirects = 0;
  EXPECT_EQ(Error("/redirect-chain?n=1"), "too many redirects");
}

TEST_F(DownloadTest, ARedirectIntoADisallowedPathIsDisallowed) {
  EXPECT_EQ(Error("/redirect?to=%2Fdisallowed%2Fx"), "disallowed by robots.txt");
  EXPECT_EQ(server_->stats().requests.count("/disallowed/x"), 0u);
}

TEST_F(DownloadTest, PrivateAddressesAreRefused) {
  options_.allow_private_addresses = false;
  EXPECT_EQ(Error("/image"), "private address refused");
  options_.respect_robots = false;
  EXPECT_EQ(Error("/image"), "private address refused");
  auto downloader = Make();
  // A name is caught by the address it resolves to.
  const std::string by_name = "http://localhost:" + std::to_string(server_->port()) + "/image";
  EXPECT_EQ(MessageOf(Submit(downloader.get(), by_name)->get_future().get().status),
            "private address refused");
  EXPECT_EQ(server_->stats().total_requests, 0);
}

TEST_F(DownloadTest, MaxBytesHoldsWithAndWithoutLength) {
  options_.max_bytes = 1000;
  EXPECT_EQ(Error("/body?bytes=1000"), "");
  EXPECT_EQ(Error("/body?bytes=1001"), "larger than max_bytes");
  EXPECT_EQ(Error("/endless"), "larger than max_bytes");
}

TEST_F(DownloadTest, RobotsTxtIsFetchedOnceAnOrigin) {
  auto downloader = Make();
  std::vector<std::shared_ptr<std::promise<DownloadResult>>> waiting;
  for (int i = 0; i < 50; ++i) {
    waiting.push_back(
        Submit(downloader.get(), server_->url() + (i % 2 ? "/disallowed/" : "/image/") + std::to_string(i)));
  }
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(MessageOf(waiting[i]->get_future().get().status), i % 2 ? "disallowed by robots.txt" : "");
  }
  const auto stats = server_->stats();
  EXPECT_EQ(stats.requests.at("/robots.txt"), 1);
  EXPECT_EQ(stats.total_requests, 26);
}

TEST_F(DownloadTest, RobotsStatusesMeanWhatTheStandardSays) {
  server_->SetRobots(404, "User-agent: *\nDisallow: /\n");
  EXPECT_EQ(Error("/image"), "");
  server_->SetRobots(500, "");
  EXPECT_EQ(Error("/image"), "robots.txt unavailable");
  options_.robots_error_allows = true;
  EXPECT_EQ(Error("/image"), "");
  options_.robots_error_allows = false;
  server_->SetRobots(200, "User-agent: *\nDisallow: /\nUser-agent: mybot\nAllow: /\n");
  EXPECT_EQ(Error("/image"), "disallowed by robots.txt");
  options_.user_agent_token = "mybot/2.0";
  EXPECT_EQ(Error("/image"), "");
  options_.user_agent_token = "";
  options_.respect_robots = false;
  EXPECT_EQ(Error("/image"), "");
}

TEST_F(DownloadTest, ARobotsTxtWithoutEndIsCut) {
  server_->SetRobots(200, "User-agent: *\nDisallow: /image\n" + std::string(3 << 20, '#'));
  EXPECT_EQ(Error("/image"), "disallowed by robots.txt");
  EXPECT_EQ(Error("/echo"), "");
}

TEST_F(DownloadTest, HeadersThatIdentifyUs) {
  options_.user_agent_token = "mybot; +https://example.org";
  options_.headers = {"X-Reason: research"};
  const std::string head = Get("/echo").body->ToString();
  EXPECT_NE(head.find("User-Agent: Mozilla/5.0 (compatible; partita/"), std::string::npos) << head;
  EXPECT_NE(head.find("; mybot; +https://example.org)\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("Accept-Encoding: identity\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("X-Reason: research\r\n"), std::string::npos) << head;
}

TEST_F(DownloadTest, ExtraHeadersDoNotFollowARedirectToAnotherHost) {
  options_.headers = {"Authorization: secret"};
  const std::string port = std::to_string(server_->port());
  const std::string away = Get("/redirect?to=http%3A%2F%2Flocalhost%3A" + port + "%2Fecho").body->ToString();
  EXPECT_EQ(away.find("secret"), std::string::npos) << away;
  EXPECT_NE(Get("/redirect?to=%2Fecho").body->ToString().find("secret"), std::string::npos);
}

TEST_F(DownloadTest, DirectivesCanBeTurnedOffOrBeForOthers) {
  EXPECT_EQ(Error("/robots-tag?value=otherbot%3A%20noai"), "");
  EXPECT_EQ(Error("/robots-tag?value=nofollow%2C%20noimageindex"),
            "disallowed by X-Robots-Tag: noimageindex");
  options_.disallowed_header_directives.clear();
  EXPECT_EQ(Error("/noai"), "");
}

TEST_F(DownloadTest, RetriesWhatCanHeal) {
  EXPECT_EQ(Error("/flaky/a?n=1"), "HTTP 503");
  options_.retries = 2;
  EXPECT_EQ(Error("/flaky/b?n=2"), "");
  EXPECT_EQ(server_->stats().requests.at("/flaky/b"), 3);
  EXPECT_EQ(Error("/flaky/c?n=3"), "HTTP 503");
  EXPECT_EQ(Error("/404"), "HTTP 404");
  EXPECT_EQ(server_->stats().requests.at("/404"), 1);
  EXPECT_EQ(Error("/truncated"), "truncated body");
  EXPECT_EQ(server_->stats().requests.at("/truncated"), 3);
}

TEST_F(DownloadTest, RetryAfterIsHonouredByTheWholeHost) {
  options_.retries = 1;
  auto seconds = [&](const std::string& path) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(Error(path), "");
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  EXPECT_GE(seconds("/retry-after/a?n=1&after=1"), 0.99);
  seconds("/retry-after/b?n=1&after=date");
  options_.max_retry_after_s = 0.1;
  seconds("/retry-after/c?n=1&after=86400");  // would not end in time without the cap
}

TEST_F(DownloadTest, HostConcurrencyIsKept) {
  options_.per_host_connections = 3;
  auto downloader = Make();
  std::vector<std::shared_ptr<std::promise<DownloadResult>>> waiting;
  for (int i = 0; i < 30; ++i) waiting.push_back(Submit(downloader.get(), server_->url() + "/slow?ms=20"));
  for (auto& one : waiting) EXPECT_TRUE(one->get_future().get().status.ok());
  EXPECT_LE(server_->stats().most_at_once, 3);
  EXPECT_LE(server_->stats().connections, 3);  // kept alive, not opened anew
}

TEST_F(DownloadTest, TotalConcurrencyIsKept) {
  options_.n_connections = 2;
  auto downloader = Make();
  std::vector<std::shared_ptr<std::promise<DownloadResult>>> waiting;
  for (int i = 0; i < 20; ++i) waiting.push_back(Submit(downloader.get(), server_->url() + "/slow?ms=10"));
  for (auto& one : waiting) EXPECT_TRUE(one->get_future().get().status.ok());
  EXPECT_LE(server_->stats().most_at_once, 2);
}

// Lower bounds only: so many gaps of this length take at least so long, however loaded the machine is.
TEST_F(DownloadTest, HostRateIsKept) {
  options_.per_host_rate = 20;
  EXPECT_GE(SecondsFor(10), 10 * 0.05);  // robots.txt is the first of eleven requests
}

TEST_F(DownloadTest, CrawlDelayIsARate) {
  server_->SetRobots(200, "User-agent: *\nCrawl-delay: 0.1\n");
  EXPECT_GE(SecondsFor(4), 3 * 0.1);
}

TEST_F(DownloadTest, ThousandsOfUrlsOnFewConnections) {
  auto downloader = Make();
  std::vector<std::shared_ptr<std::promise<DownloadResult>>> waiting;
  for (int i = 0; i < 2000; ++i)
    waiting.push_back(Submit(downloader.get(), server_->url() + "/image/" + std::to_string(i)));
  for (auto& one : waiting) EXPECT_TRUE(one->get_future().get().status.ok());
  EXPECT_LE(server_->stats().connections, 17);
}

TEST_F(DownloadTest, CancelEndsAllSoon) {
  auto downloader = Make();
  CancelToken cancel;
  std::vector<std::future<DownloadResult>> waiting;
  for (int i = 0; i < 40; ++i)
    waiting.push_back(Submit(downloader.get(), server_->url() + "/silent", cancel)->get_future());
  auto other = Submit(downloader.get(), server_->url() + "/slow?ms=300")->get_future();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  cancel.Cancel();
  for (auto& one : waiting) {
    ASSERT_EQ(one.wait_for(std::chrono::seconds(20)), std::future_status::ready);
    EXPECT_TRUE(one.get().status.IsCancelled());
  }
  EXPECT_TRUE(other.get().status.ok());
}

TEST_F(DownloadTest, DestructionEndsAll) {
  auto downloader = Make();
  std::vector<std::future<DownloadResult>> waiting;
  for (int i = 0; i < 40; ++i)
    waiting.push_back(
        Submit(downloader.get(), server_->url() + (i % 2 ? "/silent" : "/stall"))->get_future());
  waiting.push_back(Submit(downloader.get(), "http://no-such-host.invalid/")->get_future());
  downloader.reset();
  for (auto& one : waiting) EXPECT_FALSE(one.get().status.ok());
  EXPECT_EQ(budget_->used_bytes(), budget_->used_bytes() - budget_->root()->bytes_allocated());
}

TEST_F(DownloadTest, SlowestNamesTheOldestWithoutCredentials) {
  auto downloader = Make();
  DownloadRequest request;
  request.url = "http://user:secret@127.0.0.1:" + std::to_string(server_->port()) + "/silent";
  request.pool = budget_->root();
  request.partition = 3;
  request.row = 17;
  auto promise = std::make_shared<std::promise<void>>();
  downloader->Submit(request, [promise](DownloadResult) { promise->set_value(); });
  Submit(downloader.get(), server_->url() + "/silent");
  const auto slow = downloader->Slowest(1);
  ASSERT_EQ(slow.size(), 1u);
  EXPECT_EQ(slow[0].partition, 3);
  EXPECT_EQ(slow[0].row, 17);
  EXPECT_EQ(slow[0].url.find("secret"), std::string::npos);
  EXPECT_NE(slow[0].url.find("/silent"), std::string::npos);
  downloader.reset();
  promise->get_future().get();
}

// 40 bodies of 1 MB pass through 4 MiB: some are refused, queued again, and all arrive as the earlier ones
// are let go.
TEST_F(DownloadTest, ShortMemoryDelaysButLosesNothing) {
  budget_ = Budget::Make(4 << 20);
  auto downloader = Make();
  std::atomic<int> ok{0}, left{40};
  std::promise<void> done;
  for (int i = 0; i < 40; ++i) {
    DownloadRequest request;
    request.url = server_->url() + "/body?bytes=1000000";
    request.pool = budget_->root();
    downloader->Submit(request, [&](DownloadResult result) {
      if (result.status.ok() && result.body->size() == 1'000'000) ++ok;
      EXPECT_TRUE(result.status.ok()) << result.status;
      if (--left == 0) done.set_value();
    });
  }
  done.get_future().get();
  EXPECT_EQ(ok, 40);
  EXPECT_LE(budget_->peak_bytes(), 4 << 20);
}

TEST_F(DownloadTest, WhatNeverFitsIsOutOfMemory) {
  budget_ = Budget::Make(4 << 20);
  const DownloadResult result = Get("/body?bytes=8000000");
  EXPECT_TRUE(result.status.IsOutOfMemory()) << result.status;
  EXPECT_EQ(budget_->root()->bytes_allocated(), 0);
}

// Bodies that the caller keeps fill the budget: the youngest gives way, the oldest arrives.
TEST_F(DownloadTest, WhenStarvedTheYoungestGivesWay) {
  budget_ = Budget::Make(4 << 20);
  options_.n_connections = 1;  // what has arrived is not taken back: let the oldest be first
  auto downloader = Make();
  std::vector<std::future<DownloadResult>> waiting;
  for (int i = 0; i < 8; ++i)
    waiting.push_back(Submit(downloader.get(), server_->url() + "/body?bytes=1000000")->get_future());
  std::vector<DownloadResult> results;
  for (auto& one : waiting) results.push_back(one.get());
  EXPECT_TRUE(results.front().status.ok()) << results.front().status;
  EXPECT_TRUE(results.back().status.IsOutOfMemory()) << results.back().status;
}

TEST_F(DownloadTest, KeysOfErrors) {
  EXPECT_EQ(DownloadErrorKey("HTTP 404"), "http_404");
  EXPECT_EQ(DownloadErrorKey("disallowed by X-Robots-Tag: noai"), "disallowed_by_x_robots_tag");
  EXPECT_EQ(DownloadErrorKey("not an image"), "not_an_image");
}

}  // namespace
}  // namespace partita
