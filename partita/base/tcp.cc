#include "partita/base/tcp.h"

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace partita {
namespace {

constexpr int64_t kTurnBytes = 1 << 20;  // to one connection, before others have their turn
constexpr int kBacklog = 512;

Status Failed(const std::string& what, const std::string& peer, int error) {
  return EnvironmentError("cannot " + what + " " + peer + ": " + std::strerror(error));
}

using Addresses = std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)>;

Result<Addresses> Resolve(const std::string& host, int port, int flags) {
  addrinfo wanted{};
  wanted.ai_family = AF_UNSPEC;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = flags | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), std::to_string(port).c_str(), &wanted, &found);
  if (error != 0)
    return EnvironmentError("the address '" + host + "' is not known: " + ::gai_strerror(error));
  return Addresses(found, &::freeaddrinfo);
}

Descriptor SocketFor(const addrinfo& address) {
  return Descriptor(::socket(address.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP));
}

void SendAtOnce(const Descriptor& socket) {
  const int on = 1;
  (void)::setsockopt(socket.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

Result<TcpConnection> TcpConnection::Connect(const std::string& host, int port, int wait_ms, bool* refused) {
  *refused = false;
  const std::string peer = host + ":" + std::to_string(port);
  ARROW_ASSIGN_OR_RAISE(const auto addresses, Resolve(host, port, 0));
  int error = EHOSTUNREACH;
  for (const addrinfo* address = addresses.get(); address != nullptr; address = address->ai_next) {
    TcpConnection connection(SocketFor(*address), peer);
    const int fd = connection.socket_.get();
    if (fd < 0) return Failed("make a socket for", peer, errno);
    error = ::connect(fd, address->ai_addr, address->ai_addrlen) == 0 ? 0 : errno;
    if (error == EINPROGRESS) {
      error = ETIMEDOUT;
      if (connection.Wait(POLLOUT, wait_ms).ok()) {
        socklen_t size = sizeof error;
        if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0) error = errno;
      }
    }
    if (error != 0) continue;
    SendAtOnce(connection.socket_);
    return connection;
  }
  *refused = error == ECONNREFUSED;
  return Failed("reach", peer, error);
}

Status TcpConnection::Wait(short events, int wait_ms) const {
  pollfd polled{socket_.get(), events, 0};
  int ready = 0;
  do {
    ready = ::poll(&polled, 1, wait_ms);
  } while (ready < 0 && errno == EINTR);
  if (ready < 0) return Failed("wait for", peer_, errno);
  return ready == 0 ? Failed("hear from", peer_, ETIMEDOUT) : Status::OK();
}

Status TcpConnection::Send(const void* data, int64_t size, int wait_ms) {
  const char* from = static_cast<const char*>(data);
  while (size > 0) {
    const ssize_t sent = ::send(socket_.get(), from, static_cast<size_t>(size), MSG_NOSIGNAL);
    if (sent > 0) {
      from += sent;
      size -= sent;
    } else if (sent < 0 && errno == EAGAIN) {
      ARROW_RETURN_NOT_OK(Wait(POLLOUT, wait_ms));
    } else if (errno != EINTR) {
      return Failed("send to", peer_, errno);
    }
  }
  return Status::OK();
}

Status TcpConnection::Receive(void* data, int64_t size, int wait_ms) {
  char* to = static_cast<char*>(data);
  while (size > 0) {
    const ssize_t got = ::recv(socket_.get(), to, static_cast<size_t>(size), 0);
    if (got > 0) {
      to += got;
      size -= got;
    } else if (got == 0) {
      return Failed("read from", peer_, ECONNRESET);
    } else if (errno == EAGAIN) {
      ARROW_RETURN_NOT_OK(Wait(POLLIN, wait_ms));
    } else if (errno != EINTR) {
      return Failed("read from", peer_, errno);
    }
  }
  return Status::OK();
}

struct TcpFileServer::Client {
  std::mutex mutex;  // one thread at a time is told of it; this hands what it did to the next
  Descriptor socket;
  std::string request;  // so far
  Answer answer;        // what is left of it
  size_t head_sent = 0;
  bool answering = false;
};

TcpFileServer::TcpFileServer(Init init) : init_(std::move(init)) {}

Result<std::unique_ptr<TcpFileServer>> TcpFileServer::Start(Init init) {
  auto server = std::unique_ptr<TcpFileServer>(new TcpFileServer(std::move(init)));
  ARROW_RETURN_NOT_OK(server->Listen());
  for (int i = 0; i < server->init_.threads; ++i)
    server->threads_.emplace_back([server = server.get()] { server->Serve(); });
  return server;
}

Status TcpFileServer::Listen() {
  ARROW_ASSIGN_OR_RAISE(const auto addresses, Resolve(init_.host, 0, AI_PASSIVE));
  listener_ = SocketFor(*addresses);
  sockaddr_storage bound{};
  socklen_t size = sizeof bound;
  if (!listener_.valid() || ::bind(listener_.get(), addresses->ai_addr, addresses->ai_addrlen) != 0 ||
      ::listen(listener_.get(), kBacklog) != 0 ||
      ::getsockname(listener_.get(), reinterpret_cast<sockaddr*>(&bound), &size) != 0) {
    return Failed("listen at", init_.host, errno);
  }
  // Both kinds of addresses have it at the same place.
  port_ = ntohs(reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
  poll_ = Descriptor(::epoll_create1(EPOLL_CLOEXEC));
  if (!poll_.valid()) return Failed("watch", init_.host, errno);
  ARROW_ASSIGN_OR_RAISE(bell_, MakeBell());
  epoll_event event{};
  event.events = EPOLLIN;  // once rung it wakes every thread
  event.data.ptr = &bell_;
  if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, bell_.get(), &event) != 0)
    return Failed("watch", init_.host, errno);
  event.events = EPOLLIN | EPOLLEXCLUSIVE;
  event.data.ptr = &listener_;
  if (::epoll_ctl(poll_.get(), EPOLL_CTL_ADD, listener_.get(), &event) != 0)
    return Failed("watch", init_.host, errno);
  return Status::OK();
}

