#include "partita/observe/observe.h"

#include <gtest/gtest.h>

#include <thread>

#include "partita/base/json.h"

namespace partita {
namespace {

TEST(Observer, CountsFromManyThreads) {
  Observer observer;
  auto* step = observer.AddStep("small", "resize_images");
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) {
        step->rows_in.fetch_add(1, std::memory_order_relaxed);
        step->AddDetail(j % 2 == 0 ? "http_404" : "http_200", 1);
        observer.Emit({EventKind::kNotice, 0, -1, -1, "small", "hello"});
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(step->rows_in.load(), 4000);
  const std::vector<std::pair<std::string, int64_t>> expected = {{"http_200", 2000}, {"http_404", 2000}};
  EXPECT_EQ(step->Details(), expected);
  size_t cursor = 0;
  EXPECT_EQ(observer.EventsSince(&cursor).size(), 4000u);
  EXPECT_TRUE(observer.EventsSince(&cursor).empty());
}

TEST(Observer, KeepsTheNewestEvents) {
  Observer observer;
  size_t cursor = 0;
  for (size_t i = 0; i < Observer::kMaxEvents + 5; ++i) {
    observer.Emit({EventKind::kNotice, static_cast<int64_t>(i), -1, -1, "", ""});
  }
  const auto events = observer.EventsSince(&cursor);
  ASSERT_EQ(events.size(), Observer::kMaxEvents);
  EXPECT_EQ(events.front().time_us, 5);
  observer.Emit({EventKind::kRunFinished, 1, -1, -1, "", ""});
  const auto more = observer.EventsSince(&cursor);
  ASSERT_EQ(more.size(), 1u);
  EXPECT_EQ(more[0].kind, EventKind::kRunFinished);
  EXPECT_EQ(observer.ToJson()["dropped_events"], 6);
}

TEST(Observer, ListenerMayReadTheObserver) {
  Observer observer;
  size_t seen = 0;
  observer.SetListener([&](const Event& event) {
    size_t cursor = 0;
    seen = observer.EventsSince(&cursor).size();
    EXPECT_EQ(event.step, "s");
  });
  observer.Emit({EventKind::kStall, 0, 0, 0, "s", "m"});
  EXPECT_EQ(seen, 1u);
}

TEST(Observer, ToJsonTellsStepsInOrder) {
  Observer observer;
  auto* read = observer.AddStep("read", "read_parquet");
  auto* get = observer.AddStep("get", "download");
  EXPECT_EQ(&observer.steps()[0], read);
  get->rows_in = 10;
  get->rows_out = 9;
  get->wait_ns[static_cast<size_t>(WaitReason::kNetwork)] = 1'500'000;
  get->AddDetail("http_404", 1);
  observer.tasks_total = 3;
  observer.memory_limit = 1024;
  const Json json = observer.ToJson();
  EXPECT_EQ(json["steps"][0]["name"], "read");
  EXPECT_EQ(json["steps"][1]["op"], "download");
  EXPECT_EQ(json["steps"][1]["rows_out"], 9);
  EXPECT_EQ(json["steps"][1]["wait_ms"], (Json{{"network", 1.5}}));
  EXPECT_EQ(json["steps"][1]["details"]["http_404"], 1);
  EXPECT_EQ(json["tasks"]["total"], 3);
  EXPECT_EQ(json["memory"]["limit"], 1024);
}

TEST(Names, AreWordsForPeople) {
  EXPECT_EQ(WaitReasonName(WaitReason::kNeedsInput), "needs input");
  EXPECT_EQ(WaitReasonName(WaitReason::kOutputFull), "output full");
  EXPECT_EQ(EventKindName(EventKind::kTaskRetried), "task retried");
}

}  // namespace
}  // namespace partita
