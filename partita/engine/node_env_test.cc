// Blocks that one worker serves and another reads, over real sockets: whole, in pieces, gone; and strangers
// who ask.
#include "partita/engine/node_env.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <thread>

#include "partita/base/tcp.h"

namespace partita {
namespace {

namespace fs = std::filesystem;

const std::string kToken = "0123456789abcdef0123456789abcdef";
const std::string kHost = "127.0.0.1";

class NodeEnvTest : public ::testing::Test {
 protected:
  NodeEnvTest() : folder_(fs::temp_directory_path() / ("partita-nodes-" + env_->RandomHex(8))) {
    fs::create_directories(folder_);
    auto server = NodeServer::Start(env_, folder_, kHost, kToken);
    EXPECT_TRUE(server.ok()) << server.status();
    server_ = std::move(*server);
    bytes_.resize(3'000'001);
    for (size_t i = 0; i < bytes_.size(); ++i) bytes_[i] = static_cast<char>(i * 7 + i / 251);
    EXPECT_TRUE(env_->CreateDirs(Root() + "/exchange-0").ok());
    EXPECT_TRUE(WriteFileAtomically(env_, Root() + "/exchange-0/block", bytes_).ok());
  }
  ~NodeEnvTest() override {
    server_.reset();
    fs::remove_all(folder_);
  }

  std::string Root() const { return server_->place().root; }
  // Of a reader on another machine.
  Result<std::string> Read(const std::string& path, int64_t offset, int64_t length) {
    ARROW_ASSIGN_OR_RAISE(auto file, elsewhere_.OpenRead(path));
    ARROW_ASSIGN_OR_RAISE(auto buffer, file->ReadAt(offset, length));
    return buffer->ToString();
  }
  // What comes back for these bytes before the connection ends; "": nothing.
  std::string Say(const std::string& bytes) const {
    bool refused = false;
    const auto place = *NodePath::Parse(NodePath::Text(server_->place(), "x"));
    auto connection = TcpConnection::Connect(kHost, place.port, 1000, &refused);
    EXPECT_TRUE(connection.ok()) << connection.status();
    EXPECT_TRUE(connection->Send(bytes.data(), static_cast<int64_t>(bytes.size()), 1000).ok());
    NodeAnswer answer;
    if (!connection->Receive(&answer, sizeof answer, 300).ok()) return "";
    return answer.found == 1 ? "found" : "none";
  }
  std::string Request(const std::string& path, const std::string& token = kToken) const {
    NodeRequest request;
    request.path_bytes = static_cast<uint32_t>(path.size());
    std::copy_n(token.begin(), kNodeTokenChars, request.token);
    request.length = 1;
    return std::string(reinterpret_cast<const char*>(&request), sizeof request) + path;
  }
  std::string Own() const { return server_->place().at.substr(server_->place().at.find('/') + 1); }

