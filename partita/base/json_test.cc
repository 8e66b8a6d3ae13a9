#include "partita/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace partita {
namespace {

using testing::HasSubstr;

std::string ErrorOf(std::string_view text) {
  const auto parsed = ParseJson(text);
  EXPECT_FALSE(parsed.ok()) << text;
  EXPECT_EQ(KindOf(parsed.status()), ErrorKind::kData);
  return MessageOf(parsed.status());
}

TEST(Json, CanonicalFormDependsOnlyOnTheValue) {
  const Json a = ParseJson(R"( {"b" : [1, 2.5, null], "a": "ü\u0041"} )").ValueOrDie();
  EXPECT_EQ(CanonicalJson(a), "{\"a\":\"üA\",\"b\":[1,2.5,null]}");
  const Json again = ParseJson(CanonicalJson(a)).ValueOrDie();
  EXPECT_EQ(CanonicalJson(again), CanonicalJson(a));
  EXPECT_EQ(ParseJson(PrettyJson(a)).ValueOrDie(), a);
  EXPECT_EQ(PrettyJson(ParseJson("{\"a\":1}").ValueOrDie()), "{\n  \"a\": 1\n}\n");
}

TEST(Json, InvalidUtf8IsReplacedWhenWritten) {
  const Json value = std::string("a\xff");
  EXPECT_EQ(CanonicalJson(value), "\"a\xEF\xBF\xBD\"");
}

TEST(Json, ErrorsNameLineAndColumn) {
  EXPECT_THAT(ErrorOf("{\n  \"a\": 1,\n  oops\n}"), HasSubstr("line 3, column 3"));
  EXPECT_THAT(ErrorOf(""), HasSubstr("line 1, column 1"));
}

TEST(Json, HostileTextIsAnErrorAndNothingElse) {
  for (const char* text : {"{", "[1,]", "{\"a\" 1}", "nul", "\"\\ud800\"", "\"\xff\"", "1e999", "[1]x", "'a'",
                           "{1:2}", "\"\n\"", "\\"}) {
    ErrorOf(text);
  }
  EXPECT_THAT(ErrorOf(std::string_view("\0", 1)), HasSubstr("line 1"));
  EXPECT_LT(ErrorOf("\"" + std::string(1 << 20, 'x')).size(), 1000u) << "the error must not repeat the input";
}

TEST(Json, DepthIsBounded) {
  const auto nested = [](int depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  EXPECT_TRUE(ParseJson(nested(256)).ok());
  EXPECT_THAT(ErrorOf(nested(257)), HasSubstr("line 1, column 257"));
  EXPECT_THAT(ErrorOf(std::string(10'000'000, '[')), HasSubstr("deeper"));
  std::string objects;
  for (int i = 0; i < 300; ++i) objects += "{\"a\":";
  EXPECT_THAT(ErrorOf(objects), HasSubstr("deeper"));
  // Brackets in strings do not nest.
  EXPECT_TRUE(ParseJson("[\"" + std::string(1000, '[') + "\\\"[[[\"]").ok());
}

TEST(Json, TypedAccessNamesTheKey) {
  const Json object =
      ParseJson(
          R"({"s":"x","i":-3,"b":true,"d":1.5,"n":null,"big":18446744073709551615,"l":["a","b"],"m":[1]})")
          .ValueOrDie();
  EXPECT_EQ(GetString(object, "s").ValueOrDie(), "x");
  EXPECT_EQ(GetInt(object, "i").ValueOrDie(), -3);
  EXPECT_EQ(GetBool(object, "b").ValueOrDie(), true);
  EXPECT_EQ(GetDouble(object, "d").ValueOrDie(), 1.5);
  EXPECT_EQ(GetDouble(object, "i").ValueOrDie(), -3.0);
  EXPECT_EQ(GetStringsOr(object, "l", {}).ValueOrDie(), (std::vector<std::string>{"a", "b"}));

  EXPECT_EQ(GetStringOr(object, "absent", "f").ValueOrDie(), "f");
  EXPECT_EQ(GetIntOr(object, "n", 7).ValueOrDie(), 7);
  EXPECT_EQ(GetBoolOr(object, "n", true).ValueOrDie(), true);
  EXPECT_EQ(GetDoubleOr(object, "n", 2.5).ValueOrDie(), 2.5);
  EXPECT_EQ(GetStringsOr(object, "absent", {"z"}).ValueOrDie(), (std::vector<std::string>{"z"}));

  const Status errors[] = {GetString(object, "absent").status(),  GetString(object, "n").status(),
                           GetInt(object, "d").status(),          GetInt(object, "big").status(),
                           GetBool(object, "i").status(),         GetDouble(object, "s").status(),
                           GetIntOr(object, "s", 1).status(),     GetStringsOr(object, "m", {}).status(),
                           GetStringsOr(object, "s", {}).status()};
  const char* keys[] = {"absent", "n", "d", "big", "i", "s", "s", "m", "s"};
  for (size_t i = 0; i < std::size(errors); ++i) {
    EXPECT_EQ(KindOf(errors[i]), ErrorKind::kData);
    EXPECT_THAT(MessageOf(errors[i]), HasSubstr("'" + std::string(keys[i]) + "'"));
  }
  EXPECT_FALSE(GetStringOr(Json::array(), "a", "x").ok());
}

}  // namespace
}  // namespace partita
