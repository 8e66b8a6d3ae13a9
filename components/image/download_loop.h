// The downloader's event loop: epoll and libcurl's multi interface in one thread. Everything but Submit and
// Slowest happens on that thread, so its state needs no lock. download_loop.cc drives sockets and timers;
// download_queue.cc decides what may start.
//
// The life of a transfer: Route (address, robots.txt) -> its host's queue -> Start (memory, libcurl) ->
// Settle, which ends it or sends it back: a redirect to Route, a retry to `delayed_`, a refusal of memory to
// its host's queue.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "components/image/download.h"
#include "components/image/download_exchange.h"
#include "components/image/host_policy.h"
#include "components/image/robots.h"
#include "partita/storage/http/libcurl.h"

namespace partita {

class Downloader::Loop {
 public:
  explicit Loop(DownloadOptions options);
  ~Loop();
  Status Open();
  void Submit(DownloadRequest request, DownloadCallback callback);
  std::vector<SlowDownload> Slowest(int n) const;

 private:
  struct Host;
  struct Origin;

  // A request under way, or the fetch of a robots.txt (`robots_of` is set, no callback).
  struct Transfer {
    uint64_t order = 0;  // of submission; a robots.txt comes just before its first waiter
    DownloadRequest request;
    DownloadCallback callback;
    Origin* robots_of = nullptr;
    HttpUrl url;                    // of the current hop
    std::string first_host;         // extra headers go there only
    Host* host = nullptr;           // set while queued or running
    Origin* waiting_for = nullptr;  // its robots.txt
    std::unique_ptr<Exchange> exchange;
    int hops = 0;
    int attempt = 0;
    double delayed_until = -1;
    double started = 0;  // this exchange
    double used_s = 0;   // by the earlier hops of this attempt
    int64_t expected_bytes = 0;
    int http_status = 0;  // of the last answer
  };

  struct Host {
    explicit Host(HostLimits limits) : policy(limits) {}
    HostPolicy policy;
    std::map<uint64_t, Transfer*> queue;  // by order
    double not_found_until = -1;          // a name that does not resolve is not asked for again at once
    // Where it is filed: at most one of the two.
    bool is_ready = false;
    uint64_t ready_order = 0;
    double timed_at = -1;
  };

  struct Origin {
    enum State { kUnknown, kFetching, kKnown, kFailed };
    std::string name;
    State state = kUnknown;
    RobotsRules rules;
    std::string error;   // kFailed
    double expires = 0;  // kFailed
    size_t memory_bytes = 0;
    std::map<uint64_t, Transfer*> waiters;
    std::list<Origin*>::iterator recent;
  };

  struct Submission {
    uint64_t order;
    DownloadRequest request;
    DownloadCallback callback;
  };
  struct Pending {  // what Slowest tells
    int64_t partition, row;
    std::string url;
    double submitted;
  };

  // download_loop.cc
  double Now() const;
  void Run();
  void TakeSubmissions();
  void WaitForEvents();
  double NextDeadline() const;
  void ReadCompletions();
  void StopCancelled();
  void CancelAll();
  void Wake();
  CURL* TakeEasy();
  void ReturnEasy(CURL* easy);
  void WatchSocket(curl_socket_t socket, int what);
  static int OnSocket(CURL*, curl_socket_t socket, int what, void* self, void*);
  static int OnTimer(CURLM*, long timeout_ms, void* self);

  // download_queue.cc
  void Route(Transfer* transfer);
  void Enqueue(Transfer* transfer);
  void File(Host* host);  // puts the host where Pump finds it
  void Unfile(Host* host);
  void Pump();
  bool Start(Transfer* transfer);
  ExchangeSpec SpecOf(const Transfer& transfer) const;
  void Settle(Transfer* transfer, ExchangeOutcome outcome);
  void Redirect(Transfer* transfer, const std::string& location);
  void RetryOrFail(Transfer* transfer, const ExchangeOutcome& outcome);
  void NoMemory(Transfer* transfer, Status refusal, int64_t wanted_bytes);
  void Unlink(Transfer* transfer);  // from wherever it waits or runs
  void End(Transfer* transfer, DownloadResult result);
  void Fail(Transfer* transfer, std::string error);
  Host* HostOf(const std::string& name);
  Origin* OriginOf(const std::string& name);
  void FetchRobots(Origin* origin, Transfer* first);
  void RobotsArrived(Transfer* fetch, const ExchangeOutcome& outcome);
  void RobotsKnown(Origin* origin);
  void ForgetIdle();

  DownloadOptions options_;
  ExchangeShared shared_;
  Env* env_;
  CURLM* multi_ = nullptr;
  int epoll_ = -1;
  int wake_ = -1;
  std::vector<CURL*> idle_easies_;
  double curl_deadline_ = -1;  // < 0: none
  int running_ = 0;
  double next_cancel_check_ = 0;
  bool check_cancelled_now_ = false;

  std::map<uint64_t, std::unique_ptr<Transfer>> transfers_;  // all, oldest first
  std::unordered_map<std::string, std::unique_ptr<Host>> hosts_;
  std::unordered_map<std::string, std::unique_ptr<Origin>> origins_;
  std::list<Origin*> recent_origins_;  // most recently used first
  size_t origins_bytes_ = 0;
  size_t hosts_sweep_at_ = 4096;
  std::set<std::pair<uint64_t, Host*>> ready_;  // hosts that may be asked now, by their oldest request
  std::multimap<double, Host*> timed_;          // hosts that may be asked later
  std::multimap<double, Transfer*> delayed_;    // waiting to be tried again

  // Memory: how many may run at once, and when to ask again after a refusal.
  int memory_window_;
  double memory_gate_ = 0;
  double starved_since_ = -1;  // nothing runs and memory is refused; < 0: not so

  mutable std::mutex mutex_;
  std::vector<Submission> submissions_;
  std::map<uint64_t, Pending> pending_;
  uint64_t next_order_ = 1;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace partita
