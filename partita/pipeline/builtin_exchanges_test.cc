#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::shared_ptr<arrow::Schema> Input() {
  return arrow::schema({arrow::field("s", arrow::utf8()), arrow::field("k", arrow::int32(), false),
                        arrow::field("v", arrow::float64()),
                        arrow::field("tags", arrow::list(arrow::utf8()))});
}

Result<StepBinding> Bind(const std::string& op, const std::string& args) {
  const StepSpec* spec = FindStep(op);
  ARROW_ASSIGN_OR_RAISE(Json declared, ParseJson(args));
  ARROW_ASSIGN_OR_RAISE(Json normal, NormaliseArgs(*spec, declared));
  EXPECT_EQ(NormaliseArgs(*spec, normal).ValueOr(Json()), normal) << "normalised arguments stay as they are";
  return spec->bind(normal, Input());
}

std::string ErrorOf(const std::string& op, const std::string& args) {
  auto binding = Bind(op, args);
  if (binding.ok()) return "no error";
  EXPECT_EQ(KindOf(binding.status()), ErrorKind::kUser) << binding.status();
  return binding.status().message();
}

TEST(Sort, KeepsTheColumnsAndReadsTheKeys) {
  const auto binding = *Bind("sort", R"({"by": ["s", "k"], "descending": [false, "true"]})");
  EXPECT_TRUE(binding.output->Equals(*Input()));
  EXPECT_THAT(binding.reads, ElementsAre("s", "k"));
  EXPECT_TRUE(Bind("sort", R"({"by": "k", "descending": true, "nulls": "first", "partitions": 4})").ok());
}

TEST(Sort, SaysWhatItCannotSortBy) {
  EXPECT_THAT(ErrorOf("sort", R"({"by": []})"), HasSubstr("at least one column"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["k", "k"]})"), HasSubstr("names column 'k' twice"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["tag"]})"), HasSubstr("did you mean 'tags'?"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["tags"]})"),
              HasSubstr("column 'tags': its type list<string> cannot be a key"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["s", "k"], "descending": [true, true, true]})"),
              HasSubstr("`descending` has 3 entries"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["s"], "descending": []})"), HasSubstr("true, false, or a list"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["s"], "nulls": "lost"})"), HasSubstr("did you mean 'last'?"));
  EXPECT_THAT(ErrorOf("sort", R"({"by": ["s"], "partitions": 0})"), HasSubstr("too small"));
}

TEST(RandomShuffle, HasASeed) {
  EXPECT_TRUE(Bind("random_shuffle", "{}").ok());
  EXPECT_THAT(ErrorOf("random_shuffle", R"({"seed": -1})"), HasSubstr("too small"));
}

TEST(Repartition, WantsOneRule) {
  for (const char* good : {R"({"n": 4})", R"({"rows": 100})", R"({"n": 4, "by": "k"})",
                           R"({"by": ["s", "k"]})", R"({"n": 4, "shuffle": true})", R"({"shuffle": true})"}) {
    EXPECT_TRUE(Bind("repartition", good).ok()) << good;
  }
  EXPECT_THAT(ErrorOf("repartition", "{}"), HasSubstr("needs the number of partitions"));
  EXPECT_THAT(ErrorOf("repartition", R"({"n": 4, "rows": 5})"), HasSubstr("or the rows or the bytes"));
  EXPECT_THAT(ErrorOf("repartition", R"({"n": 4, "by": "k", "shuffle": true})"), HasSubstr("not both"));
  EXPECT_THAT(ErrorOf("repartition", R"({"rows": 4, "by": "k"})"), HasSubstr("keep their order"));
  EXPECT_THAT(ErrorOf("repartition", R"({"n": 4, "by": "tags"})"), HasSubstr("cannot be a key"));
}

TEST(Distinct, ComparesAllColumnsUnlessTold) {
  EXPECT_THAT(Bind("distinct", R"({"by": ["k"], "keep": "none"})")->reads, ElementsAre("k"));
  EXPECT_THAT(ErrorOf("distinct", "{}"), HasSubstr("column 'tags' of type list<string> cannot be compared"));
  const StepSpec* spec = FindStep("distinct");
  const auto flat = arrow::schema({arrow::field("a", arrow::int8()), arrow::field("b", arrow::utf8())});
  EXPECT_THAT(spec->bind(*NormaliseArgs(*spec, Json::object()), flat)->reads, ElementsAre("a", "b"));
}

