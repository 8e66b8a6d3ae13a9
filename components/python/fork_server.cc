#include "components/python/fork_server.h"

#include <csignal>
#include <cstdio>
#include <utility>

#include "components/python/python_command.h"
#include "partita/base/env.h"
#include "partita/base/json.h"

namespace partita {
namespace {

constexpr size_t kLogLines = 30;
constexpr size_t kLongestLine = 64 << 10;
constexpr double kNanosPerSecond = 1e9;

}  // namespace

Status ForkServer::Start() {
  // A program in Python may run many pipelines; `partita run` runs one, and leaves nothing behind.
  const bool lingers = !GetPythonRuntime().executable.empty();
  ARROW_ASSIGN_OR_RAISE(auto base, TakeBaseProcess(command_, lingers));
  ARROW_ASSIGN_OR_RAISE(auto pair, MessagePair());
  ARROW_ASSIGN_OR_RAISE(auto log, PipePair());
  ARROW_RETURN_NOT_OK(base->Fork(pair.second, log.second));
  base_ = std::move(base);
  socket_ = std::move(pair.first);
  log_ = std::move(log.first);
  return Status::OK();
}

Status ForkServer::Fork(int64_t id, const Descriptor& socket) {
  const Json words = {{"op", "fork"}, {"id", id}};
  return SendMessage(has_template() ? template_ : socket_, CanonicalJson(words), {socket.get()}).status();
}

void ForkServer::ForkFrom(Descriptor socket, int pid) {
  template_ = std::move(socket);
  template_pid_ = pid;
}

bool ForkServer::Hear() {
  if (template_.valid() && !HearFrom(&template_)) template_.Close();
  if (!socket_.valid() || HearFrom(&socket_)) return true;
  socket_.Close();
  ReadLog();
  log_.Close();  // at its end it would be readable for ever
  if (pid_ < 0) {
    for (const std::string& line : base_->Printed()) TellLine(line);  // why it never came to be
  }
  return false;
}

bool ForkServer::HearFrom(Descriptor* socket) {
  while (true) {
    auto message = ReceiveMessage(*socket);
    if (message.ok() && message->none) return true;
    if (!message.ok() || message->end) return false;
    const auto words = ParseJson(message->text);
    if (!words.ok() || !words->is_object()) continue;
    const int pid = static_cast<int>(words->value("pid", int64_t{-1}));
    if (words->value("op", "") == "serving") pid_ = pid;
    if (words->value("op", "") == "forked") forked_[words->value("id", int64_t{-1})] = pid;
    if (words->value("op", "") == "exited") ends_[pid] = static_cast<int>(words->value("code", int64_t{0}));
  }
}

bool ForkServer::WaitForEnd(int pid, int* code) {
  constexpr int kTries = 100, kTryMs = 10;
  for (int i = 0; i < kTries && pid > 0 && !ends_.contains(pid) && socket_.valid(); ++i) {
    std::vector<int> fds = {socket_.get()};
    if (template_.valid()) fds.push_back(template_.get());
    (void)WaitReadable(fds, kTryMs);
    (void)Hear();
  }
  const auto end = ends_.find(pid);
  if (end == ends_.end()) return false;
  *code = end->second;
  ends_.erase(end);
  return true;
}

void ForkServer::ReadLog() {
  if (!log_.valid()) return;
  for (std::string text = ReadAvailable(log_); !text.empty(); text = ReadAvailable(log_)) {
    log_rest_ += text;
    for (size_t end; (end = log_rest_.find('\n')) != std::string::npos; log_rest_.erase(0, end + 1)) {
      TellLine(log_rest_.substr(0, end));
    }
    if (log_rest_.size() > kLongestLine) {
      TellLine(log_rest_);
      log_rest_.clear();
    }
  }
}

void ForkServer::TellLine(std::string line) {
  std::fprintf(stderr, "[%s] %s\n", step_.c_str(), line.c_str());
  log_lines_.push_back(std::move(line));
  if (log_lines_.size() > kLogLines) log_lines_.pop_front();
}

std::string ForkServer::LogTail() const {
  std::string text;
  for (const std::string& line : log_lines_) text += "\n  " + line;
  return text.empty() ? "" : "; it printed:" + text;
}

std::vector<int> ForkServer::descriptors() const {
  std::vector<int> fds;
  for (const Descriptor* one : {&socket_, &template_, &log_}) {
    if (one->valid()) fds.push_back(one->get());
  }
  return fds;
}

void ForkServer::End(const std::vector<int>& workers, double seconds) {
  if (!is_started()) return;
  Env* env = Env::Default();
  const int64_t start = env->MonotonicNanos();
  if (template_.valid()) (void)SendMessage(template_, R"({"op":"exit"})", {}, /*wait=*/false);
  if (socket_.valid()) (void)SendMessage(socket_, R"({"op":"exit"})", {}, /*wait=*/false);
  constexpr int kLookMs = 10;
  while (Hear() && socket_.valid()) {  // its end closes its socket
    ReadLog();                         // whoever prints must not wait for us
    const double waited = static_cast<double>(env->MonotonicNanos() - start) / kNanosPerSecond;
    if (waited > seconds) {
      for (const int worker : workers) {
        KillGroup(worker);
        SendSignal(worker, SIGKILL);
      }
      SendSignal(template_pid_, SIGKILL);
      SendSignal(pid_, SIGKILL);
    }
    if (waited > 2 * seconds) break;  // it has yet to be forked, and will find nobody
    (void)WaitReadable(descriptors(), kLookMs);
  }
  socket_.Close();
  template_.Close();
  base_.reset();
  pid_ = -1;
  for (const int worker : workers) KillGroup(worker);  // what the functions themselves started
  ReadLog();
  if (!log_rest_.empty()) TellLine(std::exchange(log_rest_, ""));
}

}  // namespace partita
