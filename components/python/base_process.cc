#include "components/python/base_process.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

namespace partita {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kIdle = milliseconds(5000);      // after which one that nobody uses is ended
constexpr auto kPatience = milliseconds(2000);  // for its end, before it is forced
constexpr auto kLook = milliseconds(1000);
constexpr auto kEndLook = milliseconds(2);
constexpr size_t kMostLines = 30;

// Guarded by the books' mutex, but for what is const once it is spawned.
struct Process {
  std::string key;
  std::vector<std::string> command;
  Status start = Status::OK();
  int pid = 0;  // 0: not spawned yet; -1: reaped
  Descriptor socket, log;
  int users = 0;
  bool lingers = false, leaving = false;
  Clock::time_point since;  // when its last user went, or it was asked to leave
  std::vector<std::string> lines;
  std::string rest;
};

Status Spawn(Process* process) {
  ARROW_ASSIGN_OR_RAISE(auto pair, MessagePair());
  ARROW_ASSIGN_OR_RAISE(auto log, PipePair());
  SpawnRequest request;
  request.argv = process->command;
  request.argv.push_back(std::to_string(OwnPid()));
  // One BLAS thread a worker: the workers are the parallelism.
  for (const char* name : {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                           "VECLIB_MAXIMUM_THREADS", "NUMEXPR_NUM_THREADS", "POLARS_MAX_THREADS"}) {
    request.environment.emplace_back(name, "1");
  }
  request.environment.emplace_back("PYTHONUNBUFFERED", "1");
  // Arrow's own allocators start a thread when they are loaded; a process that forks must have one alone.
  request.environment.emplace_back("ARROW_DEFAULT_MEMORY_POOL", "system");
  request.descriptors = {{pair.second.get(), 3}, {log.second.get(), 1}, {log.second.get(), 2}};
  ARROW_ASSIGN_OR_RAISE(process->pid, Spawn(request));
  process->socket = std::move(pair.first);
  process->log = std::move(log.first);
  return Status::OK();
}

// All base processes of this process, and the thread that starts and ends them: the kernel ends a child that
// asked for it when the *thread* that started it ends, so that it cannot be a thread of some run.
class Books : public std::enable_shared_from_this<Books> {
 public:
  Books() : owner_(OwnPid()) {}
  int owner() const { return owner_; }

  Result<std::shared_ptr<Process>> Take(const std::vector<std::string>& command, bool lingers) {
    std::unique_lock lock(mutex_);
    std::string key = OwnSurroundings();
    for (const std::string& word : command) key += '\0' + word;
    for (const auto& process : processes_) {
      if (process->key != key || process->leaving || !Lives(process.get())) continue;
      ++process->users;
      process->lingers = lingers;
      return process;
    }
    auto process = std::make_shared<Process>();
    process->key = std::move(key);
    process->command = command;
    process->users = 1;
    process->lingers = lingers;
    processes_.push_back(process);
    if (!std::exchange(has_keeper_, true)) {
      std::thread([self = shared_from_this()] { self->Keep(); }).detach();
    }
    changed_.notify_all();
    changed_.wait(lock, [&] { return process->pid != 0 || !process->start.ok(); });
    if (!process->start.ok()) return process->start;
    return process;
  }

  void Leave(Process* process) {
    std::unique_lock lock(mutex_);
    --process->users;
    process->since = Clock::now();
    changed_.notify_all();
    if (process->users > 0 || process->lingers) return;
    AskToLeave(process);
    while (!Reaped(process) && Clock::now() - process->since < kPatience) changed_.wait_for(lock, kEndLook);
  }

  Status Fork(Process* process, const Descriptor& socket, const Descriptor& log) {
    const std::lock_guard lock(mutex_);
    return SendMessage(process->socket, R"({"op":"fork","id":0})", {socket.get(), log.get()}).status();
  }

  std::vector<std::string> Printed(Process* process) {
    const std::lock_guard lock(mutex_);
    ReadLog(process);
    return process->lines;
  }

