#include "partita/expression/expression.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/expression/test_rows.h"

namespace partita {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Expression Parsed(std::string_view text) {
  auto expression = Expression::Parse(text);
  EXPECT_TRUE(expression.ok()) << text << ": " << expression.status();
  return expression.ValueOr(Expression());
}

TEST(Text, RoundTripsThroughJson) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"a", "a"},
      {"\"odd name\"", "\"odd name\""},
      {"`select`.x", "select.x"},
      {"\"in\"", "\"in\""},
      {"\"quo\"\"te\"", "\"quo\"\"te\""},
      {"größe", "größe"},
      {"a.b.\"c d\"", "a.b.\"c d\""},
      {"1 + 2 * 3", "1 + 2 * 3"},
      {"(1 + 2) * 3", "(1 + 2) * 3"},
      {"a - (b - c) - d", "a - (b - c) - d"},
      {"-a", "- a"},
      {"- -5", "- (-5)"},
      {"-(5)", "- (5)"},
      {"-9223372036854775808", "-9223372036854775808"},
      {"18446744073709551615", "18446744073709551615"},
      {"1.0", "1.0"},
      {".5e3", "500.0"},
      {"1e300", "1e+300"},
      {"'it''s'", "'it''s'"},
      {"x'00fF'", "x'00ff'"},
      {"TRUE and not FALSE or null", "true and not false or null"},
      {"a and b and c", "a and b and c"},
      {"a and (b and c)", "a and b and c"},
      {"a and (b or c)", "a and (b or c)"},
      {"not (a and b)", "not (a and b)"},
      {"not a = b", "not a = b"},
      {"(a = b) = c", "(a = b) = c"},
      {"a == 1 and b <> 2", "a = 1 and b != 2"},
      {"a is null or b is not null", "a is null or b is not null"},
      {"a + 1 is null", "a + 1 is null"},
      {"a in (1, 2, null)", "a in (1, 2, null)"},
      {"a not in ('x')", "a not in ('x')"},
      {"a in (b, 1)", "a = b or a = 1"},
      {"a between 1 and 5 and b", "a >= 1 and a <= 5 and b"},
      {"a not between 1 and 5", "not (a >= 1 and a <= 5)"},
      {"s like 'a%' and s not ilike '_b'", "s like 'a%' and not s ilike '_b'"},
      {"s || 'x' || t", "s || 'x' || t"},
      {"s || (t || u)", "s || (t || u)"},
      {"case when a > 1 then 'x' when b then 'y' else 'z' end",
       "case when a > 1 then 'x' when b then 'y' else 'z' end"},
      {"case a when 1 then 2 end", "case when a = 1 then 2 end"},
      {"cast(a as int)", "cast(a as int32)"},
      {"a::decimal(10, 2)", "cast(a as decimal128(10, 2))"},
      {"a::timestamp[us, tz=UTC] < b", "cast(a as timestamp[us, tz=UTC]) < b"},
      {"a::int64 < 5", "cast(a as int64) < 5"},
      {"a::list<struct<x: int8>>", "cast(a as list<struct<x: int8>>)"},
      {"a::LIST<Int8>", "cast(a as list<int8>)"},
      {"cast(5 as int8)", "cast(5 as int8)"},
      {"cast('nan' as double)", "cast('nan' as float64)"},
      {"cast(null as string)", "cast(null as string)"},
      {"date '2024-02-29'", "cast('2024-02-29' as date32)"},
      {"timestamp '2024-02-29 12:00:00.5'", "cast('2024-02-29 12:00:00.500000' as timestamp[us])"},
      {"cast('12.50' as decimal(4, 2))", "cast('12.50' as decimal128(4, 2))"},
      {"length(s) > 3", "utf8_length(s) > 3"},
      {"starts_with(s, 'x')", "starts_with(s, pattern => 'x')"},
      {"STARTS_WITH(s, pattern => 'x', ignore_case => true)",
       "starts_with(s, ignore_case => true, pattern => 'x')"},
      {"trim(s)", "utf8_trim_whitespace(s)"},
      {"trim(s, 'xy')", "utf8_trim(s, characters => 'xy')"},
      {"substr(s, 2, 3)", "utf8_slice_codeunits(s, start => 1, stop => 4)"},
      {"left(s, 2)", "utf8_slice_codeunits(s, start => 0, stop => 2)"},
      {"round(x, -2)", "round(x, ndigits => -2)"},
      {"date_trunc('month', t)", "floor_temporal(t, unit => 'month')"},
      {"nullif(a, 0)", "case when a = 0 then null else a end"},
      {"add_checked(a, 1)", "a + 1"},
      {"is_in(a, value_set => [1, 2])", "a in (1, 2)"},
      {"coalesce(a, b, 0)", "coalesce(a, b, 0)"},
      {"cast(a as int8, safe => false)", "cast(a as int8, safe => false)"},
  };
  for (const auto& [text, printed] : cases) {
    const auto expression = Parsed(text);
    if (!expression.valid()) continue;
    EXPECT_EQ(expression.ToString(), printed) << text;
    const auto back = Expression::FromJson(expression.ToJson());
    ASSERT_TRUE(back.ok()) << text << ": " << back.status();
    EXPECT_EQ(back->ToJson(), expression.ToJson()) << text;
    EXPECT_EQ(Parsed(back->ToString()).ToJson(), expression.ToJson()) << text;
  }
}

