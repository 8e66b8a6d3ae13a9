#include "partita/base/env_fault.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <gtest/gtest.h>

#include <filesystem>

namespace partita {
namespace {

class FaultEnvTest : public testing::Test {
 protected:
  FaultEnvTest() {
    dir_ = JoinPath(std::filesystem::temp_directory_path().string(), "partita-fault-" + real_->RandomHex(8));
    EXPECT_TRUE(real_->CreateDirs(dir_).ok());
  }
  ~FaultEnvTest() override { EXPECT_TRUE(real_->RemoveTree(dir_).ok()); }
  std::string Path(std::string_view name) const { return JoinPath(dir_, name); }

  Env* real_ = Env::Default();
  std::string dir_;
};

TEST_F(FaultEnvTest, WithoutFaultsItIsTheRealThing) {
  FaultEnv env;
  ASSERT_TRUE(WriteFileAtomically(&env, Path("a"), "bytes").ok());
  EXPECT_EQ(ReadSmallFile(&env, Path("a")).ValueOrDie(), "bytes");
  EXPECT_EQ(env.bytes_written(), 5);
  EXPECT_GT(env.operations(), 5);
  EXPECT_FALSE(env.failed());
}

// The pattern for every durable thing of the project: each system call fails in turn, and the promise holds.
TEST_F(FaultEnvTest, AnAtomicWriteIsOldOrNewWhicheverCallFails) {
  for (const bool stay : {false, true}) {
    ASSERT_TRUE(WriteFileAtomically(real_, Path("a"), "old").ok());
    int64_t n = 1;
    for (;; ++n) {
      ASSERT_LT(n, 100);
      FaultEnv env;
      env.FailNth(n, EnvironmentError("broken on purpose"), stay);
      const Status status = WriteFileAtomically(&env, Path("a"), "new");
      const std::string bytes = ReadSmallFile(real_, Path("a")).ValueOrDie();
      EXPECT_TRUE(bytes == "old" || bytes == "new") << bytes;
      if (!env.failed()) {
        EXPECT_TRUE(status.ok());
        EXPECT_EQ(bytes, "new");
        break;
      }
      EXPECT_EQ(MessageOf(status), "broken on purpose") << n;
    }
    EXPECT_GE(n, 4) << "open, write, close, rename";
  }
}

TEST_F(FaultEnvTest, AFullDiskCutsTheWriteThatDoesNotFit) {
  FaultEnv env;
  env.FailAfterBytes(5);
  auto file = env.OpenWrite(Path("a")).ValueOrDie();
  ASSERT_TRUE(file->Write("abc", 3).ok());
  const Status status = file->Write("defg", 4);
  EXPECT_EQ(KindOf(status), ErrorKind::kResource);
  EXPECT_TRUE(env.failed());
  ASSERT_TRUE(file->Close().ok());
  EXPECT_EQ(ReadSmallFile(real_, Path("a")).ValueOrDie(), "abcde");
  EXPECT_EQ(KindOf(WriteFileAtomically(&env, Path("b"), "x")), ErrorKind::kResource);
  EXPECT_FALSE(real_->Stat(Path("b")).ValueOrDie().exists);
  env.FailAfterBytes(-1);
  EXPECT_TRUE(WriteFileAtomically(&env, Path("b"), "x").ok());
}

TEST_F(FaultEnvTest, TheHookSeesEachOperationAndItsPath) {
  std::string seen;
  FaultEnv env(real_, [&](std::string_view op, const std::string& path) {
    seen += std::string(op) + ":" + std::string(BaseName(path)) + " ";
    return op == "rename" ? EnvironmentError("no renames here") : Status::OK();
  });
  auto file = env.OpenWrite(Path("a")).ValueOrDie();
  ASSERT_TRUE(file->Write("abc", 3).ok());
  ASSERT_TRUE(file->Close().ok());
  auto read = env.OpenRead(Path("a")).ValueOrDie();
  EXPECT_EQ(read->ReadAt(0, 3).ValueOrDie()->ToString(), "abc");
  EXPECT_FALSE(env.Rename(Path("a"), Path("b")).ok());
  EXPECT_TRUE(env.RemoveFile(Path("a")).ok());
  EXPECT_EQ(seen, "open_write:a write:a close:a open_read:a read:a rename:a remove_file:a ");
}

TEST_F(FaultEnvTest, FilesOutliveTheEnv) {
  std::shared_ptr<arrow::io::OutputStream> file;
  {
    FaultEnv env;
    file = env.OpenWrite(Path("a")).ValueOrDie();
  }
  ASSERT_TRUE(file->Write("abc", 3).ok());
  ASSERT_TRUE(file->Close().ok());
  EXPECT_EQ(ReadSmallFile(real_, Path("a")).ValueOrDie(), "abc");
}

}  // namespace
}  // namespace partita