TcpFileServer::~TcpFileServer() {
  if (bell_.valid()) Ring(bell_);
  for (auto& thread : threads_) thread.join();
}

void TcpFileServer::Serve() {
  // A reader that went away is an error of sendfile, not the end of this process.
  sigset_t pipe;
  ::sigemptyset(&pipe);
  ::sigaddset(&pipe, SIGPIPE);
  (void)::pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
  while (true) {
    epoll_event event{};
    const int ready = ::epoll_wait(poll_.get(), &event, 1, -1);
    if (ready < 0 && errno != EINTR) return;
    if (ready <= 0) continue;
    if (event.data.ptr == &bell_) return;
    if (event.data.ptr == &listener_) {
      Accept();
      continue;
    }
    auto* client = static_cast<Client*>(event.data.ptr);
    uint32_t waits = 0;
    {
      std::lock_guard lock(client->mutex);
      waits = Advance(client);
      if (waits != 0) Watch(client, waits, EPOLL_CTL_MOD);
    }
    if (waits != 0) continue;
    std::lock_guard lock(mutex_);
    std::erase_if(clients_, [&](const auto& other) { return other.get() == client; });
  }
}

void TcpFileServer::Accept() {
  Descriptor socket(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) return;  // another thread took it, or it went
  SendAtOnce(socket);
  auto client = std::make_unique<Client>();
  client->socket = std::move(socket);
  Client* added = client.get();
  {
    std::lock_guard lock(mutex_);
    if (clients_.size() >= init_.most_connections) return;
    clients_.insert(std::move(client));
  }
  std::lock_guard lock(added->mutex);
  Watch(added, EPOLLIN, EPOLL_CTL_ADD);
}

// Of one thread at a time: once told, it is quiet until it is watched again.
void TcpFileServer::Watch(Client* client, uint32_t events, int operation) {
  epoll_event event{};
  event.events = events | EPOLLONESHOT;
  event.data.ptr = client;
  (void)::epoll_ctl(poll_.get(), operation, client->socket.get(), &event);
}

uint32_t TcpFileServer::Advance(Client* client) const {
  const int fd = client->socket.get();
  Answer& answer = client->answer;
  for (int64_t turn = 0; turn < kTurnBytes;) {
    ssize_t moved = 0;
    if (!client->answering) {
      size_t wanted = init_.head_bytes;
      if (client->request.size() >= wanted) {
        const int64_t rest = init_.rest_bytes(client->request.substr(0, init_.head_bytes));
        if (rest < 0) return 0;
        wanted += static_cast<size_t>(rest);
      }
      if (client->request.size() < wanted) {
        const size_t before = client->request.size();
        client->request.resize(wanted);
        moved = ::recv(fd, client->request.data() + before, wanted - before, 0);
        const int error = errno;
        client->request.resize(before + static_cast<size_t>(std::max<ssize_t>(0, moved)));
        if (moved < 0 && error == EAGAIN) return EPOLLIN;
        if (moved == 0 || (moved < 0 && error != EINTR)) return 0;
        continue;
      }
      answer =
          init_.answer(client->request.substr(0, init_.head_bytes), client->request.substr(init_.head_bytes));
      client->request.clear();
      client->head_sent = 0;
      client->answering = true;
    }
    if (client->head_sent < answer.head.size()) {
      moved = ::send(fd, answer.head.data() + client->head_sent, answer.head.size() - client->head_sent,
                     MSG_NOSIGNAL | (answer.length > 0 ? MSG_MORE : 0));
      if (moved > 0) client->head_sent += static_cast<size_t>(moved);
    } else if (answer.length > 0) {
      off_t offset = answer.offset;
      moved = ::sendfile(fd, answer.file.get(), &offset,
                         static_cast<size_t>(std::min(answer.length, kTurnBytes)));
      if (moved == 0) return 0;  // the file became shorter
      if (moved > 0) {
        answer.offset += moved;
        answer.length -= moved;
      }
    } else {
      answer = Answer();
      client->answering = false;
      continue;
    }
    if (moved < 0 && errno == EAGAIN) return EPOLLOUT;
    if (moved < 0 && errno != EINTR) return 0;
    turn += std::max<ssize_t>(0, moved);
  }
  return EPOLLOUT;  // the others' turn
}

}  // namespace partita
