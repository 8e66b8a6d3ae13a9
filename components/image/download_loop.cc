#include "components/image/download_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>

#ifndef PARTITA_VERSION
#define PARTITA_VERSION "dev"
#endif

namespace partita {
namespace {

// How soon a cancelled request is noticed.
constexpr double kCancelCheckSeconds = 0.04;

// Sockets may take three quarters of what the process may open.
int FitToDescriptors(int connections) {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return connections;
  const int most = static_cast<int>(std::min<rlim_t>(limit.rlim_cur, 1 << 20) * 3 / 4);
  return std::clamp(connections, 1, std::max(1, most));
}

}  // namespace

Downloader::Loop::Loop(DownloadOptions options)
    : options_(std::move(options)), env_(options_.env ? options_.env : Env::Default()) {
  options_.n_connections = FitToDescriptors(options_.n_connections);
  memory_window_ = options_.n_connections;
  shared_.options = &options_;
  shared_.user_agent = "Mozilla/5.0 (compatible; partita/" PARTITA_VERSION;
  shared_.tokens = {"partita"};
  if (!options_.user_agent_token.empty()) {
    shared_.user_agent += "; " + options_.user_agent_token;
    shared_.tokens.emplace_back(ProductToken(options_.user_agent_token));
  }
  shared_.user_agent += ")";
}

Status Downloader::Loop::Open() {
  ARROW_RETURN_NOT_OK(LoadCurl());
  epoll_ = epoll_create1(EPOLL_CLOEXEC);
  wake_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  multi_ = Curl().multi_init();
  if (epoll_ < 0 || wake_ < 0 || multi_ == nullptr) {
    return EnvironmentError("the downloader cannot open its event loop",
                            "raise the limit of open files (ulimit -n)", false);
  }
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.fd = wake_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wake_, &event);
  Curl().multi_setopt(multi_, CURLMOPT_SOCKETFUNCTION, &Loop::OnSocket);
  Curl().multi_setopt(multi_, CURLMOPT_SOCKETDATA, this);
  Curl().multi_setopt(multi_, CURLMOPT_TIMERFUNCTION, &Loop::OnTimer);
  Curl().multi_setopt(multi_, CURLMOPT_TIMERDATA, this);
  Curl().multi_setopt(multi_, CURLMOPT_PIPELINING, CURLPIPE_MULTIPLEX);
  Curl().multi_setopt(multi_, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.n_connections));
  thread_ = std::thread([this] { Run(); });
  return Status::OK();
}

Downloader::Loop::~Loop() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  Wake();
  if (thread_.joinable()) thread_.join();
  for (CURL* easy : idle_easies_) Curl().easy_cleanup(easy);
  if (multi_ != nullptr) Curl().multi_cleanup(multi_);
  if (wake_ >= 0) close(wake_);
  if (epoll_ >= 0) close(epoll_);
}

double Downloader::Loop::Now() const { return static_cast<double>(env_->MonotonicNanos()) * 1e-9; }

void Downloader::Loop::Wake() {
  const uint64_t one = 1;
  if (wake_ >= 0) (void)!write(wake_, &one, sizeof one);
}

void Downloader::Loop::Submit(DownloadRequest request, DownloadCallback callback) {
  bool first = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    const uint64_t order = 2 * next_order_++;
    pending_.emplace_hint(pending_.end(), order, Pending{request.partition, request.row, request.url, Now()});
    first = submissions_.empty();
    submissions_.push_back({order, std::move(request), std::move(callback)});
  }
  if (first) Wake();
}

std::vector<SlowDownload> Downloader::Loop::Slowest(int n) const {
  std::vector<SlowDownload> out;
  const double now = Now();
  std::lock_guard<std::mutex> lock(mutex_);
  for (const auto& [order, pending] : pending_) {
    if (static_cast<int>(out.size()) >= n) break;
    out.push_back({pending.partition, pending.row, RedactUrl(pending.url), now - pending.submitted});
  }
  return out;
}

void Downloader::Loop::TakeSubmissions() {
  std::vector<Submission> taken;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    taken.swap(submissions_);
  }
  for (Submission& submission : taken) {
    auto transfer = std::make_unique<Transfer>();
    transfer->order = submission.order;
    transfer->request = std::move(submission.request);
    transfer->callback = std::move(submission.callback);
    Transfer* raw = transfer.get();
    transfers_.emplace(raw->order, std::move(transfer));
    auto url = ParseHttpUrl(raw->request.url);
    if (!url.ok()) {
      End(raw, {url.status(), nullptr, 0});
      continue;
    }
    raw->first_host = url->host;
    raw->url = std::move(*url);
    Route(raw);
  }
}

void Downloader::Loop::Run() {
  while (true) {
    TakeSubmissions();
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_ && submissions_.empty()) break;
    }
    const double now = Now();
    if (check_cancelled_now_ || (!transfers_.empty() && now >= next_cancel_check_)) StopCancelled();
    while (!delayed_.empty() && delayed_.begin()->first <= now) {
      Transfer* transfer = delayed_.begin()->second;
      delayed_.erase(delayed_.begin());
      transfer->delayed_until = -1;
      Route(transfer);
    }
    Pump();
    ForgetIdle();
    WaitForEvents();
    ReadCompletions();
  }
  CancelAll();
}

