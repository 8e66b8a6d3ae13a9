#include "partita/pipeline/aggregate.h"

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

using ::testing::HasSubstr;

std::string Text(const std::string& text) {
  auto aggregate = ParseAggregate("out", text);
  return aggregate.ok() ? AggregateText(*aggregate) : "error: " + aggregate.status().message();
}

TEST(Aggregate, ReadsCallsOnColumns) {
  EXPECT_EQ(Text("sum(v)"), "sum(v)");
  EXPECT_EQ(Text(" Mean( v ) "), "mean(v)");
  EXPECT_EQ(Text("avg(v)"), "mean(v)");
  EXPECT_EQ(Text("count_distinct(v)"), "n_unique(v)");
  EXPECT_EQ(Text("count()"), "count()");
  EXPECT_EQ(Text("count(*)"), "count()");
  EXPECT_EQ(Text("count(v)"), "count(v)");
  EXPECT_EQ(Text(R"x(max("odd (name)"))x"), R"x(max("odd (name)"))x");
  EXPECT_EQ(Text("median(v)"), "quantile(v, 0.5)");
  EXPECT_EQ(Text("quantile( v ,0.25)"), "quantile(v, 0.25)");
  EXPECT_EQ(Text("top_k(v, 3)"), "largest(v, 3)");
  EXPECT_EQ(Text(R"x(corr("odd, name", w))x"), R"x(corr("odd, name", w))x");
}

TEST(Aggregate, SaysWhatIsNoAggregate) {
  EXPECT_THAT(Text("v"), HasSubstr("'v' is no aggregate"));
  EXPECT_THAT(Text(""), HasSubstr("is no aggregate"));
  EXPECT_THAT(Text("sum()"), HasSubstr("needs a column"));
  EXPECT_THAT(Text("sum(v + 1)"), HasSubstr("an aggregate is of a plain column"));
  EXPECT_THAT(Text("sun(v)"), HasSubstr("did you mean 'sum'?"));
  EXPECT_THAT(Text("sum(v"), HasSubstr("is no aggregate"));
  EXPECT_THAT(Text("sum(v, 2)"), HasSubstr("has 2 arguments; sum takes 1"));
  EXPECT_THAT(Text("quantile(v)"), HasSubstr("has 1 arguments; quantile takes 2"));
  EXPECT_THAT(Text("quantile(v, nan)"), HasSubstr("from 0 to 1"));
  EXPECT_THAT(Text("smallest(v, 1.5)"), HasSubstr("from 1 to 1000"));
  EXPECT_THAT(Text("smallest(v, 1001)"), HasSubstr("from 1 to 1000"));
  EXPECT_THAT(Text("corr(v, w + 1)"), HasSubstr("plain column"));
  EXPECT_THAT(Text("sum(v))"), HasSubstr("error"));
  EXPECT_EQ(KindOf(ParseAggregate("out", "sum(").status()), ErrorKind::kUser);
}

std::string Type(AggregateFunction function, const std::string& input) {
  auto type = AggregateResultType(function, *ParseType(input));
  return type.ok() ? TypeToString(**type) : "error: " + type.status().message();
}

TEST(Aggregate, ResultTypes) {
  using F = AggregateFunction;
  EXPECT_EQ(Type(F::kCount, "list<int8>"), "int64");
  EXPECT_EQ(Type(F::kSum, "int8"), "int64");
  EXPECT_EQ(Type(F::kSum, "uint16"), "uint64");
  EXPECT_EQ(Type(F::kSum, "float32"), "float64");
  EXPECT_EQ(Type(F::kSum, "decimal128(10, 2)"), "decimal128(38, 2)");
  EXPECT_EQ(Type(F::kSum, "decimal256(50, 3)"), "decimal256(76, 3)");
  EXPECT_EQ(Type(F::kMean, "decimal128(10, 2)"), "float64");
  EXPECT_EQ(Type(F::kVar, "int32"), "float64");
  EXPECT_EQ(Type(F::kMin, "string"), "string");
  EXPECT_EQ(Type(F::kMax, "timestamp[us]"), "timestamp[us]");
  EXPECT_EQ(Type(F::kAny, "bool"), "bool");
  EXPECT_EQ(Type(F::kFirst, "struct<a: int8>"), "struct<a: int8>");
  EXPECT_EQ(Type(F::kList, "string"), "list<string>");
  EXPECT_EQ(Type(F::kNUnique, "string"), "int64");
  EXPECT_THAT(Type(F::kSum, "string"), HasSubstr("sum is of numbers, not of string"));
  EXPECT_THAT(Type(F::kMean, "bool"), HasSubstr("mean is of numbers"));
  EXPECT_THAT(Type(F::kMin, "list<int8>"), HasSubstr("values that have an order"));
  EXPECT_THAT(Type(F::kAll, "int8"), HasSubstr("all is of bool"));
  EXPECT_THAT(Type(F::kNUnique, "map<string, int8>"), HasSubstr("not nested"));
}

