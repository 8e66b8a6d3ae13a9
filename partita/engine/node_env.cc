#include "partita/engine/node_env.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <optional>
#include <thread>

#include "partita/base/tcp.h"
#include "partita/storage/positioned_file.h"

namespace partita {
namespace {

constexpr int kConnectMs = 5000;
constexpr int kSilenceMs = 8000;
constexpr int64_t kPatienceNs = int64_t{10} * 1000 * 1000 * 1000;
constexpr int kLeastTries = 3;
constexpr int kRefusals = 3;  // so often the machine says that its worker has ended
constexpr int kPauseMs = 100;
constexpr size_t kMostIdle = 16;

Status Lost(const NodePath& path, const std::string& why) {
  return WithContext(EnvironmentError("rows that the worker at " + path.host + ":" +
                                          std::to_string(path.port) + " had made are lost: " + why,
                                      "--exchange disk keeps them on the storage of the run"),
                     {.file = "node://" + path.at + "/" + path.name});
}

class NodeFile final : public PositionedFile {
 public:
  NodeFile(std::shared_ptr<NodeClient> client, NodePath path, arrow::MemoryPool* pool)
      : client_(std::move(client)), path_(std::move(path)), pool_(pool) {}

  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<int64_t> GetSize() override {
    if (size_bytes_ < 0) ARROW_RETURN_NOT_OK(ReadAt(0, 0, nullptr).status());
    return size_bytes_.load();
  }
  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override {
    if (position < 0 || nbytes < 0) return BugError("a read outside of a block");
    ARROW_ASSIGN_OR_RAISE(const auto piece, client_->Read(path_, position, nbytes, out));
    size_bytes_ = piece.size_bytes;
    return piece.got;
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t size, GetSize());
    const int64_t left = std::clamp<int64_t>(size - position, 0, nbytes);
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(left, pool_));
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position, left, buffer->mutable_data()));
    return got < left ? arrow::SliceBuffer(std::move(buffer), 0, got) : buffer;
  }

 private:
  std::shared_ptr<NodeClient> client_;
  const NodePath path_;
  arrow::MemoryPool* pool_;
  std::atomic<int64_t> size_bytes_{-1};
  bool closed_ = false;
};

}  // namespace

Result<NodeClient::Piece> NodeClient::Ask(TcpConnection* connection, const NodePath& path, int64_t offset,
                                          int64_t length, void* out) const {
  const std::string name = path.at.substr(path.at.find('/') + 1) + "/" + path.name;
  NodeRequest request;
  request.path_bytes = static_cast<uint32_t>(name.size());
  std::copy_n(token_.begin(), std::min(token_.size(), sizeof request.token), request.token);
  request.offset = offset;
  request.length = length;
  std::string sent(reinterpret_cast<const char*>(&request), sizeof request);
  sent += name;
  ARROW_RETURN_NOT_OK(connection->Send(sent.data(), static_cast<int64_t>(sent.size()), kSilenceMs));
  NodeAnswer answer;
  ARROW_RETURN_NOT_OK(connection->Receive(&answer, sizeof answer, kSilenceMs));
  if (answer.magic != NodeAnswer().magic || answer.length < 0 || answer.length > length)
    return EnvironmentError("what answers there is no worker of this run");
  if (answer.found == 0) return Piece{-1, -1};
  ARROW_RETURN_NOT_OK(connection->Receive(out, answer.length, kSilenceMs));
  return Piece{answer.length, answer.size_bytes};
}

Result<NodeClient::Piece> NodeClient::Read(const NodePath& path, int64_t offset, int64_t length, void* out) {
  {
    std::lock_guard lock(mutex_);
    if (const auto found = lost_.find(path.at); found != lost_.end())
      return Lost(path, MessageOf(found->second));
  }
  auto piece = Insist(path, offset, length, out);
  if (piece.ok() && piece->got >= 0) return piece;
  Status why = piece.ok() ? EnvironmentError("it does not have them") : piece.status();
  std::lock_guard lock(mutex_);
  idle_.erase(path.at.substr(0, path.at.find('/')));
  lost_[path.at] = why;
  return Lost(path, MessageOf(why));
}

void NodeClient::TryAgain(const std::string& at) {
  std::lock_guard lock(mutex_);
  lost_.erase(at);
}

// Asks until the worker answers, or there is no hope that it does.
Result<NodeClient::Piece> NodeClient::Insist(const NodePath& path, int64_t offset, int64_t length,
                                             void* out) {
  const std::string peer = path.at.substr(0, path.at.find('/'));
  const int64_t began = env_->MonotonicNanos();
  Status last;
  for (int tries = 0, refusals = 0; refusals < kRefusals; ++tries) {
    if (tries >= kLeastTries && env_->MonotonicNanos() - began > kPatienceNs) break;
    std::optional<TcpConnection> connection;
    {
      std::lock_guard lock(mutex_);
      auto& idle = idle_[peer];
      if (!idle.empty()) {
        connection = std::move(idle.back());
        idle.pop_back();
      }
    }
    const bool kept = connection.has_value();
    if (!kept) {
      if (tries > 0) std::this_thread::sleep_for(std::chrono::milliseconds(kPauseMs * std::min(tries, 10)));
      bool refused = false;
      auto made = TcpConnection::Connect(path.host, path.port, kConnectMs, &refused);
      refusals += refused ? 1 : 0;
      last = made.status();
      if (!made.ok()) continue;
      connection = std::move(*made);
    }
    auto piece = Ask(&*connection, path, offset, length, out);
    last = piece.status();
    if (!piece.ok()) {
      if (kept) --tries;  // it may have been closed long ago
      continue;
    }
    std::lock_guard lock(mutex_);
    if (auto& idle = idle_[peer]; idle.size() < kMostIdle) idle.push_back(std::move(*connection));
    return piece;
  }
  return last;
}

void NodeEnv::AddPlace(const NodePlace& place) {
  client_->TryAgain(place.at);
  const auto path = NodePath::Parse(NodePath::Text(place, "x"));
  if (!path.ok() || path->host != host_) return;
  std::lock_guard lock(mutex_);
  roots_[place.at] = place.root;
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> NodeEnv::OpenRead(const std::string& path,
                                                                       ReadOptions options) {
  if (!NodePath::Is(path)) return base()->OpenRead(path, options);
  ARROW_ASSIGN_OR_RAISE(auto parsed, NodePath::Parse(path));
  std::string root;
  {
    std::lock_guard lock(mutex_);
    if (const auto found = roots_.find(parsed.at); found != roots_.end()) root = found->second;
  }
  if (!root.empty()) {  // by an address of this machine, but it may be another container's
    auto file = base()->OpenRead(JoinPath(root, parsed.name), options);
    if (file.ok()) return file;
  }
  return std::make_shared<NodeFile>(client_, std::move(parsed),
                                    options.pool ? options.pool : arrow::default_memory_pool());
}

}  // namespace partita
