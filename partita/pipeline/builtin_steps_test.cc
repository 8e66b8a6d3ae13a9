#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/pipeline/projection.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

std::shared_ptr<arrow::Schema> Input() {
  return arrow::schema({arrow::field("url", arrow::utf8()), arrow::field("width", arrow::int32(), false),
                        arrow::field("height", arrow::int32()),
                        arrow::field("odd \"name\"", arrow::float64())});
}

Result<StepBinding> Bind(const std::string& op, const std::string& args) {
  const StepSpec* spec = FindStep(op);
  ARROW_ASSIGN_OR_RAISE(Json declared, ParseJson(args));
  ARROW_ASSIGN_OR_RAISE(Json normal, NormaliseArgs(*spec, declared));
  return spec->bind(normal, Input());
}

std::vector<std::string> Columns(const StepBinding& binding) {
  std::vector<std::string> out;
  for (const auto& field : binding.output->fields())
    out.push_back(field->name() + ":" + TypeToString(*field->type()));
  return out;
}

TEST(Filter, ReadsItsColumnsAndKeepsTheSchema) {
  auto binding = Bind("filter", R"({"predicate": "width >= 256 and url is not null"})").ValueOrDie();
  EXPECT_TRUE(binding.output->Equals(*Input()));
  EXPECT_THAT(binding.reads, ElementsAre("width", "url"));
  EXPECT_THAT(binding.writes, IsEmpty());
  EXPECT_FALSE(binding.drops_others);
}

TEST(Filter, NeedsACondition) {
  auto status = Bind("filter", R"({"predicate": "width + 1"})").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_THAT(status.message(), HasSubstr("a filter needs a condition"));
  EXPECT_THAT(Bind("filter", R"({"predicate": "widht > 1"})").status().message(), HasSubstr("width"));
}

TEST(Select, KeepsOrderAndFields) {
  auto binding =
      Bind("select", R"({"columns": ["width", ["wide", "width > height"], ["w", "width"]]})").ValueOrDie();
  EXPECT_THAT(Columns(binding), ElementsAre("width:int32", "wide:bool", "w:int32"));
  EXPECT_FALSE(binding.output->field(2)->nullable());  // a plain column keeps its field
  EXPECT_THAT(binding.reads, ElementsAre("width", "height"));
  EXPECT_THAT(binding.writes, ElementsAre("wide", "w"));
  EXPECT_TRUE(binding.drops_others);
  EXPECT_EQ(KindOf(Bind("select", R"({"columns": ["nope"]})").status()), ErrorKind::kUser);

  // Zero columns are rows that carry nothing but their number.
  EXPECT_THAT(Columns(Bind("select", R"({"columns": []})").ValueOrDie()), IsEmpty());
}

TEST(Drop, LeavesColumnsOut) {
  auto binding = Bind("drop", R"({"columns": ["height", "url"]})").ValueOrDie();
  EXPECT_THAT(Columns(binding), ElementsAre("width:int32", "odd \"name\":float64"));
  EXPECT_THAT(binding.reads, IsEmpty());
  EXPECT_THAT(Bind("drop", R"({"columns": "heigth"})").status().message(), HasSubstr("height"));
}

TEST(Rename, KeepsPlaces) {
  auto binding = Bind("rename", R"({"columns": {"width": "w", "height": "width"}})").ValueOrDie();
  EXPECT_THAT(Columns(binding), ElementsAre("url:string", "w:int32", "width:int32", "odd \"name\":float64"));
  EXPECT_THAT(binding.writes, ElementsAre("w", "width"));
  EXPECT_THAT(binding.reads, ElementsAre("width", "height"));
  EXPECT_THAT(Bind("rename", R"({"columns": {"width": "height"}})").status().message(),
              HasSubstr("two columns 'height'"));
  EXPECT_EQ(KindOf(Bind("rename", R"({"columns": {"width": ""}})").status()), ErrorKind::kUser);
}

TEST(WithColumns, ReplacesInPlaceAndAppends) {
  auto binding = Bind("with_columns",
                      R"js({"columns": [["z", "width * height"], ["url", "upper(url)"], ["a", "url"]]})js");
  ASSERT_TRUE(binding.ok()) << binding.status();
  EXPECT_THAT(Columns(*binding), ElementsAre("url:string", "width:int32", "height:int32",
                                             "odd \"name\":float64", "z:int32", "a:string"));
  EXPECT_THAT(binding->writes, ElementsAre("url", "z", "a"));
  EXPECT_FALSE(binding->drops_others);
  EXPECT_THAT(Bind("with_columns", R"({"columns": {"area": "width * url"}})").status().message(),
              HasSubstr("column 'area'"));
}

TEST(Cast, ChangesTypes) {
  auto binding = Bind("cast", R"({"columns": {"width": "int64", "odd \"name\"": "string"}})");
  ASSERT_TRUE(binding.ok()) << binding.status();
  EXPECT_THAT(Columns(*binding),
              ElementsAre("url:string", "width:int64", "height:int32", "odd \"name\":string"));
  EXPECT_THAT(binding->writes, ElementsAre("width", "odd \"name\""));
  EXPECT_THAT(Bind("cast", R"({"columns": {"url": "struct<a: int8>"}})").status().message(),
              HasSubstr("cannot become"));
  EXPECT_THAT(Bind("cast", R"({"columns": {"widht": "int8"}})").status().message(), HasSubstr("width"));
}

TEST(LimitAndUnion, PassRowsAsTheyAre) {
  EXPECT_TRUE(Bind("limit", R"({"n": 5})").ValueOrDie().output->Equals(*Input()));
  EXPECT_TRUE(Bind("union", "{}").ValueOrDie().output->Equals(*Input()));
  EXPECT_FALSE(Bind("limit", R"({"n": -1})").ok());
}

TEST(Projection, RoundTripsAsJson) {
  const Json columns = ParseJson(R"([["b", {"column": "a"}], ["a", {"column": "b"}]])").ValueOrDie();
  const Projection projection = ProjectionFromJson(columns).ValueOrDie();
  EXPECT_EQ(ProjectionToJson(projection), columns);
  EXPECT_EQ(PlainColumn(projection[0].second), "a");
  EXPECT_EQ(KindOf(ProjectionFromJson(ParseJson(R"({"a": 1})").ValueOrDie()).status()), ErrorKind::kBug);
}

}  // namespace
}  // namespace partita
