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

TEST(Join, ACrossJoinHasNoKeys) {
  EXPECT_EQ(ColumnsOf(R"({"how": "cross"})"), "name id city tags? id_right? person city_right item");
  EXPECT_THAT(ErrorOf(R"({"how": "cross", "on": "id"})"), HasSubstr("a cross join has no keys"));
}

TEST(Join, ABroadcastCannotGiveLoneRightRowsNorHavePartitions) {
  EXPECT_THAT(ErrorOf(R"({"on": "id", "how": "full", "strategy": "broadcast"})"), HasSubstr("full join"));
  EXPECT_THAT(ErrorOf(R"({"on": "id", "partitions": 2, "strategy": "broadcast"})"), HasSubstr("partitions"));
  EXPECT_EQ(ColumnsOf(R"({"on": "id", "how": "semi", "strategy": "broadcast"})"), "name id city tags?");
}

TEST(Join, KeysOfTwoTypesBecomeTheirCommonOne) {
  const auto common = [](const auto& a, const auto& b) -> std::string {
    const auto type = CommonKeyType(a, b), other = CommonKeyType(b, a);
    EXPECT_EQ(type == nullptr, other == nullptr);
    if (type == nullptr || other == nullptr) return "none";
    EXPECT_TRUE(type->Equals(*other));
    return type->ToString();
  };
  EXPECT_EQ(common(arrow::int32(), arrow::int64()), "int64");
  EXPECT_EQ(common(arrow::uint8(), arrow::int8()), "int16");
  EXPECT_EQ(common(arrow::uint32(), arrow::int64()), "int64");
  EXPECT_EQ(common(arrow::uint64(), arrow::int8()), "none") << "no integer holds both";
  EXPECT_EQ(common(arrow::int16(), arrow::float16()), "float");
  EXPECT_EQ(common(arrow::int32(), arrow::float32()), "double");
  EXPECT_EQ(common(arrow::float32(), arrow::float64()), "double");
  EXPECT_EQ(common(arrow::utf8(), arrow::large_utf8()), "large_string");
  EXPECT_EQ(common(arrow::dictionary(arrow::int8(), arrow::utf8()), arrow::utf8()), "string");
  EXPECT_EQ(common(arrow::dictionary(arrow::int8(), arrow::int32()),
                   arrow::dictionary(arrow::int32(), arrow::int64())),
            "int64");
  EXPECT_EQ(common(arrow::timestamp(arrow::TimeUnit::SECOND), arrow::timestamp(arrow::TimeUnit::MICRO)),
            "timestamp[us]");
  EXPECT_EQ(
      common(arrow::timestamp(arrow::TimeUnit::SECOND, "UTC"), arrow::timestamp(arrow::TimeUnit::SECOND)),
      "none");
  EXPECT_EQ(common(arrow::utf8(), arrow::binary()), "none");
  EXPECT_EQ(common(arrow::boolean(), arrow::int8()), "none");

  const auto left = arrow::schema({arrow::field("k", arrow::int16()), arrow::field("v", arrow::int8())});
  const auto right =
      arrow::schema({arrow::field("k", arrow::int32(), false), arrow::field("w", arrow::int8())});
  auto bound = Bind(R"({"on": "k"})", *left, *right);
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->output->field(0)->type()->ToString(), "int32");
}

TEST(Join, RoundTripsThroughJson) {
  const Json args = *NormaliseArgs(*FindStep("join"), {{"on", "id"}, {"how", "full"}});
  const Json json = JoinToJson(*JoinOf(args, *JoinInputsOf(args, People(), Orders())));
  EXPECT_EQ(JoinToJson(*JoinFromJson(json)), json);
  EXPECT_EQ(json["columns"][1], (Json{{"name", "id"}, {"side", "key"}, {"column", "id"}}));
  EXPECT_EQ(json["columns"][5], (Json{{"name", "city_right"}, {"side", "right"}, {"column", "city"}}));
}

}  // namespace
}  // namespace partita
