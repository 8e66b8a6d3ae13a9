// The doors to other processes of this machine: starting them, messages with descriptors, shared memory,
// ends. Linux. Errors are kind environment, or resource where a limit was hit.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/error.h"

namespace partita {

// A file descriptor that closes itself. Close-on-exec from birth.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor();

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  void Close();

 private:
  int fd_ = -1;
};

// Two connected ends of a socket that keeps messages apart (SOCK_SEQPACKET). Both block.
Result<std::pair<Descriptor, Descriptor>> MessagePair();
// Read end (does not block), write end.
Result<std::pair<Descriptor, Descriptor>> PipePair();
// Signalled by Ring, quiet again after Hush.
Result<Descriptor> MakeBell();
void Ring(const Descriptor& bell);
void Hush(const Descriptor& bell);

// Sends one message with descriptors. `wait`: block while the other end's queue is full; else say so: false.
Result<bool> SendMessage(const Descriptor& socket, std::string_view text, const std::vector<int>& fds,
                         bool wait = true);

inline constexpr size_t kMaxMessageBytes = 128 << 10;

struct ReceivedMessage {
  bool end = false;   // the other end is gone
  bool none = false;  // nothing there now
  std::string text;
};
// The next message; never blocks. Descriptors that come with it are closed.
Result<ReceivedMessage> ReceiveMessage(const Descriptor& socket);

// What is there to read now, up to 64 KiB; empty: nothing, or the end.
std::string ReadAvailable(const Descriptor& pipe);

// Waits until one of `fds` can be read or has ended, at most `timeout_ms` (-1: for ever); which ones.
std::vector<bool> WaitReadable(const std::vector<int>& fds, int timeout_ms);

// Memory without a name, mapped here and in whoever gets the descriptor: gone with its last user, whatever
// ends it.
class SharedMemory {
 public:
  static Result<std::unique_ptr<SharedMemory>> Make(const std::string& label, int64_t size_bytes);
  ~SharedMemory();
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;

  uint8_t* data() const { return data_; }
  int64_t size() const { return size_bytes_; }
  int fd() const { return fd_.get(); }
  // Zeros, and the place where whoever writes to the descriptor goes on is the start again.
  void Clear();
  // Gives the pages back to the kernel though others have it mapped; they read zeros.
  void Discard();

 private:
  SharedMemory(Descriptor fd, uint8_t* data, int64_t size)
      : fd_(std::move(fd)), data_(data), size_bytes_(size) {}
  Descriptor fd_;
  uint8_t* data_;
  int64_t size_bytes_;
};

struct SpawnRequest {
  std::vector<std::string> argv;                                 // argv[0] is looked up in PATH
  std::vector<std::pair<std::string, std::string>> environment;  // added where the variable is not set
  std::vector<std::pair<int, int>> descriptors;                  // (ours, theirs)
};
// A process in a session of its own: a terminal's Ctrl-C does not reach it. Returns its pid.
Result<int> Spawn(const SpawnRequest& request);

// How a child ended: 0 or more: exit code; below 0: minus the signal.
struct ProcessEnd {
  bool ended = false;
  int code = 0;
};
ProcessEnd TryReap(int pid);
void SendSignal(int pid, int signal);
void KillGroup(int pid);             // SIGKILL to the process group that `pid` leads
std::string SignalName(int signal);  // "SIGSEGV (segmentation fault)"
int OwnPid();
// Working folder and environment variables, as one text: what a child starts with.
std::string OwnSurroundings();

}  // namespace partita
