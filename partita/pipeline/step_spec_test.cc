#include "partita/pipeline/step_spec.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"
#include "partita/pipeline/steps_markdown.h"

namespace partita {
namespace {

using ::testing::HasSubstr;

Json J(std::string_view text) { return ParseJson(text).ValueOrDie(); }

StepSpec ToySpec() {
  StepSpec spec;
  spec.name = "toy";
  spec.kind = StepKind::kSink;
  spec.args = {
      {.name = "path", .type = ArgType::kString, .required = true, .doc = "Where."},
      {.name = "flag", .type = ArgType::kBool, .default_json = "false"},
      {.name = "count", .type = ArgType::kInt, .default_json = "7", .min = 1, .max = 10},
      {.name = "ratio", .type = ArgType::kFloat},
      {.name = "mode",
       .type = ArgType::kString,
       .default_json = "\"keep\"",
       .choices = {"keep", "center_crop"}},
      {.name = "size", .type = ArgType::kBytes, .default_json = "\"1MiB\""},
      {.name = "wait", .type = ArgType::kSeconds, .default_json = "10"},
      {.name = "column", .type = ArgType::kColumn},
      {.name = "names", .type = ArgType::kStringList, .default_json = "[]", .max = 2},
      {.name = "map", .type = ArgType::kStringMap},
      {.name = "condition", .type = ArgType::kExpression},
      {.name = "columns", .type = ArgType::kExpressionMap},
      {.name = "types", .type = ArgType::kTypeMap},
      {.name = "any", .type = ArgType::kJson},
  };
  return spec;
}

// The normal form of one argument, or the error's text.
std::string Normal(std::string_view name, std::string_view value) {
  Json args = {{"path", "out"}};
  args[std::string(name)] = J(value);
  auto normal = NormaliseArgs(ToySpec(), args);
  return normal.ok() ? CanonicalJson((*normal)[std::string(name)]) : "error: " + normal.status().message();
}

TEST(NormaliseArgs, FillsInDefaultsInNormalForm) {
  const Json normal = NormaliseArgs(ToySpec(), J(R"({"path": "out"})")).ValueOrDie();
  EXPECT_EQ(normal["count"], 7);
  EXPECT_EQ(normal["size"], 1 << 20);
  EXPECT_EQ(normal["wait"], 10.0);
  EXPECT_TRUE(normal["wait"].is_number_float());
  EXPECT_TRUE(normal["ratio"].is_null());
  EXPECT_EQ(normal["names"], Json::array());
  EXPECT_EQ(normal.size(), ToySpec().args.size());
}

TEST(NormaliseArgs, CoercesWhatIsExact) {
  EXPECT_EQ(Normal("flag", "\"true\""), "true");
  EXPECT_EQ(Normal("count", "\"10\""), "10");
  EXPECT_EQ(Normal("count", "3.0"), "3");
  EXPECT_EQ(Normal("ratio", "\"0.5\""), "0.5");
  EXPECT_EQ(Normal("ratio", "2"), "2.0");
  EXPECT_EQ(Normal("size", "4096"), "4096");
  EXPECT_EQ(Normal("size", "\"2GiB\""), "2147483648");
  EXPECT_EQ(Normal("wait", "\"500ms\""), "0.5");
  EXPECT_EQ(Normal("names", "\"a\""), R"(["a"])");
  EXPECT_EQ(Normal("types", R"({"a": "INT32"})"), R"({"a":"int32"})");
  EXPECT_EQ(Normal("any", R"([1, {"x": null}])"), R"([1,{"x":null}])");
  EXPECT_EQ(Normal("count", "null"), "7");
}

TEST(NormaliseArgs, RefusesWhatIsNot) {
  for (auto [name, value] :
       std::vector<std::pair<std::string, std::string>>{{"flag", "1"},
                                                        {"flag", "\"yes\""},
                                                        {"count", "\"ten\""},
                                                        {"count", "1.5"},
                                                        {"count", "true"},
                                                        {"count", "18446744073709551615"},
                                                        {"count", "\"5 \""},
                                                        {"ratio", "\"nan\""},
                                                        {"ratio", "[]"},
                                                        {"path", "5"},
                                                        {"size", "-1"},
                                                        {"size", "\"1 parsec\""},
                                                        {"wait", "-0.5"},
                                                        {"column", "\"\""},
                                                        {"names", "[1]"},
                                                        {"names", "{}"},
                                                        {"map", R"({"a": 1})"},
                                                        {"types", R"({"a": "int33"})"},
                                                        {"types", "[]"},
                                                        {"columns", "5"},
                                                        {"columns", "[[1, 2]]"},
                                                        {"condition", "\"1 +\""},
                                                        {"condition", "[]"},
                                                        {"columns", R"({"": "a"})"},
                                                        {"columns", R"([["a", "x"], ["a", "y"]])"}}) {
    EXPECT_THAT(Normal(name, value), HasSubstr("error: step 'toy', argument '" + name + "'"))
        << name << " = " << value;
  }
}

TEST(NormaliseArgs, ChecksRangeAndChoices) {
  EXPECT_THAT(Normal("count", "11"), HasSubstr("11 is too large: the most is 10"));
  EXPECT_THAT(Normal("count", "0"), HasSubstr("0 is too small: the least is 1"));
  EXPECT_THAT(Normal("names", R"(["a", "b", "c"])"), HasSubstr("3 entries"));
  EXPECT_THAT(Normal("mode", "\"center_corp\""), HasSubstr("did you mean 'center_crop'?"));
}

TEST(NormaliseArgs, NamesTheNearestArgument) {
  auto status = NormaliseArgs(ToySpec(), J(R"({"path": "x", "colum": "a"})")).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_THAT(status.message(), HasSubstr("step 'toy' has no argument 'colum'; did you mean 'column'?"));
  EXPECT_THAT(NormaliseArgs(ToySpec(), J("{}")).status().message(), HasSubstr("needs the argument 'path'"));
  EXPECT_THAT(NormaliseArgs(ToySpec(), J("[]")).status().message(), HasSubstr("must be a map"));
}

TEST(NormaliseArgs, ExpressionsBecomeTheirJsonInTheirOrder) {
  EXPECT_EQ(
      Normal("columns", R"(["url", ["area", "1"], {"b": {"column": "a"}}])"),
      R"([["url",{"column":"url"}],["area",)" + Normal("condition", "1") + R"(],["b",{"column":"a"}]])");
  EXPECT_EQ(Normal("columns", R"([["z", "a"], ["b", "c"]])"),
            R"([["z",{"column":"a"}],["b",{"column":"c"}]])");
  EXPECT_EQ(Normal("columns", "\"url\""), R"([["url",{"column":"url"}]])");
  EXPECT_EQ(Normal("condition", "\"width >= 256\""), Normal("condition", "\"( width>=256 )\""));
}

TEST(NormaliseArgs, NormalArgumentsStayAsTheyAre) {
  const Json args =
      J(R"js({"path": "x", "condition": "a > 1 and b is null", "columns": {"c": "a + 1", "d": "lower(s)"},
                         "types": {"a": "list<int32>"}, "size": "1GB", "wait": "2m", "names": "n"})js");
  const Json once = NormaliseArgs(ToySpec(), args).ValueOrDie();
  EXPECT_EQ(NormaliseArgs(ToySpec(), once).ValueOrDie(), once);
}

TEST(Registry, FindsStepsByNameAndAlias) {
  ASSERT_NE(FindStep("read_jsonl"), nullptr);
  EXPECT_EQ(FindStep("read_json"), FindStep("read_jsonl"));
  EXPECT_EQ(FindStep("read_binary_files"), FindStep("read_files"));
  EXPECT_EQ(FindStep("nothing"), nullptr);
  EXPECT_THAT(UnknownStep("read_parqet").message(), HasSubstr("did you mean 'read_parquet'?"));
}

TEST(Registry, RefusesBadSpecs) {
  EXPECT_EQ(KindOf(RegisterStep(*FindStep("filter"))), ErrorKind::kBug);
  StepSpec spec = ToySpec();
  spec.name = "Toy Step";
  EXPECT_EQ(KindOf(RegisterStep(spec)), ErrorKind::kBug);
  spec = ToySpec();
  spec.args[2].default_json = "0";  // below its own minimum
  EXPECT_EQ(KindOf(RegisterStep(spec)), ErrorKind::kBug);
  spec = ToySpec();
  spec.kind = StepKind::kTransform;  // without bind
  EXPECT_EQ(KindOf(RegisterStep(spec)), ErrorKind::kBug);
  spec = ToySpec();
  spec.aliases = {"read_json"};
  EXPECT_EQ(KindOf(RegisterStep(spec)), ErrorKind::kBug);
  EXPECT_EQ(FindStep("toy"), nullptr);
}

TEST(Registry, EveryStepIsDocumented) {
  for (const StepSpec* spec : AllSteps()) {
    EXPECT_TRUE(spec->summary.ends_with(".")) << spec->name;
    for (const ArgSpec& arg : spec->args)
      EXPECT_TRUE(arg.doc.ends_with(".")) << spec->name << " " << arg.name;
  }
}

TEST(StepsMarkdown, ShowsPublicStepsAndTheirArguments) {
  const std::string page = StepsMarkdown();
  EXPECT_THAT(page, HasSubstr("### write_webdataset\n"));
  EXPECT_THAT(page, HasSubstr("| `rows_per_shard` | int | `10000` | Most rows of a shard."));
  EXPECT_THAT(page, HasSubstr("| `partition_bytes` | bytes | `128MiB` |"));
  EXPECT_THAT(page, HasSubstr("Also known as `read_json`"));
  EXPECT_EQ(page.find("from_memory"), std::string::npos);
  EXPECT_EQ(page.find("collect"), std::string::npos);
}

}  // namespace
}  // namespace partita
