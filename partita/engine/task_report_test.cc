#include "partita/engine/task_report.h"

#include <gtest/gtest.h>

#include "partita/base/json.h"

namespace partita {
namespace {

TaskReport SomeReport() {
  TaskReport report;
  report.end.stage = 2;
  report.end.partition = 17;
  report.end.outputs.push_back({0, 30, {{"k=a/part-00017-000.parquet", "/out/tmp/x-0", 30, 999}}, 1234});
  report.end.steps = {{40, 30, 8, 2}};
  report.counted.steps.push_back(
      {.step = "resize", .bytes_out = 7, .busy_ns = 8, .wait_ns = {0, 1}, .details = {{"bad", 3}}});
  report.counted.memory_peak = 5;
  report.counted.events.push_back({EventKind::kNotice, 1, 2, 17, "resize", "slow"});
  return report;
}

TEST(TaskReport, ComesBackAsItWas) {
  const auto text = SomeReport().ToText();
  const auto back = TaskReport::FromText(text);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->ToText(), text);
  ASSERT_EQ(back->end.outputs.size(), 1U);
  EXPECT_EQ(back->end.outputs[0].files[0].temporary, "/out/tmp/x-0");
  EXPECT_TRUE(back->end.status.ok());
}

TEST(TaskReport, KeepsAllThatAnErrorSays) {
  TaskReport report;
  report.end.status = WithContext(DataError("'x' is no number", "fix it"),
                                  {.step = "parse", .partition = 4, .file = "a.csv", .row = 17});
  const auto back = TaskReport::FromText(report.ToText());
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(RenderError(back->end.status), RenderError(report.end.status));
  EXPECT_EQ(KindOf(back->end.status), ErrorKind::kData);
  EXPECT_FALSE(IsRetriable(back->end.status));

  report.end.status = EnvironmentError("the network is gone");
  EXPECT_TRUE(IsRetriable(TaskReport::FromText(report.ToText())->end.status));
  report.end.status = Status::Cancelled("not needed any more");
  EXPECT_TRUE(TaskReport::FromText(report.ToText())->end.status.IsCancelled());
}

TEST(TaskReport, RefusesWhatIsNone) {
  const auto text = SomeReport().ToText();
  for (size_t cut = 0; cut < text.size(); cut += 7)
    EXPECT_FALSE(TaskReport::FromText(text.substr(0, cut)).ok()) << cut;
  for (const char* wrong : {"[]", "null", "{}", R"({"end": 3, "counted": {}})"})
    EXPECT_FALSE(TaskReport::FromText(wrong).ok()) << wrong;
  auto json = *ParseJson(text);
  json["end"]["outputs"][0]["rows"] = -1;
  EXPECT_FALSE(TaskReport::FromText(json.dump()).ok());
}

TEST(CountedReader, TellsEachThingOnce) {
  Observer worker, driver;
  auto* step = worker.AddStep("resize", "resize_images");
  auto* seen = driver.AddStep("resize", "resize_images");
  CountedReader reader(&worker);
  step->busy_ns += 5;
  step->AddDetail("http_404", 2);
  worker.source_bytes_read += 100;
  reader.Next().AddTo(&driver);
  step->busy_ns += 1;
  step->AddDetail("http_404", 1);
  reader.Next().AddTo(&driver);
  reader.Next().AddTo(&driver);
  EXPECT_EQ(seen->busy_ns.load(), 6);
  EXPECT_EQ(driver.source_bytes_read.load(), 100);
  ASSERT_EQ(seen->Details().size(), 1U);
  EXPECT_EQ(seen->Details()[0].second, 3);
}

}  // namespace
}  // namespace partita
