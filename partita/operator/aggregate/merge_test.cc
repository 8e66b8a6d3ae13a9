// States that travel: rows that are updated in parts, exported and merged are worth what they are at once.
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "partita/operator/aggregate/fixture.h"

namespace partita {
namespace {

using enum AggregateFunction;

struct Column {
  AggregateFunction function;
  ArrayPtr values;  // null: count()
  double number = 0;
};

ArrayPtr Doubles(std::mt19937_64* random, int64_t rows) {
  const std::vector<double> odd = {0.0,
                                   -0.0,
                                   1e308,
                                   -1e308,
                                   1e-320,
                                   1e16,
                                   1,
                                   -1e16,
                                   1.5,
                                   std::nan(""),
                                   std::numeric_limits<double>::infinity(),
                                   3e-9};
  arrow::DoubleBuilder builder;
  for (int64_t i = 0; i < rows; ++i) {
    const auto pick = (*random)();
    if (pick % 9 == 0) {
      EXPECT_TRUE(builder.AppendNull().ok());
    } else if (pick % 5 == 0) {
      EXPECT_TRUE(builder.Append(odd[(pick >> 8) % odd.size()]).ok());
    } else {
      EXPECT_TRUE(
          builder.Append(std::ldexp(static_cast<double>(pick >> 11), static_cast<int>(pick % 60) - 80)).ok());
    }
  }
  return *builder.Finish();
}

template <typename Builder, typename Make>
ArrayPtr Random(Builder builder, std::mt19937_64* random, int64_t rows, Make make) {
  for (int64_t i = 0; i < rows; ++i) {
    const auto pick = (*random)();
    EXPECT_TRUE((pick % 7 == 0 ? builder.AppendNull() : builder.Append(make(pick >> 8))).ok());
  }
  return *builder.Finish();
}

std::vector<Column> Columns(std::mt19937_64* random, int64_t rows) {
  const auto doubles = Doubles(random, rows), other = Doubles(random, rows);
  const auto ints = Random(arrow::Int64Builder(), random, rows,
                           [](uint64_t pick) { return static_cast<int64_t>(pick << 9) / 1000; });
  const auto bytes =
      Random(arrow::UInt8Builder(), random, rows, [](uint64_t pick) { return static_cast<uint8_t>(pick); });
  const auto flags =
      Random(arrow::BooleanBuilder(), random, rows, [](uint64_t pick) { return pick % 3 == 0; });
  const auto words = Random(arrow::StringBuilder(), random, rows, [](uint64_t pick) {
    return std::string(pick % 20, static_cast<char>('a' + pick % 5));
  });
  const auto money =
      Random(arrow::Decimal128Builder(arrow::decimal128(20, 3)), random, rows,
             [](uint64_t pick) { return arrow::Decimal128(static_cast<int64_t>(pick) % 100'000'007); });
  const auto pairs =
      *arrow::StructArray::Make(arrow::ArrayVector{bytes, doubles}, std::vector<std::string>{"0", "1"});
  std::vector<Column> columns = {{kCountRows, nullptr}, {kAny, flags}, {kAll, flags}, {kMin, flags}};
  for (const auto function : {kCount, kMin, kMax, kFirst, kLast, kList, kNUnique, kApproxNUnique}) {
    for (const auto& values : {doubles, ints, bytes, words, money}) columns.push_back({function, values});
  }
  for (const auto function : {kSum, kMean, kVar, kStd}) {
    for (const auto& values : {doubles, bytes, money}) columns.push_back({function, values});
  }
  for (const auto& values : {doubles, ints, bytes}) {
    columns.push_back({kQuantile, values, 0.3});
    columns.push_back({kApproxQuantile, values, 0.7});
    columns.push_back({kLargest, values, 3});
    columns.push_back({kSmallest, values, 1});
  }
  columns.push_back({kSmallest, money, 4});
  columns.push_back({kCorr, pairs});
  return columns;
}

std::unique_ptr<Aggregate> NewOf(const Column& column, const std::shared_ptr<BudgetPool>& pool) {
  AggregateSpec spec{"x", column.function, "v"};
  spec.number = column.number;
  auto made = MakeAggregate(spec, column.values ? column.values->type() : nullptr, pool);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

Status Update(Aggregate* aggregate, const Column& column, const GroupList& groups, int64_t from, int64_t to,
              uint32_t count) {
  const auto part = column.values ? column.values->Slice(from, to - from) : nullptr;
  return aggregate->Update(part.get(), {groups.data() + from, static_cast<size_t>(to - from)}, count);
}

// Bits, not values: -0 and 0 differ, NaN is NaN.
void ExpectSameBits(const arrow::Array& a, const arrow::Array& b) {
  EXPECT_TRUE(a.Equals(b, arrow::EqualOptions().nans_equal(true).signed_zeros_equal(false)))
      << a.ToString() << "\n"
      << b.ToString();
}

TEST(AggregateMerge, PartsAreWorthTheWhole) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    std::mt19937_64 random(seed);
    const int64_t rows = 40 * static_cast<int64_t>(seed);
    constexpr uint32_t kGroups = 9;
    GroupList groups;
    for (int64_t i = 0; i < rows; ++i)
      groups.push_back(static_cast<uint32_t>(random() % kGroups % (seed + 1)));
    for (const auto& column : Columns(&random, rows)) {
      SCOPED_TRACE(std::string(AggregateFunctionName(column.function)) + " " +
                   (column.values ? column.values->type()->ToString() : "") + " seed " +
                   std::to_string(seed));
      auto budget = Budget::Make(64 * kMiB);
      auto whole = NewOf(column, budget->root()), merged = NewOf(column, budget->root());
      ASSERT_TRUE(Update(whole.get(), column, groups, 0, rows, kGroups).ok());
      for (int64_t from = 0; from < rows;) {
        const int64_t to = std::min<int64_t>(rows, from + 1 + static_cast<int64_t>(random() % 60));
        auto part = NewOf(column, budget->root());
        ASSERT_TRUE(Update(part.get(), column, groups, from, to, kGroups).ok());
        // In two exports, groups in another order, into groups of other numbers.
        for (const GroupList& some : {GroupList{8, 1, 3, 5}, GroupList{7, 6, 4, 2, 0}}) {
          auto states = part->Export(some, budget->root().get());
          ASSERT_TRUE(states.ok()) << states.status();
          ASSERT_EQ(states->size(), part->state_types().size());
          GroupList into;
          for (const uint32_t group : some) into.push_back(kGroups - 1 - group);
          for (const auto& [begin, end] : {std::pair<size_t, size_t>(0, 1), {1, some.size()}}) {
            arrow::ArrayVector rows_of;  // states that do not begin where their buffers do
            for (const auto& state : *states) {
              ASSERT_TRUE(state->ValidateFull().ok()) << state->ValidateFull();
              rows_of.push_back(state->Slice(static_cast<int64_t>(begin), static_cast<int64_t>(end - begin)));
            }
            const auto status = merged->Merge(rows_of, {into.data() + begin, end - begin}, kGroups);
            ASSERT_TRUE(status.ok()) << status;
          }
        }
        from = to;
      }
      // Finished in two steps.
      auto expected = whole->Finish(kGroups, arrow::default_memory_pool());
      auto head = merged->Finish(4, arrow::default_memory_pool());
      auto tail = merged->Finish(kGroups - 4, arrow::default_memory_pool());
      ASSERT_TRUE(expected.ok() && head.ok() && tail.ok())
          << expected.status() << head.status() << tail.status();
      const auto found = *arrow::Concatenate({*head, *tail});
      for (uint32_t g = 0; g < kGroups; ++g)
        ExpectSameBits(*(*expected)->Slice(g, 1), *found->Slice(kGroups - 1 - g, 1));
    }
  }
}

TEST(AggregateMerge, StatesOfAnotherFunctionAreABug) {
  auto budget = Budget::Make(8 * kMiB);
  auto sum = New(kSum, arrow::int32(), budget->root()), most = New(kMax, arrow::int32(), budget->root());
  const auto values = Values(arrow::int32(), "[1, 2]");
  ASSERT_TRUE(most->Update(values.get(), GroupList{0, 1}, 2).ok());
  const auto states = most->Export(GroupList{0, 1}, budget->root().get());
  ASSERT_TRUE(states.ok());
  EXPECT_EQ(KindOf(sum->Merge(*states, GroupList{0, 1}, 2)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(most->Merge(*states, GroupList{0}, 2)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(most->Merge(*states, GroupList{0, 5}, 2)), ErrorKind::kBug);
  EXPECT_EQ(KindOf(most->Export(GroupList{2}, budget->root().get()).status()), ErrorKind::kBug);
}

ArrayPtr ComputeNumber(AggregateFunction function, double number, const ArrayPtr& values) {
  auto budget = Budget::Make(64 * kMiB);
  auto aggregate = NewOf({function, values, number}, budget->root());
  EXPECT_TRUE(aggregate->Update(values.get(), GroupList(static_cast<size_t>(values->length()), 0), 2).ok());
  auto result = aggregate->Finish(2, arrow::default_memory_pool());
  EXPECT_TRUE(result.ok()) << result.status();
  return *result;
}

TEST(Quantile, LiesBetweenItsNeighbours) {
  const auto values = Values(arrow::int32(), "[40, 10, null, 30, 20]");
  const auto at = [&](double q) { return ComputeNumber(kQuantile, q, values)->ToString(); };
  EXPECT_EQ(ComputeNumber(kQuantile, 0.5, values)->ToString(),
            Values(arrow::float64(), "[25, null]")->ToString());
  EXPECT_EQ(at(0), Values(arrow::float64(), "[10, null]")->ToString());
  EXPECT_EQ(at(1), Values(arrow::float64(), "[40, null]")->ToString());
  EXPECT_EQ(at(0.1), Values(arrow::float64(), "[13, null]")->ToString());
}

// Of so many numbers that they are counted before they change places.
TEST(Quantile, OfManyNumbersIsThatOfSortedOnes) {
  std::mt19937_64 random(4);
  const auto unit = [&] { return static_cast<double>(random() >> 11) * 0x1p-53; };
  const std::vector<std::function<double()>> kinds = {
      unit,
      [&] { return 1 + unit() * 1e-12; },
      [&] { return static_cast<double>(random() % 3) - 1; },
      [&] { return std::ldexp(unit() - 0.5, static_cast<int>(random() % 1000) - 500); },
      [&] {
        return random() % 10 < 5 ? 7 : random() % 2 ? std::numeric_limits<double>::infinity() : -unit();
      },
      [&] { return 5.0; },
  };
  for (const auto& kind : kinds) {
    for (const size_t count : {2047, 2048, 30000}) {
      std::vector<double> numbers(count);
      std::generate(numbers.begin(), numbers.end(), kind);
      arrow::DoubleBuilder builder;
      ASSERT_TRUE(builder.AppendValues(numbers).ok());
      const ArrayPtr values = *builder.Finish();
      std::sort(numbers.begin(), numbers.end());
      for (const double q : {0.0, 1e-5, 0.25, 0.4999, 0.5, 0.99, 1.0}) {
        const double place = static_cast<double>(count - 1) * q, part = place - std::floor(place);
        const double low = numbers[static_cast<size_t>(place)];
        const double high = part > 0 ? numbers[static_cast<size_t>(place) + 1] : low;
        const double expected = low == high || std::isinf(low) ? low : low + (high - low) * part;
        const auto found =
            static_cast<const arrow::DoubleArray&>(*ComputeNumber(kQuantile, q, values)).Value(0);
        EXPECT_EQ(found, expected) << count << " " << q;
      }
    }
  }
}

TEST(Quantile, NaNIsGreaterThanInfinity) {
  const double inf = std::numeric_limits<double>::infinity();
  arrow::DoubleBuilder builder;
  ASSERT_TRUE(builder.AppendValues({std::nan(""), inf, -inf, 2, inf}).ok());
  const ArrayPtr values = *builder.Finish();
  const auto at = [&](double q) {
    return static_cast<const arrow::DoubleArray&>(*ComputeNumber(kQuantile, q, values)).Value(0);
  };
  EXPECT_EQ(at(0), -inf);
  EXPECT_EQ(at(0.25), 2);
  EXPECT_EQ(at(0.1), -inf);
  EXPECT_EQ(at(0.6), inf);
  EXPECT_TRUE(std::isnan(at(0.9)));
}

// What is counted is the values with less than nine bits of theirs left, towards zero.
TEST(ApproxQuantile, IsTheQuantileOfCutValues) {
  std::mt19937_64 random(3);
  arrow::DoubleBuilder exact, cut;
  for (int i = 0; i < 2000; ++i) {
    const double value =
        std::ldexp(static_cast<double>(random() >> 11), static_cast<int>(random() % 40) - 70) *
        (random() % 3 == 0 ? -1 : 1);
    ASSERT_TRUE(exact.Append(value).ok());
    ASSERT_TRUE(
        cut.Append(std::ldexp(std::trunc(std::ldexp(value, 8 - std::ilogb(value))), std::ilogb(value) - 8))
            .ok());
  }
  const ArrayPtr values = *exact.Finish(), cut_values = *cut.Finish();
  for (const double q : {0.0, 0.01, 0.3, 0.5, 0.777, 1.0})
    ExpectEqual(*ComputeNumber(kQuantile, q, cut_values), *ComputeNumber(kApproxQuantile, q, values));
  const auto whole = Values(arrow::int16(), "[512, 3, null, -511, 0, 100]");
  for (const double q : {0.0, 0.3, 0.5, 1.0})
    ExpectEqual(*ComputeNumber(kQuantile, q, whole), *ComputeNumber(kApproxQuantile, q, whole));
  const auto odd = Values(arrow::float64(), "[NaN, Inf, -Inf, 2, Inf, 1e-320]");
  for (const double q : {0.0, 0.1, 0.25, 0.6, 0.9, 1.0}) {
    const auto like = Values(arrow::float64(), "[NaN, Inf, -Inf, 2, Inf, 0]");
    ExpectEqual(*ComputeNumber(kQuantile, q, like), *ComputeNumber(kApproxQuantile, q, odd));
  }
}

TEST(ApproxUnique, IsNearWhateverTheNumber) {
  for (const int64_t number : {0, 1, 2, 10, 100, 380, 390, 2000, 10'000, 200'000}) {
    arrow::Int64Builder builder;
    for (int64_t i = 0; i < 2 * number; ++i) ASSERT_TRUE(builder.Append(i % number * 7919).ok());
    ASSERT_TRUE(builder.AppendNull().ok());
    const auto result = ComputeNumber(kApproxNUnique, 0, *builder.Finish());
    const auto found = static_cast<const arrow::Int64Array&>(*result).Value(0);
    EXPECT_NEAR(static_cast<double>(found), static_cast<double>(number), 0.05 * static_cast<double>(number))
        << number;
    EXPECT_EQ(static_cast<const arrow::Int64Array&>(*result).Value(1), 0);
  }
}

// Memory is refused in the middle of rows: with them once more, elsewhere, nothing is missing or counted
// twice.
TEST(Approximate, TakesRowsAgainAfterARefusal) {
  for (const auto function : {kApproxNUnique, kApproxQuantile}) {
    auto budget = Budget::Make(kMiB), large = Budget::Make(256 * kMiB);
    std::mt19937_64 random(6);
    arrow::Int64Builder builder;
    GroupList groups;
    for (int i = 0; i < 100'000; ++i) {
      ASSERT_TRUE(builder.Append(static_cast<int64_t>(random() % 1'000'000)).ok());
      groups.push_back(static_cast<uint32_t>(random() % 300));
    }
    const Column column{function, *builder.Finish(), 0.9};
    auto whole = NewOf(column, large->root()), merged = NewOf(column, large->root());
    ASSERT_TRUE(Update(whole.get(), column, groups, 0, 100'000, 300).ok());
    GroupList all(300);
    std::iota(all.begin(), all.end(), 0);
    const auto move = [&](std::unique_ptr<Aggregate>* part) {
      const auto states = (*part)->Export(all, large->root().get());
      ASSERT_TRUE(states.ok()) << states.status();
      ASSERT_TRUE(merged->Merge(*states, all, 300).ok());
      part->reset();
      *part = NewOf(column, budget->root());
      ASSERT_TRUE((*part)->Update(column.values->Slice(0, 0).get(), {}, 300).ok());
    };
    auto part = NewOf(column, budget->root());
    ASSERT_TRUE(part->Update(column.values->Slice(0, 0).get(), {}, 300).ok());
    int refusals = 0;
    for (int64_t row = 0; row < 100'000; row += 1000) {
      auto status = Update(part.get(), column, groups, row, row + 1000, 300);
      if (status.IsOutOfMemory()) {
        ++refusals;
        move(&part);
        status = Update(part.get(), column, groups, row, row + 1000, 300);
      }
      ASSERT_TRUE(status.ok()) << status;
    }
    move(&part);
    EXPECT_GT(refusals, 0);
    ExpectEqual(**whole->Finish(300, arrow::default_memory_pool()),
                **merged->Finish(300, arrow::default_memory_pool()));
  }
}

TEST(Kept, AreInOrderAndNoMoreThanThereAre) {
  const auto values = Values(arrow::int16(), "[4, null, -1, 4, 9]");
  const auto lists = arrow::list(arrow::int16());
  ExpectEqual(*Values(lists, "[[9, 4, 4], []]"), *ComputeNumber(kLargest, 3, values));
  ExpectEqual(*Values(lists, "[[-1], []]"), *ComputeNumber(kSmallest, 1, values));
  ExpectEqual(*Values(lists, "[[9, 4, 4, -1], []]"), *ComputeNumber(kLargest, 1000, values));
}

TEST(Correlation, OfLinesIsOne) {
  const auto type = arrow::struct_({arrow::field("0", arrow::int32()), arrow::field("1", arrow::float64())});
  const auto of = [&](std::string_view json) {
    return static_cast<const arrow::DoubleArray&>(*ComputeNumber(kCorr, 0, Values(type, json))).Value(0);
  };
  EXPECT_EQ(of("[[1, 2], [2, 4], [3, 6], [null, 7], [9, null]]"), 1);
  EXPECT_EQ(of("[[1, 2], [2, 1], [3, 0]]"), -1);
  EXPECT_NEAR(of("[[1, 1], [2, 3], [3, 2]]"), 0.5, 1e-15);
  EXPECT_TRUE(std::isnan(of("[[1, 1], [1, 3]]")));
  EXPECT_TRUE(ComputeNumber(kCorr, 0, Values(type, "[[1, 1]]"))->IsNull(0));
}

}  // namespace
}  // namespace partita
