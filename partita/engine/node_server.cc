#include "partita/engine/node_server.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <thread>

namespace partita {
namespace {

constexpr std::string_view kFolderPrefix = "partita-blocks-";
constexpr int64_t kYoungNs = int64_t{60} * 1000 * 1000 * 1000;  // may be without its lock yet
constexpr int64_t kMostPathBytes = 4096;

// Folders of workers that ended with their machine, or with whoever should have removed them.
void RemoveForsaken(Env* env, const std::string& scratch_dir) {
  const auto entries = env->ListDir(scratch_dir);
  if (!entries.ok()) return;
  for (const auto& entry : *entries) {
    if (!entry.is_directory || !entry.name.starts_with(kFolderPrefix)) continue;
    if (env->NowUnixMicros() * 1000 - entry.mtime_ns < kYoungNs) continue;
    const std::string folder = JoinPath(scratch_dir, entry.name);
    const auto lock = env->Stat(JoinPath(folder, "lock"));
    if (!lock.ok() || !lock->exists) continue;
    if (const auto taken = env->LockFile(JoinPath(folder, "lock")); taken.ok()) (void)env->RemoveTree(folder);
  }
}

// A shell that waits for the end of this process and removes its folder: nothing here runs after kill -9. It
// is nobody's child, or whoever ends this process and its children would end it too.
Result<Descriptor> RemoveAfterUs(const std::string& folder) {
  ARROW_ASSIGN_OR_RAISE(auto ends, MessagePair());
  SpawnRequest request;
  request.argv = {"sh", "-c", "cd / && (read -r line <&3; rm -rf \"$1\") >/dev/null 2>&1 &", "partita-blocks",
                  folder};
  request.descriptors = {{ends.second.get(), 3}};
  ARROW_ASSIGN_OR_RAISE(const int pid, Spawn(request));
  for (int i = 0; i < 1000 && !TryReap(pid).ended; ++i)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  return std::move(ends.first);
}

bool IsSame(std::string_view ours, const char* theirs) {
  unsigned char other = 0;
  for (size_t i = 0; i < ours.size(); ++i) other |= static_cast<unsigned char>(ours[i] ^ theirs[i]);
  return other == 0;
}

}  // namespace

Result<std::unique_ptr<NodeServer>> NodeServer::Start(Env* env, const std::string& scratch_dir,
                                                      std::string host, std::string token) {
  if (token.size() != kNodeTokenChars) return BugError("the run's token is not of its length");
  auto server = std::unique_ptr<NodeServer>(new NodeServer(env));
  server->token_ = std::move(token);
  server->own_ = env->RandomHex(8);
  ARROW_RETURN_NOT_OK(server->MakeFolder(scratch_dir));
  TcpFileServer::Init init;
  init.host = host;
  init.head_bytes = sizeof(NodeRequest);
  init.rest_bytes = [self = server.get()](const std::string& head) -> int64_t {
    NodeRequest request;
    std::memcpy(&request, head.data(), sizeof request);
    if (request.magic != NodeRequest().magic || request.path_bytes > kMostPathBytes ||
        !IsSame(self->token_, request.token))
      return -1;
    return request.path_bytes;
  };
  init.answer = [self = server.get()](const std::string& head, const std::string& path) {
    return self->Answer(head, path);
  };
  ARROW_ASSIGN_OR_RAISE(server->server_, TcpFileServer::Start(std::move(init)));
  const std::string written = host.find(':') == host.npos ? host : "[" + host + "]";
  server->place_.at = written + ":" + std::to_string(server->server_->port()) + "/" + server->own_;
  return server;
}

Status NodeServer::MakeFolder(const std::string& scratch_dir) {
  RemoveForsaken(env_, scratch_dir);
  std::error_code ignored;
  const auto whole = std::filesystem::absolute(scratch_dir, ignored).string();
  place_.root = JoinPath(whole, std::string(kFolderPrefix) + own_);
  ARROW_RETURN_NOT_OK(env_->CreateDirs(place_.root));
  ARROW_ASSIGN_OR_RAISE(lock_, env_->LockFile(JoinPath(place_.root, "lock")));
  return RemoveAfterUs(place_.root).Value(&alive_);
}

NodeServer::~NodeServer() {
  server_.reset();
  lock_.reset();
  (void)env_->RemoveTree(place_.root);
}

// What is not there was never made by this worker: it is another than the reader believes, or a disk forgets.
TcpFileServer::Answer NodeServer::Answer(const std::string& head, const std::string& path) const {
  NodeRequest request;
  std::memcpy(&request, head.data(), sizeof request);
  NodeAnswer answer;
  TcpFileServer::Answer made;
  const std::string prefix = own_ + "/";
  if (path.starts_with(prefix) && IsSafeRelativePath(path.substr(prefix.size())) && request.offset >= 0 &&
      request.length >= 0) {
    const std::string file = JoinPath(place_.root, path.substr(prefix.size()));
    made.file = Descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    struct stat facts {};
    if (made.file.valid() && ::fstat(made.file.get(), &facts) == 0 && S_ISREG(facts.st_mode)) {
      answer.found = 1;
      answer.size_bytes = facts.st_size;
      answer.length = std::clamp<int64_t>(facts.st_size - request.offset, 0, request.length);
      made.offset = request.offset;
      made.length = answer.length;
    }
  }
  made.head.assign(reinterpret_cast<const char*>(&answer), sizeof answer);
  return made;
}

}  // namespace partita
