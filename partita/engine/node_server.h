// A worker's own exchange blocks: a folder on its node's disk, and a server that other workers of the run
// read them from. The folder is gone when the worker ends, whatever ends it, or with the next worker on its
// node.
//
// Thread-safe.
#pragma once

#include <memory>
#include <string>

#include "partita/base/env.h"
#include "partita/base/process.h"
#include "partita/base/tcp.h"
#include "partita/engine/node_path.h"

namespace partita {

inline constexpr size_t kNodeTokenChars = 32;

// How a worker reads a block. All numbers in the machine's order: workers of one run are of one build.
struct NodeRequest {
  uint32_t magic = 0x31425850;  // "PXB1"
  uint32_t path_bytes = 0;      // of what follows: the worker's own name, "/", the block's name
  char token[kNodeTokenChars] = {};
  int64_t offset = 0, length = 0;
};
struct NodeAnswer {
  uint32_t magic = 0x31425850;
  uint32_t found = 0;
  int64_t length = 0;      // bytes that follow: fewer than asked for at the end of the block
  int64_t size_bytes = 0;  // of the block
};

class NodeServer {
 public:
  // `host`: the address by which other nodes reach this one. `token`: of the run; kNodeTokenChars characters.
  static Result<std::unique_ptr<NodeServer>> Start(Env* env, const std::string& scratch_dir, std::string host,
                                                   std::string token);
  ~NodeServer();
  const NodePlace& place() const { return place_; }

 private:
  explicit NodeServer(Env* env) : env_(env) {}
  Status MakeFolder(const std::string& scratch_dir);
  TcpFileServer::Answer Answer(const std::string& head, const std::string& path) const;

  Env* env_;
  NodePlace place_;
  std::string own_, token_;
  std::shared_ptr<void> lock_;  // says that the folder's worker lives
  Descriptor alive_;            // closed by the kernel when this process ends: see MakeFolder
  std::unique_ptr<TcpFileServer> server_;
};

}  // namespace partita
