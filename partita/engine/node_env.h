// The door of a worker that reads exchange blocks of others: paths of NodePath open what lies on other nodes,
// all other paths are those of the machine. A block of the own machine is read where it lies. Reading waits
// for a worker that is silent for a while; then its blocks are lost, which the error says by its file.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "partita/base/env_forwarding.h"
#include "partita/engine/node_path.h"
#include "partita/engine/node_server.h"

namespace partita {

// Pieces of blocks, over connections that are kept for the next. Thread-safe.
class NodeClient {
 public:
  NodeClient(Env* env, std::string token) : env_(env), token_(std::move(token)) {}
  struct Piece {
    int64_t got = 0, size_bytes = 0;  // of the block
  };
  // Up to `length` bytes from `offset` to `out`. Once a place is found to be lost, all of it is, at once.
  Result<Piece> Read(const NodePath& path, int64_t offset, int64_t length, void* out);
  void TryAgain(const std::string& at);

 private:
  Result<Piece> Ask(TcpConnection* connection, const NodePath& path, int64_t offset, int64_t length,
                    void* out) const;
  Result<Piece> Insist(const NodePath& path, int64_t offset, int64_t length, void* out);

  Env* env_;
  const std::string token_;
  std::mutex mutex_;
  std::map<std::string, std::vector<TcpConnection>> idle_;  // by "host:port"
  std::map<std::string, Status> lost_;                      // by NodePlace::at
};

class NodeEnv final : public ForwardingEnv {
 public:
  // `host`: where this worker's own server is reached; `env` outlives it and its files.
  NodeEnv(Env* env, const std::string& host, std::string token)
      : ForwardingEnv(env), host_(host), client_(std::make_shared<NodeClient>(env, std::move(token))) {}
  // Blocks are there, also where they were not found before; those on this machine are read from its disk.
  void AddPlace(const NodePlace& place);

  Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenRead(const std::string& path,
                                                                ReadOptions options = {}) override;

 private:
  const std::string host_;
  std::shared_ptr<NodeClient> client_;  // files may outlive this
  std::mutex mutex_;
  std::map<std::string, std::string> roots_;  // by NodePlace::at, of this machine
};

}  // namespace partita
