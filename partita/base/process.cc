#include "partita/base/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "partita/base/env_errno.h"

extern char** environ;

namespace partita {
namespace {

Status ProcessError(std::string_view action, const std::string& what, int error = errno) {
  return ErrnoStatus(error, action, what);
}

// Where the largest message fits. It stays: fresh pages for each look would cost more than what is read.
char* ReadRoom() {
  thread_local const auto room = std::make_unique_for_overwrite<char[]>(kMaxMessageBytes);
  return room.get();
}

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    Close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

Descriptor::~Descriptor() { Close(); }

void Descriptor::Close() {
  if (fd_ >= 0) (void)::close(fd_);
  fd_ = -1;
}

Result<std::pair<Descriptor, Descriptor>> MessagePair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) != 0) {
    return ProcessError("make", "a socket pair");
  }
  const int room = 1 << 20;
  for (int fd : fds) (void)::setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
  return std::pair{Descriptor(fds[0]), Descriptor(fds[1])};
}

Result<std::pair<Descriptor, Descriptor>> PipePair() {
  int fds[2];
  if (::pipe2(fds, O_CLOEXEC) != 0) return ProcessError("make", "a pipe");
  std::pair ends{Descriptor(fds[0]), Descriptor(fds[1])};
  (void)::fcntl(fds[0], F_SETFL, O_NONBLOCK);
  return ends;
}

Result<Descriptor> MakeBell() {
  const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd < 0) return ProcessError("make", "an eventfd");
  return Descriptor(fd);
}

void Ring(const Descriptor& bell) {
  const uint64_t one = 1;
  (void)!::write(bell.get(), &one, sizeof one);
}

void Hush(const Descriptor& bell) {
  uint64_t count = 0;
  (void)!::read(bell.get(), &count, sizeof count);
}

Result<bool> SendMessage(const Descriptor& socket, std::string_view text, const std::vector<int>& fds,
                         bool wait) {
  constexpr size_t kMostDescriptors = 16;
  if (fds.size() > kMostDescriptors || text.size() > kMaxMessageBytes) {
    return BugError("a message to another process is too large");
  }
  iovec part{const_cast<char*>(text.data()), text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
    std::memcpy(CMSG_DATA(header), fds.data(), sizeof(int) * fds.size());
  }
  while (::sendmsg(socket.get(), &message, MSG_NOSIGNAL | (wait ? 0 : MSG_DONTWAIT)) < 0) {
    if (errno == EINTR) continue;
    if (!wait && (errno == EAGAIN || errno == EWOULDBLOCK)) return false;
    return ProcessError("send to", "a worker process");
  }
  return true;
}

Result<ReceivedMessage> ReceiveMessage(const Descriptor& socket) {
  ReceivedMessage out;
  char* const room = ReadRoom();
  iovec part{room, kMaxMessageBytes};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;  // no room for descriptors: the kernel closes what comes
  ssize_t got;
  do {
    got = ::recvmsg(socket.get(), &message, MSG_DONTWAIT);
  } while (got < 0 && errno == EINTR);
  if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
    out.none = true;
    return out;
  }
  if (got < 0 && errno != ECONNRESET) return ProcessError("receive from", "a worker process");
  out.end = got <= 0;
  out.text.assign(room, got > 0 ? static_cast<size_t>(got) : 0);
  return out;
}

std::string ReadAvailable(const Descriptor& pipe) {
  constexpr size_t kMostBytes = 64 << 10;
  char* const room = ReadRoom();
  ssize_t got;
  do {
    got = ::read(pipe.get(), room, kMostBytes);
  } while (got < 0 && errno == EINTR);
  return std::string(room, got > 0 ? static_cast<size_t>(got) : 0);
}

std::vector<bool> WaitReadable(const std::vector<int>& fds, int timeout_ms) {
  std::vector<pollfd> polled;
  polled.reserve(fds.size());
  for (int fd : fds) polled.push_back({fd, POLLIN, 0});
  (void)::poll(polled.data(), polled.size(), timeout_ms);
  std::vector<bool> readable;
  readable.reserve(fds.size());
  for (const pollfd& one : polled) readable.push_back(one.revents != 0);
  return readable;
}

