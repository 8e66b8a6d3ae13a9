#include "components/python/function_args.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "components/python/register.h"
#include "components/python/worker_process.h"
#include "partita/base/json.h"

namespace partita {
namespace {

using testing::HasSubstr;

Result<FunctionArgs> Parse(FunctionKind kind, const std::string& text) {
  ARROW_ASSIGN_OR_RAISE(const Json args, NormaliseArgs(FunctionSpec(kind), *ParseJson(text)));
  return ParseFunctionArgs(kind, args);
}

TEST(FunctionArgs, ColumnsKeepTheirOrder) {
  const auto args = *Parse(
      FunctionKind::kMapBatches,
      R"({"fn": "m:f", "schema": "z: int64, \"a b\": fixed_size_list<float>[4]", "batch_size": "partition"})");
  EXPECT_EQ(args.schema->field_names(), (std::vector<std::string>{"z", "a b"}));
  EXPECT_EQ(args.batch_rows, INT64_MAX);
  EXPECT_EQ(args.batch_format, "numpy");
}

TEST(FunctionArgs, WhatIsWrongIsSaid) {
  const auto message = [](FunctionKind kind, const std::string& text) {
    return Parse(kind, text).status().ToString();
  };
  EXPECT_THAT(message(FunctionKind::kMapBatches, R"({"fn": "m:f"})"), HasSubstr("columns"));
  EXPECT_THAT(message(FunctionKind::kMap, R"({"fn": "f", "schema": "a: int64"})"),
              HasSubstr("package.module"));
  EXPECT_THAT(message(FunctionKind::kMap, R"({"fn": "m:f", "schema": "a: int64, a: int64"})"),
              HasSubstr("twice"));
  EXPECT_THAT(message(FunctionKind::kMap, R"({"fn": "m:f", "schema": "a: nothing"})"), HasSubstr("schema"));
  EXPECT_THAT(message(FunctionKind::kFilterRows, R"({"fn": "m:f", "batch_size": -1})"),
              HasSubstr("batch_size"));
  EXPECT_THAT(message(FunctionKind::kFilterRows, R"({"fn": "m:f", "concurrency": 1, "min_concurrency": 2})"),
              HasSubstr("larger"));
  EXPECT_TRUE(Parse(FunctionKind::kFilterRows, R"({"fn": "m:f"})").ok());
}

TEST(WorkerProcess, ShowsTheUsersFramesOfAStack) {
  constexpr const char* kDump =
      "Thread 0x00007f1 (most recent call first):\n"
      "  File \"/lib/threading.py\", line 3 in wait\n"
      "\n"
      "Current thread 0x00007f2 (most recent call first):\n"
      "  File \"/home/me/steps.py\", line 12 in inner\n"
      "  File \"/home/me/steps.py\", line 30 in outer\n"
      "  File \"/x/partita/worker/functions.py\", line 5 in made\n"
      "  File \"/x/partita/worker/loop.py\", line 1 in run\n";
  EXPECT_EQ(StackText(kDump, "/partita/worker/"),
            "  File \"/home/me/steps.py\", line 12 in inner\n  File \"/home/me/steps.py\", line 30 in outer");
  EXPECT_EQ(StackText("", "/partita/worker/"), "");
}

TEST(WorkerProcess, NamesEnds) {
  EXPECT_EQ(EndText(3), "exit code 3");
  EXPECT_THAT(EndText(-11), HasSubstr("SIGSEGV"));
}

}  // namespace
}  // namespace partita
