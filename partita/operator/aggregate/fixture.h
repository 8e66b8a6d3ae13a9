// What the tests of aggregates share.
#pragma once

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/units.h"
#include "partita/memory/budget.h"
#include "partita/operator/aggregate/aggregate.h"

namespace partita {

using ArrayPtr = std::shared_ptr<arrow::Array>;
using TypePtr = std::shared_ptr<arrow::DataType>;
using GroupList = std::vector<uint32_t>;

inline ArrayPtr Values(const TypePtr& type, std::string_view json) {
  return arrow::json::ArrayFromJSONString(type, json).ValueOrDie();
}

inline std::unique_ptr<Aggregate> New(AggregateFunction function, const TypePtr& type,
                                      const std::shared_ptr<BudgetPool>& pool) {
  auto made = MakeAggregate({"x", function, "v"}, type, pool);
  EXPECT_TRUE(made.ok()) << made.status();
  return *std::move(made);
}

// The results of groups [0, count) of one update.
inline Result<ArrayPtr> Compute(AggregateFunction function, const ArrayPtr& column, const GroupList& groups,
                                uint32_t count) {
  auto budget = Budget::Make(256 * kMiB);
  auto aggregate = New(function, column->type(), budget->root());
  ARROW_RETURN_NOT_OK(aggregate->Update(column.get(), groups, count));
  ARROW_ASSIGN_OR_RAISE(auto result, aggregate->Finish(count, arrow::default_memory_pool()));
  ARROW_RETURN_NOT_OK(result->ValidateFull());
  return result;
}

inline void ExpectEqual(const arrow::Array& expected, const arrow::Array& actual) {
  EXPECT_TRUE(actual.ValidateFull().ok()) << actual.ValidateFull();
  EXPECT_EQ(expected.type()->ToString(), actual.type()->ToString());
  EXPECT_TRUE(expected.Equals(actual, arrow::EqualOptions().nans_equal(true).signed_zeros_equal(false)))
      << "expected " << expected.ToString() << "\ngot " << actual.ToString();
}

}  // namespace partita