  // The program ends: those that nobody uses end before it, in order.
  void EndIdle() {
    std::unique_lock lock(mutex_);
    const auto deadline = Clock::now() + kPatience;
    while (Clock::now() < deadline) {
      bool waits = false;
      for (const auto& process : processes_) {
        if (process->users > 0 || process->pid <= 0) continue;
        AskToLeave(process.get());
        if (!Reaped(process.get())) waits = true;
      }
      if (!waits) return;
      changed_.wait_for(lock, kEndLook);
    }
  }

 private:
  // What it tells of its children is of no use here, but must not fill its socket.
  static bool Lives(Process* process) {
    while (process->pid > 0) {
      auto message = ReceiveMessage(process->socket);
      if (!message.ok() || message->end) return false;
      if (message->none) return true;
    }
    return process->pid == 0 && process->start.ok();
  }

  static void ReadLog(Process* process) {
    if (!process->log.valid()) return;
    for (std::string text = ReadAvailable(process->log); !text.empty(); text = ReadAvailable(process->log))
      process->rest += text;
    std::istringstream lines(std::exchange(process->rest, ""));
    for (std::string line; std::getline(lines, line);) {
      if (process->lines.size() < kMostLines) process->lines.push_back(line);
    }
  }

  static void AskToLeave(Process* process) {
    if (std::exchange(process->leaving, true)) return;
    process->since = Clock::now();
    process->socket.Close();
  }

  static bool Reaped(Process* process) {
    if (process->pid > 0 && TryReap(process->pid).ended) process->pid = -1;
    return process->pid < 0;
  }

  // On the keeper's thread, until there is none left.
  void Keep() {
    std::unique_lock lock(mutex_);
    while (!processes_.empty()) {
      bool leaves = false;
      const auto now = Clock::now();
      for (const auto& process : processes_) {
        if (process->pid == 0 && process->start.ok()) {
          process->start = Spawn(process.get());
          changed_.notify_all();
        }
        if (!process->leaving) {
          // Only the newest may be idle: the others are of other environments.
          const bool is_idle =
              process->users == 0 && (process != processes_.back() || now - process->since >= kIdle);
          if (is_idle || !Lives(process.get())) AskToLeave(process.get());
        } else if (process->users == 0 && process->pid > 0 && now - process->since > kPatience) {
          SendSignal(process->pid, SIGKILL);
        }
        leaves = leaves || process->leaving;
      }
      std::erase_if(processes_, [](const auto& process) {
        ReadLog(process.get());
        return !process->start.ok() || Reaped(process.get());
      });
      if (!processes_.empty()) changed_.wait_for(lock, leaves ? kEndLook : kLook);
    }
    has_keeper_ = false;
  }

  const int owner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<Process>> processes_;
  bool has_keeper_ = false;
};

// A forked child of this process has books of its own: its parent's processes are not its children.
std::shared_ptr<Books> OwnBooks() {
  static auto* mutex = new std::mutex();
  static auto* books = new std::shared_ptr<Books>();
  const std::lock_guard lock(*mutex);
  if (*books == nullptr) {
    std::atexit([] {
      if ((*books)->owner() == OwnPid()) (*books)->EndIdle();
    });
  }
  if (*books == nullptr || (*books)->owner() != OwnPid()) *books = std::make_shared<Books>();
  return *books;
}

class User final : public BaseProcess {
 public:
  User(std::shared_ptr<Books> books, std::shared_ptr<Process> process)
      : books_(std::move(books)), process_(std::move(process)) {}
  ~User() override { books_->Leave(process_.get()); }
  Status Fork(const Descriptor& socket, const Descriptor& log) override {
    return books_->Fork(process_.get(), socket, log);
  }
  std::vector<std::string> Printed() override { return books_->Printed(process_.get()); }

 private:
  const std::shared_ptr<Books> books_;
  const std::shared_ptr<Process> process_;
};

}  // namespace

Result<std::shared_ptr<BaseProcess>> TakeBaseProcess(const std::vector<std::string>& command, bool lingers) {
  auto books = OwnBooks();
  ARROW_ASSIGN_OR_RAISE(auto process, books->Take(command, lingers));
  return std::make_shared<User>(std::move(books), std::move(process));
}

}  // namespace partita
