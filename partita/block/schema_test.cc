#include "partita/block/schema.h"

#include <arrow/api.h>
#include <arrow/extension/fixed_shape_tensor.h>
#include <arrow/util/key_value_metadata.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"

namespace partita {
namespace {

using ::testing::HasSubstr;

TEST(Types, RoundTripInTheirCanonicalText) {
  for (const char* text :
       {"null",
        "bool",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
        "float16",
        "float32",
        "float64",
        "string",
        "large_string",
        "string_view",
        "binary",
        "large_binary",
        "binary_view",
        "fixed_size_binary[16]",
        "date32",
        "date64",
        "time32[s]",
        "time32[ms]",
        "time64[us]",
        "time64[ns]",
        "timestamp[s]",
        "timestamp[ns]",
        "timestamp[us, tz=Europe/Berlin]",
        "timestamp[ms, tz=+02:00]",
        "duration[ms]",
        "decimal32(9, 2)",
        "decimal64(18, 0)",
        "decimal128(38, -3)",
        "decimal256(76, 10)",
        "list<int64>",
        "large_list<string>",
        "list_view<int8>",
        "large_list_view<int8>",
        "fixed_size_list<float32>[768]",
        "list<int32 not null>",
        "struct<>",
        "struct<a: int32, \"odd name\": list<string>, \"quo\"\"te\": bool not null>",
        "map<string, int64>",
        "map<string, list<int8>, sorted>",
        "dictionary<int32, string>",
        "dictionary<int8, string, ordered>",
        "run_end_encoded<int32, string>",
        "month_interval",
        "day_time_interval",
        "month_day_nano_interval",
        "list<struct<x: map<string, fixed_size_list<int8>[2]>, y: timestamp[us, tz=UTC]>>"}) {
    const auto type = ParseType(text);
    ASSERT_TRUE(type.ok()) << type.status();
    EXPECT_EQ(TypeToString(**type), text);
  }
}

TEST(Types, EveryTypeReadsBackEqual) {
  const auto union_type =
      arrow::sparse_union({arrow::field("a", arrow::int32()), arrow::field("b", arrow::utf8())});
  const auto tensor = *arrow::extension::FixedShapeTensorType::Make(arrow::float32(), {2, 3});
  for (const auto& type : {union_type, tensor, arrow::list(union_type),
                           arrow::struct_({arrow::field("", arrow::int8()), arrow::field("日本", tensor)}),
                           arrow::map(arrow::utf8(), arrow::field("v", arrow::int8(), false)),
                           arrow::timestamp(arrow::TimeUnit::NANO, "odd ] zone")}) {
    const auto text = TypeToString(*type);
    const auto back = ParseType(text);
    ASSERT_TRUE(back.ok()) << text << ": " << back.status();
    EXPECT_TRUE((*back)->Equals(*type)) << text;
  }
}

TEST(Types, ReadsWhatSqlUsersWrite) {
  const std::vector<std::pair<std::string, std::string>> spellings = {
      {"INTEGER", "int32"}, {" bigint ", "int64"},          {"double", "float64"},
      {"float", "float32"}, {"varchar", "string"},          {"Text", "string"},
      {"date", "date32"},   {"timestamp", "timestamp[us]"}, {"decimal(10,2)", "decimal128(10, 2)"},
      {"bytes", "binary"},  {"list< int >", "list<int32>"}, {"boolean", "bool"}};
  for (const auto& [given, canonical] : spellings) {
    const auto type = ParseType(given);
    ASSERT_TRUE(type.ok()) << type.status();
    EXPECT_EQ(TypeToString(**type), canonical);
  }
}

TEST(Types, HostileTextIsAUserError) {
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "list<";
  for (const std::string& text : {std::string(),
                                  std::string("int65"),
                                  std::string("list<int64"),
                                  std::string("list<int64>>"),
                                  std::string("fixed_size_list<int8>[-1]"),
                                  std::string("fixed_size_list<int8>[99999999999]"),
                                  std::string("decimal128(100, 2)"),
                                  std::string("decimal128(0, 0)"),
                                  std::string("time32[us]"),
                                  std::string("timestamp[us, tz=]"),
                                  std::string("dictionary<string, int8>"),
                                  std::string("ipc:"),
                                  std::string("ipc:AAAA"),
                                  std::string("ipc:!!!"),
                                  std::string("struct<a int32>"),
                                  std::string("map<string>"),
                                  std::string("run_end_encoded<int8, string>"),
                                  std::string("fixed_size_binary[-2]"),
                                  std::string("struct<\"a: int8>"),
                                  deep}) {
    const auto type = ParseType(text);
    ASSERT_FALSE(type.ok()) << text.substr(0, 50);
    EXPECT_EQ(KindOf(type.status()), ErrorKind::kUser);
    EXPECT_LT(type.status().message().size(), 1000u);
  }
  EXPECT_THAT(ParseType("strin").status().message(), HasSubstr("did you mean 'string'?"));
  EXPECT_THAT(ParseType("list<int65>").status().message(), HasSubstr("at character 6"));
}

TEST(Schemas, RoundTripAsJson) {
  const auto schema = arrow::schema(
      {arrow::field("a", arrow::int64(), false),
       arrow::field("tag", arrow::list(arrow::utf8()), true, arrow::key_value_metadata({{"k", "v"}}))});
  const Json json = SchemaToJson(*schema);
  EXPECT_EQ(
      CanonicalJson(json),
      R"([{"name":"a","nullable":false,"type":"int64"},{"metadata":{"k":"v"},"name":"tag","type":"list<string>"}])");
  EXPECT_TRUE((*SchemaFromJson(json))->Equals(*schema, true));
  for (const char* bad :
       {"{}", "[1]", R"([{"name": "a"}])", R"([{"name": 1, "type": "int8"}])",
        R"([{"name": "a", "type": "int9"}])", R"([{"name": "a", "type": "int8", "metadata": 3}])",
        R"([{"name": "a", "type": "int8", "nullable": "no"}])"}) {
    EXPECT_EQ(KindOf(SchemaFromJson(*ParseJson(bad)).status()), ErrorKind::kData) << bad;
  }
}

TEST(FindColumn, NamesTheNearest) {
  const auto schema =
      arrow::schema({arrow::field("width", arrow::int32()), arrow::field("height", arrow::int32()),
                     arrow::field("twice", arrow::int8()), arrow::field("twice", arrow::int8())});
  EXPECT_EQ(*FindColumn(*schema, "height"), 1);
  const auto missing = FindColumn(*schema, "widht").status();
  EXPECT_EQ(KindOf(missing), ErrorKind::kUser);
  EXPECT_EQ(missing.message(), "there is no column 'widht' (did you mean 'width'?)");
  EXPECT_EQ(DetailOf(missing)->context.hint, "use one of: width, height, twice, twice");
  EXPECT_THAT(FindColumn(*schema, "twice").status().message(), HasSubstr("occurs 2 times"));
  EXPECT_FALSE(FindColumn(arrow::Schema({}), "x").ok());
}

TEST(NearestName, IsNearOrNothing) {
  const std::vector<std::string> names = {"caption", "url", "width", "image"};
  EXPECT_EQ(NearestName("captoin", names), "caption");  // a swap is one edit
  EXPECT_EQ(NearestName("URL", names), "url");
  EXPECT_EQ(NearestName("widths", names), "width");
  EXPECT_EQ(NearestName("filename", names), "");
  EXPECT_EQ(NearestName("x", names), "");
  EXPECT_EQ(NearestName("", names), "");
  EXPECT_EQ(NearestName(std::string(100000, 'a'), names), "");
}

}  // namespace
}  // namespace partita
