#include "partita/pipeline/join.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

using ::testing::HasSubstr;

std::shared_ptr<arrow::Schema> People() {
  return arrow::schema({arrow::field("name", arrow::utf8(), false), arrow::field("id", arrow::int64(), false),
                        arrow::field("city", arrow::utf8(), false),
                        arrow::field("tags", arrow::list(arrow::utf8()))});
}

std::shared_ptr<arrow::Schema> Orders() {
  return arrow::schema({arrow::field("id", arrow::int64()), arrow::field("person", arrow::int64(), false),
                        arrow::field("city", arrow::utf8(), false),
                        arrow::field("item", arrow::utf8(), false)});
}

Result<StepBinding> Bind(const std::string& args, const arrow::Schema& left, const arrow::Schema& right) {
  const StepSpec* spec = FindStep("join");
  ARROW_ASSIGN_OR_RAISE(Json declared, ParseJson(args));
  ARROW_ASSIGN_OR_RAISE(Json normal, NormaliseArgs(*spec, declared));
  return spec->bind_pair(normal, arrow::schema(left.fields()), arrow::schema(right.fields()));
}

// "name id? city": a question mark where there may be nulls.
std::string ColumnsOf(const std::string& args) {
  auto binding = Bind(args, *People(), *Orders());
  if (!binding.ok()) return binding.status().ToString();
  std::string out;
  for (const auto& field : binding->output->fields())
    out += (out.empty() ? "" : " ") + field->name() + (field->nullable() ? "?" : "");
  return out;
}

std::string ErrorOf(const std::string& args) {
  auto binding = Bind(args, *People(), *Orders());
  if (binding.ok()) return "no error";
  EXPECT_EQ(KindOf(binding.status()), ErrorKind::kUser) << binding.status();
  return RenderError(binding.status());
}

TEST(Join, AKeyOfOneNameIsOneColumn) {
  EXPECT_EQ(ColumnsOf(R"({"on": "id"})"), "name id city tags? person city_right item");
  EXPECT_EQ(ColumnsOf(R"({"on": "id", "how": "left"})"), "name id city tags? person? city_right? item?");
  EXPECT_EQ(ColumnsOf(R"({"on": "id", "how": "right"})"), "name? id? city? tags? person city_right item")
      << "the key of an order without a person may be null";
  EXPECT_EQ(ColumnsOf(R"({"on": "city", "how": "right"})"), "name? id? city tags? id_right? person item")
      << "the key is of one row or the other, and never null in either";
  EXPECT_EQ(ColumnsOf(R"({"on": ["id", "city"], "how": "full"})"), "name? id? city tags? person? item?");
}

TEST(Join, OfKeysOfTwoNamesASideIsDropped) {
  const auto columns = [](const std::string& how) {
    return ColumnsOf(R"({"left_on": "id", "right_on": "person", "how": ")" + how + "\"}");
  };
  EXPECT_EQ(columns("inner"), "name id city tags? id_right? city_right item");
  EXPECT_EQ(columns("left"), "name id city tags? id_right? city_right? item?");
  EXPECT_EQ(columns("right"), "name? city? tags? id? person city_right item")
      << "the left id is gone, so that the right one keeps its name";
  EXPECT_EQ(columns("full"), "name? id? city? tags? id_right? person? city_right? item?");
  EXPECT_EQ(ColumnsOf(R"({"left_on": ["id", "city"], "right_on": ["person", "city"]})"),
            "name id city tags? id_right? item");
}

TEST(Join, SemiAndAntiGiveTheLeft) {
  EXPECT_EQ(ColumnsOf(R"({"on": "id", "how": "semi"})"), "name id city tags?");
  EXPECT_EQ(ColumnsOf(R"({"left_on": "id", "right_on": "person", "how": "anti", "suffix": ""})"),
            "name id city tags?");
}

TEST(Join, NamesThatClashAreTheUsersToMend) {
  EXPECT_EQ(ColumnsOf(R"({"on": "id", "suffix": "2"})"), "name id city tags? person city2 item");
  EXPECT_THAT(ErrorOf(R"({"on": "id", "suffix": ""})"),
              HasSubstr("both inputs of the join give a column 'city'"));
  const auto left = arrow::schema({arrow::field("k", arrow::int8()), arrow::field("v", arrow::int8()),
                                   arrow::field("v_right", arrow::int8())});
  const auto right = arrow::schema({arrow::field("k", arrow::int8()), arrow::field("v", arrow::int8())});
  EXPECT_THAT(Bind(R"({"on": "k"})", *left, *right).status().message(), HasSubstr("'v_right'"));
  EXPECT_THAT(Bind(R"({"on": "k"})", *right, *left).status().message(), HasSubstr("'v_right'"))
      << "two columns of the right clash";
}

TEST(Join, KeysAreChecked) {
  EXPECT_THAT(ErrorOf("{}"), HasSubstr("join needs key columns"));
  EXPECT_THAT(ErrorOf(R"({"on": "id", "left_on": "id", "right_on": "id"})"), HasSubstr("not from both"));
  EXPECT_THAT(ErrorOf(R"({"left_on": "id"})"), HasSubstr("1 columns in `left_on` and 0 in `right_on`"));
  EXPECT_THAT(ErrorOf(R"({"on": "item"})"), HasSubstr("the left input: "));
  EXPECT_THAT(ErrorOf(R"({"on": "name"})"), HasSubstr("the right input: "));
  EXPECT_THAT(ErrorOf(R"({"on": ["id", "id"]})"), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf(R"({"left_on": "tags", "right_on": "item"})"), HasSubstr("cannot be a key"));
  EXPECT_THAT(
      ErrorOf(R"({"left_on": "id", "right_on": "item"})"),
      HasSubstr("'id' of the left input, which is int64, with 'item' of the right one, which is string"));
  EXPECT_THAT(ErrorOf(R"({"on": "id", "how": "outer"})"), HasSubstr("how"));
}

TEST(Join, RoundTripsThroughJson) {
  const Json args = *NormaliseArgs(*FindStep("join"), {{"on", "id"}, {"how", "full"}});
  const Json json = JoinToJson(*JoinOf(args, *People(), *Orders()));
  EXPECT_EQ(JoinToJson(*JoinFromJson(json)), json);
  EXPECT_EQ(json["columns"][1], (Json{{"name", "id"}, {"side", "key"}, {"column", "id"}}));
  EXPECT_EQ(json["columns"][5], (Json{{"name", "city_right"}, {"side", "right"}, {"column", "city"}}));
}

}  // namespace
}  // namespace partita
