// The doors to other machines that are ours: connections over TCP between workers of one run. Errors are kind
// environment.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/process.h"

namespace partita {

// One thread at a time. After an error it is of no use.
class TcpConnection {
 public:
  // `refused`: the machine answers, and nobody listens there.
  static Result<TcpConnection> Connect(const std::string& host, int port, int wait_ms, bool* refused);
  // All of it, or an error; of silence at most `wait_ms` are borne.
  Status Send(const void* data, int64_t size, int wait_ms);
  Status Receive(void* data, int64_t size, int wait_ms);

 private:
  TcpConnection(Descriptor socket, std::string peer) : socket_(std::move(socket)), peer_(std::move(peer)) {}
  Status Wait(short events, int wait_ms) const;
  Descriptor socket_;
  std::string peer_;
};

// Answers short requests with pieces of files, which the kernel sends: no byte of them comes here. A few
// threads serve any number of connections; one that reads slowly, or says nothing, holds up no other.
class TcpFileServer {
 public:
  struct Answer {
    std::string head;  // goes first
    Descriptor file;   // then `length` bytes of it from `offset`
    int64_t offset = 0, length = 0;
  };
  struct Init {
    std::string host;  // the address to listen at, and no other
    int threads = 2;
    size_t most_connections = 4096;
    size_t head_bytes = 0;  // of a request, before what it says of the length of the rest
    // How many bytes come after this head; below 0: it is no request of ours, and the connection ends.
    std::function<int64_t(const std::string& head)> rest_bytes;
    // From any of the threads.
    std::function<Answer(const std::string& head, const std::string& rest)> answer;
  };
  static Result<std::unique_ptr<TcpFileServer>> Start(Init init);
  ~TcpFileServer();  // ends all connections
  int port() const { return port_; }

 private:
  struct Client;
  explicit TcpFileServer(Init init);
  Status Listen();
  void Serve();
  void Accept();
  // Goes on until it would block; what it waits for. 0: the connection is over.
  uint32_t Advance(Client* client) const;
  void Watch(Client* client, uint32_t events, int operation);

  Init init_;
  int port_ = 0;
  Descriptor listener_, poll_, bell_;
  std::mutex mutex_;
  std::set<std::unique_ptr<Client>> clients_;
  std::vector<std::thread> threads_;
};

}  // namespace partita