std::shared_ptr<arrow::Schema> Input() {
  return arrow::schema({arrow::field("k", arrow::utf8(), false), arrow::field("v", arrow::int32())});
}

std::string SchemaError(const std::vector<AggregateSpec>& aggregates) {
  auto schema = AggregateSchema({"k"}, aggregates, *Input());
  EXPECT_EQ(KindOf(schema.status()), ErrorKind::kUser);
  return schema.status().message();
}

TEST(Aggregate, TheSchemaIsKeysThenResults) {
  const auto schema = *AggregateSchema(
      {"k"}, {{"t", AggregateFunction::kSum, "v"}, {"n", AggregateFunction::kCountRows, ""}}, *Input());
  EXPECT_EQ(schema->ToString(), "k: string not null\nt: int64\nn: int64");
  EXPECT_THAT(SchemaError({{"k", AggregateFunction::kCountRows, ""}}), HasSubstr("named like a key"));
  EXPECT_THAT(SchemaError({{"n", AggregateFunction::kCountRows, ""}, {"n", AggregateFunction::kSum, "v"}}),
              HasSubstr("two aggregates are named 'n'"));
  EXPECT_THAT(SchemaError({{"n", AggregateFunction::kSum, "w"}}), HasSubstr("'w'"));
  EXPECT_THAT(SchemaError({{"n", AggregateFunction::kSum, "k"}}),
              HasSubstr("'n', sum(k): sum is of numbers"));
}

TEST(Aggregate, JsonOfPlansIsReadStrictly) {
  const std::vector<AggregateSpec> aggregates = {{"t", AggregateFunction::kSum, "v"},
                                                 {"n", AggregateFunction::kCountRows, ""},
                                                 {"c", AggregateFunction::kCount, "v"},
                                                 {"q", AggregateFunction::kQuantile, "v", "", 0.9},
                                                 {"l", AggregateFunction::kLargest, "v", "", 3},
                                                 {"r", AggregateFunction::kCorr, "v", "w"}};
  const Json json = AggregatesToJson(aggregates);
  EXPECT_EQ(AggregatesToJson(*AggregatesFromJson(json)), json);
  EXPECT_EQ((*AggregatesFromJson(json))[1].function, AggregateFunction::kCountRows);
  const std::vector<std::pair<const char*, Json>> changes = {{"/0/function", "sun"},
                                                             {"/0/function", 1},
                                                             {"/0/column", nullptr},
                                                             {"/0/column", 1},
                                                             {"/0/name", 1},
                                                             {"/0/options", {{"x", 1}}},
                                                             {"/0/options", nullptr},
                                                             {"/0", 7},
                                                             {"/0/extra", 1},
                                                             {"/3/options/q", 2},
                                                             {"/3/options/q", "0.5"},
                                                             {"/3/options", Json::object()},
                                                             {"/4/options/n", 0},
                                                             {"/4/options/n", 1e9},
                                                             {"/4/options", {{"q", 1}}},
                                                             {"/5/options/column", 3},
                                                             {"/5/options/column", ""}};
  for (const auto& [where, value] : changes) {
    Json bad = json;
    bad[Json::json_pointer(where)] = value;
    EXPECT_FALSE(AggregatesFromJson(bad).ok()) << where << " = " << value;
  }
  EXPECT_FALSE(AggregatesFromJson(Json::object()).ok());
}

}  // namespace
}  // namespace partita