TEST(Text, ErrorsTellColumnAndExpectation) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"", "expected a column, a value or a function at column 1, found the end"},
      {"width >> 3", "expected a column, a value or a function at column 8, found '>'"},
      {"größe >> 3", "at column 8, found '>'"},
      {"a = ", "at column 5, found the end"},
      {"a b", "expected an operator or the end at column 3, found 'b'"},
      {"(a", "expected ')' at column 3, found the end"},
      {"'abc", "the ' at column 1 is never closed"},
      {"a && b", "expected a value or an operator at column 3, found '&'"},
      {"a < b < c", "expected 'and', 'or' or the end at column 7"},
      {"lenght(s)", "there is no function 'lenght' (did you mean 'length'?)"},
      {"sum(a)", "function 'sum' does not work row by row"},
      {"random()", "gives other values each time"},
      {"cast(a as int65)", "expected a type at column 11, found 'int65'"},
      {"cast(a int)", "expected 'as' and a type at column 8, found 'int'"},
      {"a is 5", "expected 'null' or 'not null' at column 6, found '5'"},
      {"a not 5", "after 'not'"},
      {"case 1 end", "expected 'when' at column 8, found 'end'"},
      {"a in 5", "expected '(' at column 6, found '5'"},
      {"a between 1 or 2", "expected 'and' at column 13, found 'or'"},
      {"f.", "expected a field name at column 3"},
      {"12abc", "expected the end of the number at column 3"},
      {"1e", "expected the digits of an exponent"},
      {"1e999", "expected a number that float64 can hold"},
      {"99999999999999999999999", "expected a number that int64 or uint64 can hold"},
      {"date 'x'", "expected the text of a date at column 6"},
      {"x'0'", "pairs of hexadecimal digits"},
      {"starts_with(s, pattern => t)", "expected a literal: an option is the same for all rows"},
      {"starts_with(s, pattern => 'a', 'b')", "expected a named argument"},
      {"and", "expected a column, a value or a function at column 1, found 'and'"},
  };
  for (const auto& [text, message] : cases) {
    const auto status = Expression::Parse(text).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kUser) << text;
    EXPECT_THAT(status.message(), HasSubstr(message)) << text;
  }
}

TEST(Text, HostileTextNeverCrashes) {
  const std::string deep(100000, '('), minus(100000, '-'), nots = [] {
    std::string text;
    for (int i = 0; i < 50000; ++i) text += "not ";
    return text;
  }();
  std::string sums = "1", ands = "a";
  for (int i = 0; i < 20000; ++i) sums += "+1";
  for (int i = 0; i < 20000; ++i) ands += " and a";
  for (const auto& text : {deep, minus, nots, sums}) {
    EXPECT_EQ(KindOf(Expression::Parse(text).status()), ErrorKind::kUser);
  }
  EXPECT_EQ(Parsed(ands).Conjuncts().size(), 20001u);
  EXPECT_FALSE(Expression::Parse("'\xff'").ok());
  EXPECT_FALSE(Expression::Parse(std::string("a\0b", 3)).ok());
}