  Env* env_ = Env::Default();
  fs::path folder_;
  std::unique_ptr<NodeServer> server_;
  std::string bytes_;
  NodeEnv elsewhere_{env_, "10.1.2.3", kToken};
};

TEST_F(NodeEnvTest, PiecesAreThoseOfTheFile) {
  const std::string path = NodePath::Text(server_->place(), "exchange-0/block");
  const auto size = static_cast<int64_t>(bytes_.size());
  for (const auto& [offset, length] : std::vector<std::pair<int64_t, int64_t>>{
           {0, size}, {1, 10}, {size - 5, 5}, {size - 5, 500}, {size, 10}, {size + 9, 1}, {0, 0}}) {
    const auto piece = Read(path, offset, length);
    ASSERT_TRUE(piece.ok()) << piece.status();
    const auto from = static_cast<size_t>(std::min(offset, size));
    EXPECT_TRUE(*piece == bytes_.substr(from, static_cast<size_t>(length))) << offset << " " << length;
  }
  EXPECT_EQ(*(*elsewhere_.OpenRead(path))->GetSize(), size);
}

TEST_F(NodeEnvTest, ManyReadersAtOnce) {
  const std::string path = NodePath::Text(server_->place(), "exchange-0/block");
  auto file = *elsewhere_.OpenRead(path);
  std::vector<std::thread> readers;
  std::atomic<int> wrong{0};
  for (int reader = 0; reader < 12; ++reader) {
    readers.emplace_back([&, reader] {
      std::string got(70001, 0);
      for (int64_t i = 0; i < 30; ++i) {
        const int64_t offset = (i * 97 + reader) * 1000 % 2'900'000;
        const auto read = file->ReadAt(offset, 70001, got.data());
        if (!read.ok() || *read != 70001 || got != bytes_.substr(static_cast<size_t>(offset), 70001)) ++wrong;
      }
    });
  }
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(NodeEnvTest, WhatIsOnTheOwnMachineIsReadThere) {
  NodeEnv here(env_, kHost, "another token, that no server takes");
  here.AddPlace(server_->place());
  auto file = here.OpenRead(NodePath::Text(server_->place(), "exchange-0/block"));
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*(*file)->GetSize(), static_cast<int64_t>(bytes_.size()));
}

TEST_F(NodeEnvTest, ALostWorkerIsNamedByTheErrorsFile) {
  const std::string path = NodePath::Text(server_->place(), "exchange-0/block");
  const auto place = server_->place();
  ASSERT_TRUE(Read(path, 0, 1).ok());
  server_.reset();
  const auto lost = Read(path, 0, 1);
  ASSERT_FALSE(lost.ok());
  EXPECT_EQ(KindOf(lost.status()), ErrorKind::kEnvironment);
  EXPECT_TRUE(IsRetriable(lost.status()));
  EXPECT_EQ(DetailOf(lost.status())->context.file, path);
  EXPECT_FALSE(fs::exists(place.root)) << "the folder goes with its worker";
}

TEST_F(NodeEnvTest, ABlockThatIsNotThereIsLost) {
  const auto lost = Read(NodePath::Text(server_->place(), "exchange-0/other"), 0, 1);
  ASSERT_FALSE(lost.ok());
  EXPECT_TRUE(NodePath::Is(DetailOf(lost.status())->context.file));
  // Until it is said to be there again, nothing of that worker is believed in.
  const std::string path = NodePath::Text(server_->place(), "exchange-0/block");
  EXPECT_FALSE(Read(path, 0, 1).ok());
  elsewhere_.AddPlace(server_->place());
  EXPECT_TRUE(Read(path, 0, 1).ok());
}

TEST_F(NodeEnvTest, StrangersGetNothing) {
  EXPECT_EQ(Say(Request(Own() + "/exchange-0/block")), "found");
  EXPECT_EQ(Say(Request(Own() + "/exchange-0/block", std::string(kNodeTokenChars, 'x'))), "");
  EXPECT_EQ(Say("GET / HTTP/1.1\r\n\r\n" + std::string(200, 'x')), "");
  EXPECT_EQ(Say(Request(Own() + "/../../etc/passwd")), "none");
  EXPECT_EQ(Say(Request(Own() + "//etc/passwd")), "none");
  EXPECT_EQ(Say(Request("someone/exchange-0/block")), "none");
  EXPECT_EQ(Say(Request(Own() + "/exchange-0")), "none") << "a folder is no block";
  ASSERT_EQ(symlink("/etc/passwd", (Root() + "/exchange-0/link").c_str()), 0);
  EXPECT_EQ(Say(Request(Own() + "/exchange-0/link")), "none");
  NodeRequest endless;
  endless.path_bytes = UINT32_MAX;
  std::copy_n(kToken.begin(), kNodeTokenChars, endless.token);
  EXPECT_EQ(Say(std::string(reinterpret_cast<const char*>(&endless), sizeof endless)), "");
}

TEST_F(NodeEnvTest, WhoSaysNothingHoldsUpNobody) {
  const auto place = *NodePath::Parse(NodePath::Text(server_->place(), "x"));
  std::vector<TcpConnection> silent;
  const std::string half = Request(Own() + "/exchange-0/block").substr(0, 20);
  for (int i = 0; i < 40; ++i) {
    bool refused = false;
    silent.push_back(*TcpConnection::Connect(kHost, place.port, 1000, &refused));
    ASSERT_TRUE(silent.back().Send(half.data(), static_cast<int64_t>(half.size()), 1000).ok());
  }
  EXPECT_TRUE(Read(NodePath::Text(server_->place(), "exchange-0/block"), 0, 3'000'000).ok());
}

TEST_F(NodeEnvTest, FoldersOfDeadWorkersAreRemovedByTheNext) {
  const fs::path dead = folder_ / "partita-blocks-dead", young = folder_ / "partita-blocks-young";
  for (const auto& path : {dead, young}) {
    fs::create_directories(path / "exchange-0");
    ASSERT_TRUE(WriteFileAtomically(env_, (path / "lock").string(), "1").ok());
  }
  const auto old = fs::file_time_type::clock::now() - std::chrono::minutes(5);
  fs::last_write_time(dead, old);
  fs::last_write_time(Root(), old);
  const auto next = NodeServer::Start(env_, folder_, kHost, kToken);
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_FALSE(fs::exists(dead));
  EXPECT_TRUE(fs::exists(young)) << "its worker may just begin";
  EXPECT_TRUE(fs::exists(Root())) << "its worker lives";
}

TEST(NodePath, IsReadAsItIsWritten) {
  for (const char* at : {"10.0.0.2:4711/ab", "[fe80::1]:80/ab", "node-7.cluster:65535/ab"}) {
    const auto path = NodePath::Parse(NodePath::Text({at, "/tmp"}, "exchange-3/in-000-000001.tmp-x"));
    ASSERT_TRUE(path.ok()) << path.status();
    EXPECT_EQ(path->at, at);
    EXPECT_EQ(path->name, "exchange-3/in-000-000001.tmp-x");
  }
  EXPECT_EQ(NodePath::Parse("node://[fe80::1]:80/ab/c")->host, "fe80::1");
  for (const char* wrong :
       {"", "/tmp/x", "node://", "node://a:1", "node://a:1/b", "node://:1/b/c", "node://a/b/c",
        "node://a:x/b/c", "node://a:0/b/c", "node://a:99999/b/c", "node://a:1/b/../c"})
    EXPECT_FALSE(NodePath::Parse(wrong).ok()) << wrong;
}

}  // namespace
}  // namespace partita
