#include "partita/pipeline/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

using ::testing::HasSubstr;

constexpr char kPhotos[] = R"({"name": "photos", "options": {"memory": "1GiB"}, "steps": [
  {"name": "read", "op": "read_parquet", "args": {"path": "in/"}},
  {"op": "filter", "args": {"predicate": "width > 1"}, "inputs": ["read"], "on_error": "skip"},
  {"op": "filter", "args": {"predicate": "width > 2"}, "inputs": ["filter"], "line": 7, "column": 5},
  {"op": "write_json", "args": {"path": "out/"}, "inputs": ["filter_2"]}]})";

std::string ErrorOf(const std::string& json) {
  auto pipeline = Pipeline::FromJson(ParseJson(json).ValueOrDie());
  if (pipeline.ok()) return "";
  EXPECT_EQ(KindOf(pipeline.status()), ErrorKind::kUser) << pipeline.status();
  return pipeline.status().message();
}

std::string WithSteps(const std::string& steps) { return R"({"steps": [)" + steps + "]}"; }

TEST(Pipeline, RoundTripsThroughJson) {
  const Pipeline pipeline = Pipeline::FromJson(ParseJson(kPhotos).ValueOrDie()).ValueOrDie();
  EXPECT_EQ(pipeline.name, "photos");
  ASSERT_EQ(pipeline.steps.size(), 4u);
  EXPECT_EQ(pipeline.steps[1].on_error, OnError::kSkip);
  EXPECT_EQ(pipeline.steps[2].name, "filter_2");
  EXPECT_EQ(pipeline.steps[2].line, 7);
  EXPECT_EQ(pipeline.steps[3].op, "write_jsonl");  // the alias is gone
  const Pipeline again = Pipeline::FromJson(pipeline.ToJson()).ValueOrDie();
  EXPECT_EQ(again.ToJson(), pipeline.ToJson());
  EXPECT_EQ(pipeline.Find("filter_2"), &pipeline.steps[2]);
  EXPECT_EQ(pipeline.Find("nothing"), nullptr);
}

TEST(Pipeline, RefusesBrokenGraphs) {
  const std::string read = R"({"op": "range", "args": {"n": 3}})";
  EXPECT_THAT(ErrorOf(WithSteps(R"({"op": "filtre"})")),
              HasSubstr("step 1: unknown step 'filtre'; did you mean 'filter'?"));
  EXPECT_THAT(ErrorOf(WithSteps(R"({"op": "filter"})")), HasSubstr("has no input"));
  EXPECT_THAT(ErrorOf(WithSteps(R"({"op": "range", "inputs": ["a"]})")), HasSubstr("takes no input"));
  EXPECT_THAT(ErrorOf(WithSteps(read + R"(,{"op": "limit", "inputs": ["limit"]})")),
              HasSubstr("no step above has that name"));
  EXPECT_THAT(ErrorOf(WithSteps(read + R"(,{"op": "limit", "inputs": ["rang"]})")),
              HasSubstr("did you mean 'range'?"));
  EXPECT_THAT(ErrorOf(WithSteps(read + R"(,{"op": "limit", "inputs": ["range", "range"]})")),
              HasSubstr("takes one input"));
  EXPECT_THAT(
      ErrorOf(WithSteps(
          read + R"(,{"op": "write_csv", "inputs": ["range"]},{"op": "limit", "inputs": ["write_csv"]})")),
      HasSubstr("which is a sink"));
  EXPECT_THAT(ErrorOf(WithSteps(R"({"op": "range", "name": "a"},{"op": "range", "name": "a"})")),
              HasSubstr("two steps are called 'a'"));
  EXPECT_THAT(ErrorOf(WithSteps(R"({"op": "range", "name": "a b"})")), HasSubstr("no name for a step"));
}

TEST(Pipeline, RefusesWrongShapes) {
  for (const char* json :
       {"[]", R"({"steps": {}})", R"({"steps": [5]})", R"({"steps": [{}]})", R"({"stpes": []})",
        R"({"options": []})", R"({"steps": [{"op": 5}]})", R"({"steps": [{"op": "range", "args": []}]})",
        R"({"steps": [{"op": "range", "on_error": "ignore"}]})",
        R"({"steps": [{"op": "range", "inputs": "a"}]})", R"({"steps": [{"op": "range", "extra": 1}]})"}) {
    EXPECT_NE(ErrorOf(json), "") << json;
  }
}

TEST(AddStep, MakesFreshNames) {
  Pipeline pipeline;
  EXPECT_EQ(AddStep(&pipeline, {.op = "range"}), "range");
  EXPECT_EQ(AddStep(&pipeline, {.op = "range"}), "range_2");
  EXPECT_EQ(AddStep(&pipeline, {.name = "mine", .op = "read_json"}), "mine");
  EXPECT_EQ(AddStep(&pipeline, {.name = "mine", .op = "read_json"}), "mine_2");
  EXPECT_EQ(pipeline.steps[2].op, "read_jsonl");
}

TEST(OnErrorNames, RoundTrip) {
  for (OnError value : {OnError::kFail, OnError::kSkip, OnError::kQuarantine}) {
    EXPECT_EQ(ParseOnError(OnErrorName(value)).ValueOrDie(), value);
  }
  EXPECT_THAT(ParseOnError("quarantin").status().message(), HasSubstr("did you mean 'quarantine'?"));
}

}  // namespace
}  // namespace partita