TEST(Json, EveryLiteralIsExact) {
  const auto list = *arrow::json::ArrayFromJSONString(arrow::list(arrow::int8()), "[[1, null]]");
  std::vector<std::shared_ptr<arrow::Scalar>> values = {
      arrow::MakeNullScalar(arrow::null()),
      arrow::MakeNullScalar(arrow::int64()),
      arrow::MakeScalar(true),
      arrow::MakeScalar(int8_t{-128}),
      arrow::MakeScalar(uint8_t{200}),
      arrow::MakeScalar(uint16_t{60000}),
      arrow::MakeScalar(uint32_t{4000000000}),
      arrow::MakeScalar(std::numeric_limits<int64_t>::min()),
      arrow::MakeScalar(std::numeric_limits<uint64_t>::max()),
      arrow::MakeScalar(0.1),
      arrow::MakeScalar(-0.0),
      arrow::MakeScalar(5e-324),
      arrow::MakeScalar(1e16),
      arrow::MakeScalar(0.1f),
      arrow::MakeScalar(std::numeric_limits<double>::quiet_NaN()),
      arrow::MakeScalar(-std::numeric_limits<double>::infinity()),
      std::make_shared<arrow::HalfFloatScalar>(uint16_t{0x3555}),
      arrow::MakeScalar("text with 'quotes' and \n"),
      std::make_shared<arrow::LargeStringScalar>("large"),
      std::make_shared<arrow::BinaryScalar>(std::string("\0\xff", 2)),
      std::make_shared<arrow::FixedSizeBinaryScalar>(arrow::Buffer::FromString("abc"),
                                                     arrow::fixed_size_binary(3)),
      std::make_shared<arrow::Date32Scalar>(19000),
      std::make_shared<arrow::Date32Scalar>(-1000000000),
      std::make_shared<arrow::Date64Scalar>(86400000),
      std::make_shared<arrow::Time32Scalar>(1000, arrow::time32(arrow::TimeUnit::MILLI)),
      std::make_shared<arrow::TimestampScalar>(-1, arrow::timestamp(arrow::TimeUnit::NANO)),
      std::make_shared<arrow::TimestampScalar>(123456, arrow::timestamp(arrow::TimeUnit::MICRO, "UTC")),
      std::make_shared<arrow::TimestampScalar>(123456,
                                               arrow::timestamp(arrow::TimeUnit::SECOND, "Asia/Tokyo")),
      std::make_shared<arrow::TimestampScalar>(std::numeric_limits<int64_t>::max(),
                                               arrow::timestamp(arrow::TimeUnit::SECOND)),
      std::make_shared<arrow::DurationScalar>(7, arrow::duration(arrow::TimeUnit::MILLI)),
      std::make_shared<arrow::Decimal128Scalar>(arrow::Decimal128(-12345), arrow::decimal128(20, 3)),
      std::make_shared<arrow::Decimal256Scalar>(arrow::Decimal256(5), arrow::decimal256(50, 0)),
      *list->GetScalar(0),
  };
  for (const auto& value : values) {
    const auto expression = Expression::Literal(value);
    // Through bytes, as a plan travels.
    const auto json = ParseJson(CanonicalJson(expression.ToJson()));
    ASSERT_TRUE(json.ok());
    const auto back = Expression::FromJson(*json);
    ASSERT_TRUE(back.ok()) << CanonicalJson(*json) << ": " << back.status();
    EXPECT_EQ(CanonicalJson(back->ToJson()), CanonicalJson(*json));
    const auto parsed = Parsed(expression.ToString());
    EXPECT_EQ(CanonicalJson(parsed.ToJson()), CanonicalJson(*json)) << expression.ToString();
  }
}

TEST(Json, HostileValuesAreDataErrors) {
  for (const char* text : {"null",
                           "[]",
                           "5",
                           "{}",
                           R"({"column": 5})",
                           R"({"column": "a", "call": "b"})",
                           R"({"call": 5})",
                           R"({"call": "add", "args": 5})",
                           R"({"call": "add", "args": [5]})",
                           R"({"call": "add", "options": []})",
                           R"({"literal": {}})",
                           R"({"literal": [1]})",
                           R"({"literal": 300, "type": "int8"})",
                           R"({"literal": -1, "type": "uint64"})",
                           R"({"literal": 18446744073709551615, "type": "int64"})",
                           R"({"literal": 1.5, "type": "int64"})",
                           R"({"literal": "x", "type": "date32"})",
                           R"({"literal": "x", "type": "wrong"})",
                           R"({"literal": 1, "type": 1})",
                           R"({"literal": "@", "type": "binary"})",
                           R"({"literal": "AAAA", "type": "list<int8>", "encoding": "ipc"})",
                           R"({"literal": 1, "encoding": "zip"})",
                           R"({"literal": "abc", "type": "list<int8>"})"}) {
    const auto status = Expression::FromJson(*ParseJson(text)).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kData) << text << ": " << status;
  }
  Json deep{{"column", "a"}};
  for (int i = 0; i < 5000; ++i) deep = Json{{"call", "invert"}, {"args", Json::array({std::move(deep)})}};
  EXPECT_EQ(KindOf(Expression::FromJson(deep).status()), ErrorKind::kData);
}

TEST(Expression, ColumnsConjunctsAndSubstitution) {
  const auto expression = Parsed("b > 1 and a.x + b < c and not a is null");
  EXPECT_THAT(expression.Columns(), ElementsAre("b", "a", "c"));
  ASSERT_EQ(expression.Conjuncts().size(), 3u);
  EXPECT_EQ(Expression::And(expression.Conjuncts()).ToString(), expression.ToString());
  EXPECT_EQ(Expression::And({}).ToString(), "true");
  EXPECT_EQ(expression.Substitute({{"b", Parsed("d + 1")}}).ToString(),
            "d + 1 > 1 and a.x + (d + 1) < c and not a is null");
}

TEST(Expression, ShortJsonIsWhatPlansShow) {
  EXPECT_EQ(CanonicalJson(Parsed("width >= 256").ToJson()),
            R"({"args":[{"column":"width"},{"literal":256,"type":"int64"}],"call":"greater_equal"})");
  // Friendly input for hand-written JSON: types may be missing, aliases are read.
  EXPECT_EQ(
      (*Expression::FromJson(*ParseJson(R"({"call": "length", "args": [{"column": "s"}]})"))).ToString(),
      "utf8_length(s)");
  EXPECT_EQ((*Expression::FromJson(*ParseJson(R"({"literal": 1.5})"))).ToString(), "1.5");
}

}  // namespace
}  // namespace partita