Result<std::unique_ptr<SharedMemory>> SharedMemory::Make(const std::string& label, int64_t size_bytes) {
  Descriptor fd(::memfd_create(label.c_str(), MFD_CLOEXEC));
  if (!fd.valid()) return ProcessError("make", "shared memory");
  if (::ftruncate(fd.get(), size_bytes) != 0) return ProcessError("size", "shared memory");
  void* data =
      ::mmap(nullptr, static_cast<size_t>(size_bytes), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (data == MAP_FAILED) return ProcessError("map", "shared memory");
  return std::unique_ptr<SharedMemory>(
      new SharedMemory(std::move(fd), static_cast<uint8_t*>(data), size_bytes));
}

SharedMemory::~SharedMemory() { (void)::munmap(data_, static_cast<size_t>(size_bytes_)); }

void SharedMemory::Clear() {
  std::memset(data_, 0, static_cast<size_t>(size_bytes_));
  (void)::lseek(fd_.get(), 0, SEEK_SET);
}

void SharedMemory::Discard() {
  (void)::fallocate(fd_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, size_bytes_);
}

Result<int> Spawn(const SpawnRequest& request) {
  std::vector<std::string> added;
  for (const auto& [name, value] : request.environment) {
    if (std::getenv(name.c_str()) == nullptr) added.push_back(name + "=" + value);
  }
  std::vector<char*> environment, argv;
  for (char** variable = environ; *variable != nullptr; ++variable) environment.push_back(*variable);
  for (std::string& variable : added) environment.push_back(variable.data());
  environment.push_back(nullptr);
  for (const std::string& word : request.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  // First to numbers that none of the targets has, so that no step overwrites what a later one copies.
  constexpr int kFree = 200;
  for (size_t i = 0; i < request.descriptors.size(); ++i) {
    ::posix_spawn_file_actions_adddup2(&actions, request.descriptors[i].first, kFree + static_cast<int>(i));
  }
  for (size_t i = 0; i < request.descriptors.size(); ++i) {
    ::posix_spawn_file_actions_adddup2(&actions, kFree + static_cast<int>(i), request.descriptors[i].second);
    ::posix_spawn_file_actions_addclose(&actions, kFree + static_cast<int>(i));
  }
  sigset_t none, defaults;
  ::sigemptyset(&none);
  ::sigemptyset(&defaults);
  for (int signal : {SIGINT, SIGTERM, SIGPIPE, SIGHUP, SIGQUIT}) ::sigaddset(&defaults, signal);
  ::posix_spawnattr_setsigmask(&attributes, &none);
  ::posix_spawnattr_setsigdefault(&attributes, &defaults);
  ::posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  pid_t pid = -1;
  const int error = ::posix_spawnp(&pid, argv[0], &actions, &attributes, argv.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) return ProcessError("start", request.argv[0], error);
  return static_cast<int>(pid);
}

ProcessEnd TryReap(int pid) {
  int status = 0;
  const pid_t got = ::waitpid(pid, &status, WNOHANG);
  if (got == 0) return {};
  if (got < 0) return {errno != EINTR, 0};  // somebody else reaped it
  return {true, WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status)};
}

void SendSignal(int pid, int signal) {
  if (pid > 1) (void)::kill(pid, signal);
}

void KillGroup(int pid) {
  if (pid > 1) (void)::kill(-pid, SIGKILL);
}

std::string SignalName(int signal) {
  const char* name = ::sigabbrev_np(signal);
  const char* meaning = ::sigdescr_np(signal);
  std::string text = name == nullptr ? "signal " + std::to_string(signal) : "SIG" + std::string(name);
  if (meaning != nullptr) text += " (" + std::string(meaning) + ")";
  return text;
}

int OwnPid() { return static_cast<int>(::getpid()); }

std::string OwnSurroundings() {
  std::string text;
  if (char* folder = ::getcwd(nullptr, 0)) {
    text = folder;
    std::free(folder);
  }
  for (char** variable = environ; *variable != nullptr; ++variable) text += '\0' + std::string(*variable);
  return text;
}

}  // namespace partita
