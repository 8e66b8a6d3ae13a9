#include "partita/base/process.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>

namespace partita {
namespace {

int Wait(int pid) {
  for (int i = 0; i < 1000; ++i) {
    if (const ProcessEnd end = TryReap(pid); end.ended) return end.code;
    (void)WaitReadable({}, 10);
  }
  ADD_FAILURE() << "no end";
  return 0;
}

TEST(Process, RunsACommandWithItsDescriptorsAndEnvironment) {
  auto pipe = *PipePair();
  SpawnRequest request;
  request.argv = {"sh", "-c", "printf $PARTITA_PROCESS_TEST >&7; exit 3"};
  request.environment = {{"PARTITA_PROCESS_TEST", "hello"}, {"PATH", "nowhere"}};
  request.descriptors = {{pipe.second.get(), 7}};
  const int pid = *Spawn(request);
  EXPECT_EQ(Wait(pid), 3);
  EXPECT_EQ(ReadAvailable(pipe.first), "hello");
  EXPECT_EQ(ReadAvailable(pipe.first), "");
  request.argv = {"/no/such/program"};
  EXPECT_THAT(Spawn(request).status().ToString(), testing::HasSubstr("/no/such/program"));
}

TEST(Process, EndsAGroupByItsLeader) {
  SpawnRequest request;
  request.argv = {"sleep", "1000"};
  const int pid = *Spawn(request);
  EXPECT_FALSE(TryReap(pid).ended);
  KillGroup(pid);
  EXPECT_EQ(Wait(pid), -SIGKILL);
}

TEST(Process, MessagesKeepTheirBorders) {
  auto pair = *MessagePair();
  EXPECT_TRUE(ReceiveMessage(pair.second)->none);
  auto memory = *SharedMemory::Make("test", 4096);
  ASSERT_TRUE(*SendMessage(pair.first, "one", {memory->fd()}));
  ASSERT_TRUE(*SendMessage(pair.first, "two", {}));
  EXPECT_EQ(ReceiveMessage(pair.second)->text, "one");
  EXPECT_EQ(ReceiveMessage(pair.second)->text, "two");
  EXPECT_FALSE(SendMessage(pair.first, std::string(kMaxMessageBytes + 1, 'x'), {}).ok());
  pair.first.Close();
  EXPECT_TRUE(ReceiveMessage(pair.second)->end);
}

TEST(Process, AFullSocketDoesNotBlockWhoDoesNotWait) {
  auto pair = *MessagePair();
  int sent = 0;
  while (*SendMessage(pair.first, std::string(50000, 'x'), {}, /*wait=*/false)) ASSERT_LT(++sent, 10000);
  EXPECT_GT(sent, 0);
}

TEST(Process, ABellIsHeardUntilItIsHushed) {
  const Descriptor bell = *MakeBell();
  EXPECT_EQ(WaitReadable({bell.get()}, 0), std::vector<bool>{false});
  Ring(bell);
  Ring(bell);
  EXPECT_EQ(WaitReadable({bell.get()}, 0), std::vector<bool>{true});
  Hush(bell);
  EXPECT_EQ(WaitReadable({bell.get()}, 0), std::vector<bool>{false});
}

}  // namespace
}  // namespace partita