// < 0: nothing to wait for but events.
double Downloader::Loop::NextDeadline() const {
  double deadline = INFINITY;
  if (curl_deadline_ >= 0) deadline = std::min(deadline, curl_deadline_);
  if (!delayed_.empty()) deadline = std::min(deadline, delayed_.begin()->first);
  const bool slot_free = running_ < std::min(options_.n_connections, memory_window_);
  if (slot_free && !timed_.empty()) deadline = std::min(deadline, timed_.begin()->first);
  if (slot_free && !ready_.empty()) deadline = std::min(deadline, memory_gate_);
  if (!transfers_.empty()) deadline = std::min(deadline, next_cancel_check_);
  if (check_cancelled_now_) deadline = 0;
  return std::isinf(deadline) ? -1 : deadline;
}

void Downloader::Loop::WaitForEvents() {
  const double deadline = NextDeadline();
  int timeout_ms = -1;
  if (deadline >= 0)
    timeout_ms = static_cast<int>(std::ceil(std::clamp((deadline - Now()) * 1000, 0.0, 60'000.0)));
  std::array<epoll_event, 128> events;
  const int n = epoll_wait(epoll_, events.data(), static_cast<int>(events.size()), timeout_ms);
  int still_running = 0;
  for (int i = 0; i < n; ++i) {
    if (events[i].data.fd == wake_) {
      uint64_t count;
      (void)!read(wake_, &count, sizeof count);
      continue;
    }
    int what = 0;
    if (events[i].events & EPOLLIN) what |= CURL_CSELECT_IN;
    if (events[i].events & EPOLLOUT) what |= CURL_CSELECT_OUT;
    if (events[i].events & (EPOLLERR | EPOLLHUP)) what |= CURL_CSELECT_ERR;
    Curl().multi_socket_action(multi_, events[i].data.fd, what, &still_running);
  }
  if (curl_deadline_ >= 0 && Now() >= curl_deadline_) {
    curl_deadline_ = -1;
    Curl().multi_socket_action(multi_, CURL_SOCKET_TIMEOUT, 0, &still_running);
  }
}

void Downloader::Loop::ReadCompletions() {
  int left = 0;
  while (CURLMsg* message = Curl().multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* easy = message->easy_handle;
    const CURLcode code = message->data.result;  // the message dies with the removal
    char* owner = nullptr;
    Curl().easy_getinfo(easy, CURLINFO_PRIVATE, &owner);
    Exchange* exchange = reinterpret_cast<Exchange*>(owner);
    auto* transfer = static_cast<Transfer*>(exchange->owner);
    ExchangeOutcome outcome = exchange->Finish(code);
    Curl().multi_remove_handle(multi_, easy);
    transfer->exchange.reset();
    ReturnEasy(easy);
    --running_;
    Settle(transfer, std::move(outcome));
  }
}

void Downloader::Loop::StopCancelled() {
  check_cancelled_now_ = false;
  next_cancel_check_ = Now() + kCancelCheckSeconds;
  std::vector<Transfer*> stopped;
  for (const auto& [order, transfer] : transfers_) {
    if (transfer->robots_of != nullptr) continue;
    if (transfer->request.cancel.cancelled() || transfer->request.abandon.cancelled())
      stopped.push_back(transfer.get());
  }
  for (Transfer* transfer : stopped) End(transfer, {Status::Cancelled("the run was cancelled"), nullptr, 0});
  // A robots.txt that nobody waits for any more.
  for (const auto& [order, transfer] : transfers_) {
    if (transfer->robots_of != nullptr && transfer->robots_of->waiters.empty()) {
      transfer->robots_of->state = Origin::kUnknown;
      stopped.assign(1, transfer.get());
      End(stopped.front(), {});
      check_cancelled_now_ = true;  // one a round: End changes the map
      break;
    }
  }
}

void Downloader::Loop::CancelAll() {
  do {
    while (!transfers_.empty()) {
      Transfer* transfer = transfers_.begin()->second.get();
      End(transfer, {Status::Cancelled("the run was cancelled"), nullptr, 0});
    }
    TakeSubmissions();  // a callback may have asked for more
  } while (!transfers_.empty());
}

CURL* Downloader::Loop::TakeEasy() {
  if (idle_easies_.empty()) return Curl().easy_init();
  CURL* easy = idle_easies_.back();
  idle_easies_.pop_back();
  return easy;
}

void Downloader::Loop::ReturnEasy(CURL* easy) {
  Curl().easy_reset(easy);
  idle_easies_.push_back(easy);
}

int Downloader::Loop::OnSocket(CURL*, curl_socket_t socket, int what, void* self, void*) {
  static_cast<Loop*>(self)->WatchSocket(socket, what);
  return 0;
}

void Downloader::Loop::WatchSocket(curl_socket_t socket, int what) {
  if (what == CURL_POLL_REMOVE) {
    epoll_ctl(epoll_, EPOLL_CTL_DEL, socket, nullptr);  // may be closed already
    return;
  }
  epoll_event event{};
  event.data.fd = socket;
  if (what & CURL_POLL_IN) event.events |= EPOLLIN;
  if (what & CURL_POLL_OUT) event.events |= EPOLLOUT;
  if (epoll_ctl(epoll_, EPOLL_CTL_MOD, socket, &event) != 0 && errno == ENOENT) {
    epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event);
  }
}

int Downloader::Loop::OnTimer(CURLM*, long timeout_ms, void* self) {
  auto* loop = static_cast<Loop*>(self);
  loop->curl_deadline_ = timeout_ms < 0 ? -1 : loop->Now() + static_cast<double>(timeout_ms) / 1000;
  return 0;
}

}  // namespace partita
