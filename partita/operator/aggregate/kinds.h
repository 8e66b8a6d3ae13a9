// The families of aggregates, one file each. Private to the aggregates.
#pragma once

#include <memory>

#include "partita/memory/budget.h"
#include "partita/operator/aggregate/aggregate.h"

namespace partita {

struct AggregateInit {
  AggregateFunction function = AggregateFunction::kCountRows;
  std::shared_ptr<arrow::DataType> input;   // null for kCountRows
  std::shared_ptr<arrow::DataType> output;  // AggregateResultType has agreed
  std::shared_ptr<BudgetPool> pool;
  double number = 0;  // of AggregateSpec
};

using AggregatePtr = std::unique_ptr<Aggregate>;

AggregatePtr MakeCount(const AggregateInit& init);
AggregatePtr MakeAnyAll(const AggregateInit& init);  // min and max of bool too
// sum, mean, var, std. Floats, and var and std of decimals; integers; sum and mean of decimals.
AggregatePtr MakeFloatMoment(const AggregateInit& init);
AggregatePtr MakeIntegerMoment(const AggregateInit& init);
AggregatePtr MakeDecimalMoment(const AggregateInit& init);
// min and max of numbers and times of up to 128 bits; null for other types.
AggregatePtr MakeExtreme(const AggregateInit& init);
// One row of each group: first, last; min and max of all other types.
AggregatePtr MakePick(const AggregateInit& init);
AggregatePtr MakeList(const AggregateInit& init);
AggregatePtr MakeUnique(const AggregateInit& init);
AggregatePtr MakeApproxUnique(const AggregateInit& init);
AggregatePtr MakeQuantile(const AggregateInit& init);
AggregatePtr MakeApproxQuantile(const AggregateInit& init);
AggregatePtr MakeKept(const AggregateInit& init);  // largest, smallest
AggregatePtr MakeCorrelation(const AggregateInit& init);

}  // namespace partita
