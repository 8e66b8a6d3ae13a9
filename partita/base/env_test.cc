#include "partita/base/env.h"
#include "partita/base/pending_read.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <thread>

#include "partita/base/units.h"

namespace partita {
namespace {

using testing::HasSubstr;

class EnvTest : public testing::Test {
 protected:
  EnvTest() {
    dir_ = JoinPath(std::filesystem::temp_directory_path().string(), "partita-env-" + env_->RandomHex(8));
    EXPECT_TRUE(env_->CreateDirs(dir_).ok());
  }
  ~EnvTest() override { EXPECT_TRUE(env_->RemoveTree(dir_).ok()); }

  std::string Path(std::string_view name) const { return JoinPath(dir_, name); }
  void Write(const std::string& path, std::string_view bytes) {
    auto file = env_->OpenWrite(path).ValueOrDie();
    ASSERT_TRUE(file->Write(bytes.data(), static_cast<int64_t>(bytes.size())).ok());
    ASSERT_TRUE(file->Close().ok());
  }
  std::string Read(const std::string& path) { return ReadSmallFile(env_, path).ValueOrDie(); }

  Env* env_ = Env::Default();
  std::string dir_;
};

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  uint32_t state = 1;
  for (char& c : bytes) {
    state = state * 1664525 + 1013904223;
    c = static_cast<char>(state >> 24);
  }
  return bytes;
}

TEST_F(EnvTest, WritesOfAnySizeAndWindowReadBack) {
  const std::string bytes = Pattern(3 << 20);
  for (const int64_t window :
       {int64_t{0}, int64_t{1} << 10, int64_t{100'000}, int64_t{1} << 20, int64_t{8} << 20}) {
    const std::string path = Path("w" + std::to_string(window));
    auto file = env_->OpenWrite(path, WriteOptions{.window_bytes = window}).ValueOrDie();
    size_t at = 0;
    for (size_t step = 1; at < bytes.size(); step = step * 5 % 200'003 + 1) {
      const size_t n = std::min(step, bytes.size() - at);
      ASSERT_TRUE(file->Write(bytes.data() + at, static_cast<int64_t>(n)).ok());
      at += n;
      ASSERT_EQ(file->Tell().ValueOrDie(), static_cast<int64_t>(at));
    }
    ASSERT_TRUE(file->Close().ok());
    ASSERT_TRUE(file->Close().ok());
    EXPECT_TRUE(file->closed());
    EXPECT_FALSE(file->Write("x", 1).ok());
    EXPECT_TRUE(Read(path) == bytes) << window;
  }
}

TEST_F(EnvTest, OneWriteLargerThanManyWindows) {
  const std::string bytes = Pattern(5'000'001);
  const std::string path = Path("big");
  auto file = env_->OpenWrite(path, WriteOptions{.window_bytes = 1 << 20}).ValueOrDie();
  ASSERT_TRUE(file->Write(bytes.data(), static_cast<int64_t>(bytes.size())).ok());
  ASSERT_TRUE(file->Close().ok());
  EXPECT_TRUE(Read(path) == bytes);
}

TEST_F(EnvTest, FilesThatGoAroundThePageCacheReadBack) {
  const std::string bytes = Pattern(5'000'001);
  for (const int64_t cached : {int64_t{0}, int64_t{1}, int64_t{1'000'000}, int64_t{9'000'000}}) {
    const std::string path = Path("direct" + std::to_string(cached));
    auto file = env_->OpenWrite(path, {.window_bytes = 0, .cached_bytes = cached}).ValueOrDie();
    size_t at = 0;
    for (size_t step = 1; at < bytes.size(); step = step * 7 % 300'007 + 1) {
      const size_t n = std::min(step, bytes.size() - at);
      ASSERT_TRUE(file->Write(bytes.data() + at, static_cast<int64_t>(n)).ok());
      at += n;
    }
    ASSERT_TRUE(file->Close().ok());
    EXPECT_TRUE(Read(path) == bytes) << cached;

    auto in = env_->OpenRead(path, {.cached_bytes = cached}).ValueOrDie();
    auto memory = arrow::AllocateBuffer(3 * kDirectAlignment, kDirectAlignment).ValueOrDie();
    const auto size = static_cast<int64_t>(bytes.size());
    for (int64_t page :
         {int64_t{0}, int64_t{1}, int64_t{500}, size / kDirectAlignment - 2, size / kDirectAlignment}) {
      const int64_t place = page * kDirectAlignment;
      const int64_t got = in->ReadAt(place, memory->size(), memory->mutable_data()).ValueOrDie();
      EXPECT_EQ(got, std::min(memory->size(), size - place)) << "short at the end alone";
      EXPECT_EQ(std::memcmp(memory->data(), bytes.data() + place, static_cast<size_t>(got)), 0) << page;
    }
    // Many on their way at once; some are dropped before they came.
    std::vector<std::unique_ptr<arrow::Buffer>> buffers;
    std::vector<PendingRead> reads;
    for (int64_t place = 0; place < size; place += 2 * kDirectAlignment) {
      buffers.push_back(arrow::AllocateBuffer(3 * kDirectAlignment, kDirectAlignment).ValueOrDie());
      reads.push_back(PendingRead::Begin(in, place, buffers.back()->size(), buffers.back()->mutable_data()));
    }
    for (size_t i = reads.size() - 50; i-- > 0;) {
      const int64_t place = static_cast<int64_t>(i) * 2 * kDirectAlignment;
      ASSERT_EQ(reads[i].Wait().ValueOrDie(), std::min(buffers[i]->size(), size - place));
      ASSERT_EQ(std::memcmp(buffers[i]->data(), bytes.data() + place, 2 * kDirectAlignment), 0) << place;
    }
    reads.clear();
    auto last = PendingRead::Begin(in, size / kDirectAlignment * kDirectAlignment, memory->size(),
                                   memory->mutable_data());
    EXPECT_EQ(last.Wait().ValueOrDie(), size % kDirectAlignment);
    EXPECT_EQ(PendingRead::Begin(in, 4096 * 4096, memory->size(), memory->mutable_data()).Wait().ValueOrDie(),
              0);
    char odd[100];
    EXPECT_EQ(in->ReadAt(2'000'001, 100, odd).ValueOrDie(), 100);
    EXPECT_EQ(std::memcmp(odd, bytes.data() + 2'000'001, 100), 0);
  }
}

TEST_F(EnvTest, AWriteAroundThePageCacheThatFailsIsAnError) {
  // The limit of a file's size stands for a full disk; no other test writes meanwhile.
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit small{2 << 20, before.rlim_max};
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  auto file = env_->OpenWrite(Path("limited"), {.window_bytes = 0, .cached_bytes = 0}).ValueOrDie();
  const std::string bytes = Pattern(1 << 20);
  Status status;
  for (int i = 0; i < 5 && status.ok(); ++i) status = file->Write(bytes.data(), 1 << 20);
  const Status closed = file->Close();
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(status.ok());
  EXPECT_FALSE(closed.ok());
}

TEST_F(EnvTest, RemovesManyLargeFiles) {
  for (int i = 0; i < 9; ++i) {
    Write(Path("large" + std::to_string(i)), "x");
    std::filesystem::resize_file(Path("large" + std::to_string(i)), 64 << 20);
  }
  Write(Path("small"), "x");
  ASSERT_TRUE(env_->RemoveTree(dir_).ok());
  EXPECT_FALSE(env_->Stat(dir_).ValueOrDie().exists);
}

TEST_F(EnvTest, FlushShowsBytesToReaders) {
  auto file = env_->OpenWrite(Path("f")).ValueOrDie();
  ASSERT_TRUE(file->Write("abc", 3).ok());
  ASSERT_TRUE(file->Flush().ok());
  EXPECT_EQ(Read(Path("f")), "abc");
}

TEST_F(EnvTest, FullDiskIsAResourceErrorThatSticks) {
  if (!env_->Stat("/dev/full").ValueOrDie().exists) GTEST_SKIP();
  auto file = env_->OpenWrite("/dev/full").ValueOrDie();
  ASSERT_TRUE(file->Write("abc", 3).ok()) << "buffered";
  const Status flushed = file->Flush();
  EXPECT_EQ(KindOf(flushed), ErrorKind::kResource) << flushed;
  EXPECT_THAT(MessageOf(flushed), HasSubstr("/dev/full"));
  EXPECT_EQ(KindOf(file->Write("abc", 3)), ErrorKind::kResource);
  EXPECT_EQ(KindOf(file->Close()), ErrorKind::kResource);

  auto append = env_->OpenAppend("/dev/full").ValueOrDie();
  EXPECT_EQ(KindOf(append->Write("abc", 3)), ErrorKind::kResource);
}

TEST_F(EnvTest, ReadsByPosition) {
  const std::string bytes = Pattern(1'000'000);
  Write(Path("r"), bytes);
  for (const bool drop : {false, true}) {
    arrow::ProxyMemoryPool pool(arrow::default_memory_pool());
    auto file = env_->OpenRead(Path("r"), ReadOptions{.drop_cache = drop, .pool = &pool}).ValueOrDie();
    EXPECT_EQ(file->GetSize().ValueOrDie(), 1'000'000);
    auto buffer = file->ReadAt(999'990, 100).ValueOrDie();
    EXPECT_EQ(buffer->ToString(), bytes.substr(999'990));
    EXPECT_EQ(file->ReadAt(2'000'000, 10).ValueOrDie()->size(), 0);
    EXPECT_EQ(file->ReadAt(5, 1LL << 60).ValueOrDie()->size(), 999'995)
        << "a hostile size must not be allocated";
    EXPECT_GT(pool.total_bytes_allocated(), 0);
    EXPECT_FALSE(file->ReadAt(-1, 10).ok());
    EXPECT_FALSE(file->ReadAt(0, -1).ok());
    const Status ends_early = file->ReadAt(999'990, 100, /*allow_short_read=*/false).status();
    EXPECT_EQ(KindOf(ends_early), ErrorKind::kData);

    // Its own position, for sequential readers.
    std::string sequential;
    for (;;) {
      auto part = file->Read(123'457).ValueOrDie();
      if (part->size() == 0) break;
      sequential += part->ToString();
      EXPECT_EQ(file->Tell().ValueOrDie(), static_cast<int64_t>(sequential.size()));
    }
    EXPECT_TRUE(sequential == bytes);
    ASSERT_TRUE(file->Seek(10).ok());
    char two[2];
    EXPECT_EQ(file->Read(2, two).ValueOrDie(), 2);
    EXPECT_EQ(std::string(two, 2), bytes.substr(10, 2));
    ASSERT_TRUE(file->Close().ok());
    EXPECT_FALSE(file->ReadAt(0, 1).ok());
  }
}

// Pages of a file in the page cache.
int64_t CachedPages(const std::string& path, int64_t bytes) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  void* map = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ, MAP_SHARED, fd, 0);
  EXPECT_NE(map, MAP_FAILED);
  std::vector<unsigned char> resident(static_cast<size_t>((bytes + 4095) / 4096));
  EXPECT_EQ(mincore(map, static_cast<size_t>(bytes), resident.data()), 0);
  munmap(map, static_cast<size_t>(bytes));
  close(fd);
  return std::count_if(resident.begin(), resident.end(), [](unsigned char page) { return page & 1; });
}

TEST_F(EnvTest, WhatWasInThePageCacheStaysThere) {
  const int64_t size = 4 << 20, pages = size / 4096;
  const std::string path = Path("c");
  Write(path, Pattern(size));
  const int fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_EQ(fsync(fd), 0);
  const auto forget = [&] { posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED); };
  const auto read = [&](bool drop) {
    auto file = env_->OpenRead(path, {.drop_cache = drop}).ValueOrDie();
    for (int64_t at = 0; at < size; at += 1 << 20)
      EXPECT_EQ(file->ReadAt(at, 1 << 20).ValueOrDie()->size(), 1 << 20);
    EXPECT_TRUE(file->Close().ok());
  };
  forget();
  if (CachedPages(path, size) > 0) GTEST_SKIP() << "this file system is its own page cache";
  read(true);
  EXPECT_LT(CachedPages(path, size), pages / 8) << "what was read from the disk goes";
  read(false);
  ASSERT_EQ(CachedPages(path, size), pages);
  read(true);
  if (CachedPages(path, size) == 0) GTEST_SKIP() << "this kernel does not tell what is cached";
  EXPECT_EQ(CachedPages(path, size), pages) << "what others have there stays";
  close(fd);
}

TEST_F(EnvTest, ThreadsShareOneFile) {
  const std::string bytes = Pattern(1 << 20);
  Write(Path("t"), bytes);
  // The pool of plain malloc, which the thread sanitizer understands.
  const ReadOptions options{.drop_cache = true, .pool = arrow::system_memory_pool()};
  auto file = env_->OpenRead(Path("t"), options).ValueOrDie();
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 200; ++i) {
        const int64_t at = (i * 7919 + t * 104729) % (1 << 20);
        auto buffer = file->ReadAt(at, 1000).ValueOrDie();
        wrong += buffer->ToString() != bytes.substr(static_cast<size_t>(at), 1000);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(EnvTest, OpeningWhatIsNoFileIsAClearError) {
  const Status missing = env_->OpenRead(Path("none")).status();
  EXPECT_EQ(KindOf(missing), ErrorKind::kEnvironment);
  EXPECT_FALSE(IsRetriable(missing));
  EXPECT_EQ(DetailOf(missing)->context.file, Path("none"));
  EXPECT_THAT(MessageOf(missing), HasSubstr("No such file"));
  EXPECT_THAT(MessageOf(env_->OpenRead(dir_).status()), HasSubstr("directory"));
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  EXPECT_THAT(MessageOf(env_->OpenRead(Path("fifo")).status()), HasSubstr("pipe")) << "and it does not hang";
  EXPECT_FALSE(env_->OpenWrite(Path("no/such/dir")).ok());
}

TEST_F(EnvTest, AppendsAfterWhatIsThere) {
  Write(Path("log"), "one\n");
  auto a = env_->OpenAppend(Path("log")).ValueOrDie();
  auto b = env_->OpenAppend(Path("log")).ValueOrDie();
  EXPECT_EQ(a->Tell().ValueOrDie(), 4);
  ASSERT_TRUE(a->Write("two\n", 4).ok());
  ASSERT_TRUE(b->Write("three\n", 6).ok());
  ASSERT_TRUE(a->Write("four\n", 5).ok());
  EXPECT_EQ(Read(Path("log")), "one\ntwo\nthree\nfour\n");
}

TEST_F(EnvTest, StatAndList) {
  ASSERT_TRUE(env_->CreateDirs(Path("d/e/f")).ok());
  ASSERT_TRUE(env_->CreateDirs(Path("d/e/f")).ok()) << "again";
  Write(Path("d/b"), "12345");
  Write(Path("d/a"), "");
  std::filesystem::create_symlink("/nowhere/at/all", Path("d/dangling"));
  std::filesystem::create_directory_symlink("e", Path("d/link"));
  const auto entries = env_->ListDir(Path("d")).ValueOrDie();
  std::string names;
  for (const auto& entry : entries) names += entry.name + (entry.is_directory ? "/ " : " ");
  EXPECT_EQ(names, "a b dangling e/ link/ ");
  EXPECT_EQ(entries[1].size_bytes, 5);
  EXPECT_GT(entries[1].mtime_ns, 0);

  const auto file = env_->Stat(Path("d/b")).ValueOrDie();
  EXPECT_TRUE(file.exists);
  EXPECT_FALSE(file.is_directory);
  EXPECT_EQ(file.size_bytes, 5);
  EXPECT_EQ(file.mtime_ns, entries[1].mtime_ns);
  EXPECT_TRUE(env_->Stat(Path("d")).ValueOrDie().is_directory);
  EXPECT_FALSE(env_->Stat(Path("none")).ValueOrDie().exists);
  EXPECT_FALSE(env_->Stat(Path("d/b/below-a-file")).ValueOrDie().exists);
  EXPECT_FALSE(env_->Stat(Path("d/dangling")).ValueOrDie().exists);
  EXPECT_FALSE(env_->ListDir(Path("none")).ok());
  EXPECT_FALSE(env_->ListDir(Path("d/b")).ok());
  EXPECT_FALSE(env_->CreateDirs(Path("d/b/x")).ok()) << "below a file";
}

TEST_F(EnvTest, RemoveTreeNeverFollowsLinks) {
  ASSERT_TRUE(env_->CreateDirs(Path("keep")).ok());
  Write(Path("keep/precious"), "x");
  ASSERT_TRUE(env_->CreateDirs(Path("tree/a/b")).ok());
  Write(Path("tree/a/b/file"), "x");
  std::filesystem::create_directory_symlink(Path("keep"), Path("tree/a/link"));
  std::filesystem::create_directory_symlink(Path("keep"), Path("top"));
  EXPECT_TRUE(env_->RemoveTree(Path("tree")).ok());
  EXPECT_FALSE(env_->Stat(Path("tree")).ValueOrDie().exists);
  EXPECT_TRUE(env_->RemoveTree(Path("top/")).ok());
  EXPECT_EQ(Read(Path("keep/precious")), "x");
  EXPECT_TRUE(env_->RemoveTree(Path("tree")).ok()) << "missing is fine";
  EXPECT_TRUE(env_->RemoveTree(Path("keep/precious")).ok()) << "a file is a tree too";
  EXPECT_FALSE(env_->Stat(Path("keep/precious")).ValueOrDie().exists);
}

TEST_F(EnvTest, RenameReplacesAndRemoveForgivesMissing) {
  Write(Path("a"), "new");
  Write(Path("b"), "old");
  ASSERT_TRUE(env_->Rename(Path("a"), Path("b")).ok());
  EXPECT_EQ(Read(Path("b")), "new");
  EXPECT_THAT(MessageOf(env_->Rename(Path("a"), Path("b"))), HasSubstr(Path("a")));
  EXPECT_TRUE(env_->RemoveFile(Path("b")).ok());
  EXPECT_TRUE(env_->RemoveFile(Path("b")).ok());
  EXPECT_FALSE(env_->RemoveFile(dir_).ok());
  EXPECT_TRUE(env_->SyncFiles({dir_}).ok());
  EXPECT_TRUE(env_->SyncFileSystem(dir_).ok());
  EXPECT_FALSE(env_->SyncFiles({Path("none")}).ok());
}

TEST_F(EnvTest, LockIsExclusiveAndNamesItsHolder) {
  auto lock = env_->LockFile(Path("lock")).ValueOrDie();
  const Status refused = env_->LockFile(Path("lock")).status();
  EXPECT_EQ(KindOf(refused), ErrorKind::kEnvironment);
  EXPECT_THAT(MessageOf(refused), HasSubstr("process " + std::to_string(getpid())));
  lock.reset();
  EXPECT_TRUE(env_->LockFile(Path("lock")).ok());
}

TEST_F(EnvTest, LockOfADeadProcessIsFree) {
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = fork();
  if (child == 0) {
    const bool locked = env_->LockFile(Path("lock")).ok();  // dies with this scope: hold it below
    auto lock = env_->LockFile(Path("lock"));
    const char answer = locked && lock.ok() ? 'y' : 'n';
    if (write(ready[1], &answer, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 0;
  ASSERT_EQ(read(ready[0], &answer, 1), 1);
  EXPECT_EQ(answer, 'y');
  EXPECT_THAT(MessageOf(env_->LockFile(Path("lock")).status()),
              HasSubstr("process " + std::to_string(child)));
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(env_->LockFile(Path("lock")).ok());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(EnvTest, SmallFiles) {
  ASSERT_TRUE(WriteFileAtomically(env_, Path("s"), "one").ok());
  EXPECT_TRUE(env_->SyncFiles({Path("s"), dir_}).ok());
  EXPECT_FALSE(env_->SyncFiles({Path("s"), Path("missing")}).ok());
  ASSERT_TRUE(WriteFileAtomically(env_, Path("s"), std::string("t\0o", 3)).ok());
  EXPECT_EQ(Read(Path("s")), std::string("t\0o", 3));
  EXPECT_EQ(env_->ListDir(dir_).ValueOrDie().size(), 1u) << "no temporary file is left";
  EXPECT_EQ(ReadSmallFile(env_, Path("s"), 3).ValueOrDie().size(), 3u);
  const Status too_large = ReadSmallFile(env_, Path("s"), 2).status();
  EXPECT_EQ(KindOf(too_large), ErrorKind::kResource);
  EXPECT_THAT(MessageOf(too_large), HasSubstr("2 B"));
  // Files of the kernel say size 0.
  EXPECT_FALSE(ReadSmallFile(env_, "/proc/self/status").ValueOrDie().empty());
  EXPECT_EQ(KindOf(ReadSmallFile(env_, "/dev/zero", 1 << 20).status()), ErrorKind::kResource);
}

TEST_F(EnvTest, ClocksAndRandomness) {
  const int64_t before = env_->MonotonicNanos();
  EXPECT_GE(env_->MonotonicNanos(), before);
  EXPECT_GT(env_->NowUnixMicros(), 1'600'000'000'000'000);
  EXPECT_EQ(env_->RandomHex(0), "");
  EXPECT_EQ(env_->RandomHex(16).size(), 32u);
  EXPECT_NE(env_->RandomHex(16), env_->RandomHex(16));
}

TEST(Paths, Arithmetic) {
  EXPECT_EQ(JoinPath("a", "b"), "a/b");
  EXPECT_EQ(JoinPath("a/", "b"), "a/b");
  EXPECT_EQ(JoinPath("", "b"), "b");
  EXPECT_EQ(JoinPath("a", ""), "a");
  EXPECT_EQ(JoinPath("a", "/b"), "/b");
  EXPECT_EQ(BaseName("/a/b.txt"), "b.txt");
  EXPECT_EQ(BaseName("a/b/"), "b");
  EXPECT_EQ(BaseName("b"), "b");
  EXPECT_EQ(BaseName("/"), "/");
  EXPECT_EQ(BaseName(""), "");
  EXPECT_EQ(DirName("/a/b"), "/a");
  EXPECT_EQ(DirName("/a/b/"), "/a");
  EXPECT_EQ(DirName("/a"), "/");
  EXPECT_EQ(DirName("/"), "/");
  EXPECT_EQ(DirName("a"), ".");
  EXPECT_EQ(DirName("a//b"), "a");
  EXPECT_EQ(DirName(""), ".");
}

TEST(Paths, SafeNamesStayBelowTheirFolder) {
  for (const char* good : {"a", "a/b.txt", "..a/b..", "a b", "ü/é", "...", ".hidden"}) {
    EXPECT_TRUE(IsSafeRelativePath(good)) << good;
  }
  for (const std::string& bad :
       {std::string(), std::string("/"), std::string("/a"), std::string(".."), std::string("a/../b"),
        std::string("a/.."), std::string("../a"), std::string("a//b"), std::string("a/"), std::string("."),
        std::string("./a"), std::string("a\0b", 3)}) {
    EXPECT_FALSE(IsSafeRelativePath(bad)) << bad;
  }
}

}  // namespace
}  // namespace partita
