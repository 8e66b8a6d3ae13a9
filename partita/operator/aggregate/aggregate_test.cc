#include "partita/operator/aggregate/aggregate.h"

#include <arrow/compute/cast.h>
#include <gmock/gmock.h>

#include <random>

#include "partita/operator/aggregate/fixture.h"

namespace partita {
namespace {

using enum AggregateFunction;
using testing::HasSubstr;

// Three values of a type, in order, as JSON.
struct TypeCase {
  TypePtr type;
  std::string low, mid, high;
};

std::vector<TypeCase> KeyTypes() {
  std::vector<TypeCase> cases;
  for (const auto& type : {arrow::int8(), arrow::int16(), arrow::int32(), arrow::int64(), arrow::float16(),
                           arrow::float32(), arrow::float64()}) {
    cases.push_back({type, "-7", "0", "100"});
  }
  for (const auto& type : {arrow::uint8(), arrow::uint16(), arrow::uint32(), arrow::uint64()}) {
    cases.push_back({type, "0", "7", "255"});
  }
  for (const auto& type :
       {arrow::date32(), arrow::date64(), arrow::duration(arrow::TimeUnit::MILLI), arrow::month_interval()}) {
    cases.push_back({type, "-86400000", "0", "86400000"});
  }
  cases.push_back({arrow::time32(arrow::TimeUnit::SECOND), "0", "1", "86399"});
  cases.push_back({arrow::time64(arrow::TimeUnit::NANO), "0", "1", "86399000000000"});
  cases.push_back({arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"), "\"1969-01-01\"", "\"1970-01-01\"",
                   "\"2038-01-20\""});
  for (const auto& type : {arrow::decimal32(9, 2), arrow::decimal64(18, 2), arrow::decimal128(38, 2),
                           arrow::decimal256(76, 2)}) {
    cases.push_back({type, "\"-1234.56\"", "\"0.01\"", "\"9876543.21\""});
  }
  for (const auto& type : {arrow::utf8(), arrow::large_utf8(), arrow::utf8_view(), arrow::binary(),
                           arrow::large_binary(), arrow::binary_view()}) {
    cases.push_back(
        {type, "\"\"", "\"a value longer than sixteen\"", "\"a value longer than sixteen bytes\""});
  }
  cases.push_back({arrow::fixed_size_binary(3), "\"abc\"", "\"abd\"", "\"zzz\""});
  return cases;
}

std::vector<TypeCase> AllTypes() {
  auto cases = KeyTypes();
  cases.push_back({arrow::list(arrow::int32()), "[]", "[1, null]", "[2]"});
  cases.push_back({arrow::large_list(arrow::utf8()), "[]", "[\"a\", null]", "[\"b\"]"});
  cases.push_back({arrow::fixed_size_list(arrow::float32(), 2), "[0, 0]", "[1, 2]", "[3, null]"});
  cases.push_back({arrow::struct_({arrow::field("a", arrow::int64()), arrow::field("b", arrow::utf8())}),
                   "{\"a\": 1, \"b\": \"x\"}", "{\"a\": null, \"b\": \"y\"}", "{\"a\": 3, \"b\": null}"});
  cases.push_back({arrow::map(arrow::utf8(), arrow::int32()), "[]", "[[\"k\", 1]]", "[[\"k\", null]]"});
  cases.push_back({arrow::day_time_interval(), "[0, 1]", "[1, 0]", "[1, 1]"});
  return cases;
}

// Rows: mid, null | low, high | mid, null, null; groups 0 1 | 0 1 | 0 0 2; nobody is in group 3.
class EachType : public testing::Test {
 protected:
  void Check(const TypeCase& types, AggregateFunction function, const TypePtr& result,
             const std::string& expected) {
    SCOPED_TRACE(types.type->ToString() + " " + std::string(AggregateFunctionName(function)));
    auto budget = Budget::Make(kGiB);
    auto aggregate = New(function, types.type, budget->root());
    // A slice, so that offsets count.
    const auto column = Values(types.type, "[" + types.high + ", " + types.mid + ", null, " + types.low +
                                               ", " + types.high + ", " + types.mid + ", null, null]")
                            ->Slice(1);
    const GroupList groups = {0, 1, 0, 1, 0, 0, 2};
    int64_t begin = 0;
    for (const auto& [rows, num_groups] : {std::pair<int64_t, uint32_t>{2, 2}, {2, 2}, {3, 4}}) {
      const auto part = std::span(groups).subspan(static_cast<size_t>(begin), static_cast<size_t>(rows));
      ASSERT_TRUE(aggregate->Update(column->Slice(begin, rows).get(), part, num_groups).ok());
      begin += rows;
    }
    EXPECT_GT(aggregate->size_bytes(), 0);
    auto finished = aggregate->Finish(4, budget->root().get());
    ASSERT_TRUE(finished.ok()) << finished.status();
    ExpectEqual(*Values(result, expected), **finished);
    finished->reset();
    aggregate.reset();
    budget->DropCache();
    // Beside the column that the test holds nothing is left.
    EXPECT_EQ(budget->used_bytes(), 0);
  }
};

TEST_F(EachType, Order) {
  for (const auto& types : KeyTypes()) {
    Check(types, kMin, types.type, "[" + types.low + ", " + types.high + ", null, null]");
    Check(types, kMax, types.type, "[" + types.mid + ", " + types.high + ", null, null]");
    Check(types, kNUnique, arrow::int64(), "[2, 1, 0, 0]");
  }
}

TEST_F(EachType, Rows) {
  for (const auto& types : AllTypes()) {
    Check(types, kCount, arrow::int64(), "[3, 1, 0, 0]");
    Check(types, kFirst, types.type, "[" + types.mid + ", null, null, null]");
    Check(types, kLast, types.type, "[null, " + types.high + ", null, null]");
    Check(types, kList, arrow::list(types.type),
          "[[" + types.mid + ", " + types.low + ", " + types.mid + ", null], [null, " + types.high +
              "], [null], []]");
  }
}

TEST_F(EachType, Booleans) {
  const TypeCase types{arrow::boolean(), "false", "true", "true"};
  Check(types, kMin, types.type, "[false, true, null, null]");
  Check(types, kMax, types.type, "[true, true, null, null]");
  Check(types, kAny, types.type, "[true, true, null, null]");
  Check(types, kAll, types.type, "[false, true, null, null]");
  Check(types, kNUnique, arrow::int64(), "[2, 1, 0, 0]");
  Check(types, kCount, arrow::int64(), "[3, 1, 0, 0]");
  Check(types, kFirst, types.type, "[true, null, null, null]");
  Check(types, kList, arrow::list(types.type), "[[true, false, true, null], [null, true], [null], []]");
}

TEST_F(EachType, NothingButNulls) {
  const TypeCase types{arrow::null(), "null", "null", "null"};
  for (const auto function : {kMin, kMax, kFirst, kLast})
    Check(types, function, types.type, "[null, null, null, null]");
  for (const auto function : {kCount, kNUnique}) Check(types, function, arrow::int64(), "[0, 0, 0, 0]");
  Check(types, kList, arrow::list(types.type), "[[null, null, null, null], [null, null], [null], []]");
}

TEST(Aggregate, CountsRows) {
  auto budget = Budget::Make(kMiB);
  auto made = MakeAggregate({"n", kCountRows, ""}, nullptr, budget->root()).ValueOrDie();
  ASSERT_TRUE(made->Update(nullptr, GroupList{0, 2, 2}, 3).ok());
  ASSERT_TRUE(made->Update(nullptr, GroupList{3}, 5).ok());
  ExpectEqual(*Values(arrow::int64(), "[1, 0, 2, 1, 0]"),
              *made->Finish(5, budget->root().get()).ValueOrDie());
}

// Dictionaries that differ from batch to batch, with a null behind an index too.
TEST(Aggregate, Dictionaries) {
  const auto run = [](AggregateFunction function, const TypePtr& type) {
    auto budget = Budget::Make(kMiB);
    auto aggregate = New(function, type, budget->root());
    const auto one = arrow::json::DictArrayFromJSONString(type, "[0, 1, 2, null]", R"(["pear", null, "fig"])")
                         .ValueOrDie();
    const auto two = arrow::json::DictArrayFromJSONString(type, "[1, 0]", R"(["fig", "apple"])").ValueOrDie();
    EXPECT_TRUE(aggregate->Update(one.get(), GroupList{0, 0, 1, 2}, 3).ok());
    EXPECT_TRUE(aggregate->Update(two.get(), GroupList{0, 1}, 3).ok());
    auto result = aggregate->Finish(3, budget->root().get());
    EXPECT_TRUE(result.ok()) << result.status();
    EXPECT_TRUE((*result)->ValidateFull().ok());
    return *result;
  };
  for (const auto& index : {arrow::int8(), arrow::int32(), arrow::uint8(), arrow::uint32()}) {
    const auto type = arrow::dictionary(index, arrow::utf8());
    const auto plain = [&](AggregateFunction function) {
      const auto result = run(function, type);
      EXPECT_EQ(result->type()->ToString(), type->ToString());
      return arrow::compute::Cast(*result, arrow::utf8()).ValueOrDie();
    };
    ExpectEqual(*Values(arrow::utf8(), R"(["apple", "fig", null])"), *plain(kMin));
    ExpectEqual(*Values(arrow::utf8(), R"(["pear", "fig", null])"), *plain(kMax));
    ExpectEqual(*Values(arrow::utf8(), R"(["pear", "fig", null])"), *plain(kFirst));
    ExpectEqual(*Values(arrow::utf8(), R"(["apple", "fig", null])"), *plain(kLast));
    ExpectEqual(*Values(arrow::int64(), "[2, 2, 0]"), *run(kCount, type));
    ExpectEqual(*Values(arrow::int64(), "[2, 1, 0]"), *run(kNUnique, type));
    const auto lists = run(kList, type);
    const auto& items = *static_cast<const arrow::ListArray&>(*lists).values();
    ExpectEqual(*Values(arrow::utf8(), R"(["pear", null, "apple", "fig", "fig", null])"),
                *arrow::compute::Cast(items, arrow::utf8()).ValueOrDie());
  }
}

TEST(Aggregate, NaNIsTheGreatestValueAndZerosHaveAnOrder) {
  for (const auto& type : {arrow::float16(), arrow::float32(), arrow::float64()}) {
    const auto column = Values(type, "[NaN, 1, NaN, Inf, -Inf, NaN, -0.0, 0.0, 0.0, -0.0]");
    const GroupList groups = {0, 0, 1, 2, 2, 2, 3, 3, 4, 4};
    ExpectEqual(*Values(type, "[1, NaN, -Inf, -0.0, -0.0]"), *Compute(kMin, column, groups, 5).ValueOrDie());
    ExpectEqual(*Values(type, "[NaN, NaN, NaN, 0.0, 0.0]"), *Compute(kMax, column, groups, 5).ValueOrDie());
    ExpectEqual(*Values(arrow::int64(), "[2, 1, 3, 1, 1]"),
                *Compute(kNUnique, column, groups, 5).ValueOrDie());
  }
}

TEST(Aggregate, UniqueValuesOfManyGroups) {
  std::mt19937_64 random(3);
  auto budget = Budget::Make(256 * kMiB);
  for (const auto& type : {arrow::int64(), arrow::utf8()}) {
    auto aggregate = New(kNUnique, type, budget->root());
    std::set<std::pair<uint64_t, std::string>> seen;
    std::vector<int64_t> expected;
    uint32_t first = 0, groups_now = 0;
    for (int update = 0; update < 60; ++update) {
      groups_now += static_cast<uint32_t>(random() % 50) + 1;
      expected.resize(first + groups_now);
      arrow::StringBuilder builder;
      GroupList groups;
      for (int i = 0; i < 1000; ++i) {
        groups.push_back(static_cast<uint32_t>(random() % groups_now));
        // Of one length and of many, below and above 16 bytes.
        std::string value = std::to_string(random() % 40);
        if (type->id() == arrow::Type::STRING && random() % 2) value.insert(0, value.size() * 9, 'x');
        if (seen.emplace(first + groups.back(), value).second) ++expected[first + groups.back()];
        ASSERT_TRUE(builder.Append(value).ok());
      }
      const auto text = builder.Finish().ValueOrDie();
      const auto column = arrow::compute::Cast(*text, type).ValueOrDie();
      ASSERT_TRUE(aggregate->Update(column.get(), groups, groups_now).ok());
      const auto done = static_cast<uint32_t>(random() % 4 == 0 ? random() % (groups_now + 1) : 0);
      const auto result = aggregate->Finish(done, budget->root().get()).ValueOrDie();
      for (uint32_t g = 0; g < done; ++g) {
        ASSERT_EQ(static_cast<const arrow::Int64Array&>(*result).Value(g), expected[first + g]);
      }
      first += done;
      groups_now -= done;
    }
  }
}

TEST(Aggregate, RefusesWhatMakesNoSense) {
  auto budget = Budget::Make(kMiB);
  const auto status = MakeAggregate({"x", kSum, "v"}, arrow::utf8(), budget->root()).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_FALSE(MakeAggregate({"x", kMin, "v"}, arrow::list(arrow::int8()), budget->root()).ok());
  auto sum = New(kSum, arrow::int32(), budget->root());
  const auto column = Values(arrow::int32(), "[1, 2]");
  EXPECT_EQ(KindOf(sum->Update(nullptr, GroupList{0, 0}, 1)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(sum->Update(column.get(), GroupList{0}, 1)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(sum->Update(column.get(), GroupList{0, 1}, 1)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(sum->Update(Values(arrow::int64(), "[1, 2]").get(), GroupList{0, 0}, 1)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(sum->Finish(1, budget->root().get()).status()), ErrorKind::kBug);
  ASSERT_TRUE(sum->Update(column.get(), GroupList{0, 0}, 1).ok());
  ExpectEqual(*Values(arrow::int64(), "[3]"), *sum->Finish(1, budget->root().get()).ValueOrDie());
}

// Every function on random rows: in one piece; and in random pieces, finishing groups in front now and then,
// where every allocation is refused once. Both have the same results, to the bit.
class Refusals : public testing::TestWithParam<std::pair<AggregateFunction, TypePtr>> {};

TEST_P(Refusals, ChangeNothing) {
  const auto& [function, type] = GetParam();
  constexpr uint32_t kGroups = 40;
  constexpr size_t kRows = 1500;
  std::mt19937_64 random(5);
  arrow::StringBuilder builder;
  GroupList groups;
  for (size_t i = 0; i < kRows; ++i) {
    // Groups come up one after another and go on for a while.
    groups.push_back(
        static_cast<uint32_t>(std::min<size_t>(i * kGroups / kRows + random() % 4, kGroups - 1)));
    const auto digits = std::to_string(random() % 1000);
    const auto text = type->id() == arrow::Type::DOUBLE && random() % 2
                          ? digits + "e" + std::to_string(static_cast<int>(random() % 600) - 300)
                      : type->id() == arrow::Type::STRING && random() % 2 ? "a prefix that is long " + digits
                      : type->id() == arrow::Type::BOOL                   ? std::to_string(random() % 2)
                                                                          : digits;
    ASSERT_TRUE((random() % 10 == 0 ? builder.AppendNull() : builder.Append(text)).ok());
  }
  const auto column = arrow::compute::Cast(*builder.Finish().ValueOrDie(), type).ValueOrDie();
  const auto expected = Compute(function, column, groups, kGroups).ValueOrDie();

  for (int64_t nth = 1;; ++nth) {
    auto budget = Budget::Make(64 * kMiB);
    auto aggregate = New(function, type, budget->root());
    budget->FailNthAllocation(nth);
    arrow::ArrayVector results;
    uint32_t first = 0, last = 0;
    const auto finish = [&](uint32_t count) {
      auto result = aggregate->Finish(count, budget->root().get());
      if (!result.ok()) {
        ASSERT_TRUE(result.status().IsOutOfMemory()) << result.status();
        result = aggregate->Finish(count, budget->root().get());
      }
      ASSERT_TRUE(result.ok()) << result.status();
      results.push_back(*result);
      first += count;
    };
    for (size_t begin = 0; begin < kRows;) {
      const size_t rows = std::min<size_t>(kRows - begin, 10 + random() % 10);
      GroupList part(groups.begin() + static_cast<int64_t>(begin),
                     groups.begin() + static_cast<int64_t>(begin + rows));
      const uint32_t least = static_cast<uint32_t>(begin * kGroups / kRows);  // groups below come no more
      if (random() % 5 == 0 && least > first) finish(least - first);
      if (HasFatalFailure()) return;
      for (auto& group : part) {
        last = std::max(last, group + 1);
        group -= first;
      }
      const auto slice = column->Slice(static_cast<int64_t>(begin), static_cast<int64_t>(rows));
      auto status = aggregate->Update(slice.get(), part, last - first);
      if (!status.ok()) {
        ASSERT_TRUE(status.IsOutOfMemory()) << status;
        status = aggregate->Update(slice.get(), part, last - first);
      }
      ASSERT_TRUE(status.ok()) << status;
      begin += rows;
    }
    finish(kGroups - first);
    if (HasFatalFailure()) return;
    ExpectEqual(*expected, *arrow::Concatenate(results).ValueOrDie());
    if (HasFailure()) FAIL() << "where allocation " << nth << " was refused";
    results.clear();
    aggregate.reset();
    budget->DropCache();
    ASSERT_EQ(budget->used_bytes(), 0);
    if (budget->refusals() == 0) break;
    if (nth > 100) nth += nth / 10;  // most are alike
  }
}

INSTANTIATE_TEST_SUITE_P(
    Functions, Refusals,
    testing::Values(std::pair(kCount, arrow::utf8()), std::pair(kSum, arrow::float64()),
                    std::pair(kMean, arrow::float64()), std::pair(kVar, arrow::float32()),
                    std::pair(kStd, arrow::float64()), std::pair(kSum, arrow::int32()),
                    std::pair(kVar, arrow::int64()), std::pair(kSum, arrow::decimal128(20, 3)),
                    std::pair(kVar, arrow::decimal128(20, 3)), std::pair(kMin, arrow::float64()),
                    std::pair(kMax, arrow::int16()), std::pair(kMin, arrow::utf8()),
                    std::pair(kMax, arrow::large_utf8()), std::pair(kMax, arrow::decimal256(40, 3)),
                    std::pair(kAny, arrow::boolean()), std::pair(kFirst, arrow::utf8()),
                    std::pair(kLast, arrow::float64()), std::pair(kList, arrow::utf8()),
                    std::pair(kNUnique, arrow::utf8()), std::pair(kNUnique, arrow::int64())),
    [](const auto& info) {
      return std::string(AggregateFunctionName(info.param.first)) + "_" +
             std::string(info.param.second->name());
    });

}  // namespace
}  // namespace partita