TEST(GroupBy, MakesKeysAndAggregates) {
  const auto binding = *Bind(
      "group_by", R"j({"by": "k", "aggregates": [["t", "sum(v)"], ["n", "count()"], ["m", "max(v)"]]})j");
  EXPECT_EQ(binding.output->ToString(), "k: int32 not null\nt: double\nn: int64\nm: double");
  EXPECT_THAT(binding.reads, ElementsAre("k", "v"));
  EXPECT_TRUE(binding.drops_others);
}

std::string GroupByError(const std::string& by, const std::string& aggregates) {
  return ErrorOf("group_by", R"({"by": )" + by + R"(, "aggregates": )" + aggregates + "}");
}

TEST(GroupBy, SaysWhatIsWrong) {
  EXPECT_THAT(ErrorOf("group_by", R"({"by": "k"})"), HasSubstr("needs the argument 'aggregates'"));
  EXPECT_THAT(GroupByError(R"("k")", "{}"), HasSubstr("too small"));
  EXPECT_THAT(GroupByError("[]", R"j({"n": "count()"})j"), HasSubstr("at least one column"));
  EXPECT_THAT(GroupByError(R"(["k", "k"])", R"j({"n": "count()"})j"), HasSubstr("twice"));
  EXPECT_THAT(GroupByError(R"("tags")", R"j({"n": "count()"})j"), HasSubstr("cannot be a key"));
  EXPECT_THAT(GroupByError(R"("k")", R"j({"k": "count()"})j"), HasSubstr("named like a key"));
  EXPECT_THAT(GroupByError(R"("k")", R"j({"n": "cuont()"})j"),
              HasSubstr("column 'n': there is no aggregate function 'cuont'; did you mean 'count'?"));
  EXPECT_THAT(GroupByError(R"("k")", R"j({"n": "sum(s)"})j"), HasSubstr("sum is of numbers, not of string"));
  EXPECT_THAT(GroupByError(R"("k")", R"j([["n", "count()"], ["n", "sum(v)"]])j"),
              HasSubstr("'n' is given twice"));
}

TEST(Sample, KeepsAPart) {
  EXPECT_TRUE(Bind("sample", R"({"fraction": 0.5, "offset": 0.5})").ok());
  EXPECT_THAT(ErrorOf("sample", R"({"fraction": 1.5})"), HasSubstr("too large"));
  EXPECT_THAT(ErrorOf("sample", R"({"fraction": 0.6, "offset": 0.6})"), HasSubstr("more than 1"));
}

constexpr char kGroups[] = R"(
steps:
  - range: 10
  - group_by: {by: id, aggregates: {z: count(), a: first(id)}}
  - sort: {by: [z, a], descending: [true, false]}
  - random_shuffle: 7
  - distinct
)";

TEST(ExchangeYaml, KeepsTheOrderOfAggregatesAndIsWrittenAsItIsRead) {
  const Pipeline pipeline = *ParsePipelineYaml(kGroups, "p.yaml", {});
  EXPECT_EQ(pipeline.steps[1].args.dump(),
            R"j({"aggregates":[["z","count()"],["a","first(id)"]],"by":"id"})j");
  EXPECT_EQ(pipeline.steps[2].args["descending"], Json::array({true, false}));
  EXPECT_EQ(pipeline.steps[3].args["seed"], 7);
  const std::string text = PipelineToYaml(pipeline);
  EXPECT_THAT(text, HasSubstr("aggregates: {z: count(), a: first(id)}"));
  auto again = ParsePipelineYaml(text, "again.yaml", {});
  ASSERT_TRUE(again.ok()) << again.status() << text;
  EXPECT_EQ(again->steps[1].args, pipeline.steps[1].args);
}

std::string YamlError(const std::string& step) {
  auto pipeline = ParsePipelineYaml("steps:\n  - range: 10\n" + step, "p.yaml", {});
  return pipeline.ok() ? "no error" : pipeline.status().message();
}

TEST(ExchangeYaml, ErrorsSayWhere) {
  EXPECT_THAT(YamlError("  - sort: id\n    on_error: skip\n"),
              HasSubstr("p.yaml:4:15: on_error: skip has no meaning at 'sort'"));
  EXPECT_EQ(YamlError("  - sort: id\n    on_error: fail\n"), "no error");
  EXPECT_THAT(YamlError("  - sort: {by: id, decending: true}\n"), HasSubstr("did you mean 'descending'?"));
  EXPECT_THAT(YamlError("  - groupby: {by: id}\n"), HasSubstr("did you mean 'group_by'?"));
  EXPECT_THAT(YamlError("  - group_by: {by: id, aggregates: {n: cnt()}}\n"), HasSubstr("p.yaml:3:"));
}

}  // namespace
}  // namespace partita
