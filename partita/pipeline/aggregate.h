// Aggregates of group_by: what can be computed of the rows of a group, and which type it has. Pure; the one
// definition for pipeline, plan and engine.
//
// Text: a single call on a plain column, "sum(v)", "mean(\"odd name\")", or "count()" for the number of rows.
// Other names that SQL, pandas and Polars users write (avg, stddev, variance, nunique, ...) are read too.
//
//   function   of                        result             nulls
//   count()    rows                      int64              counted
//   count      any                       int64              not counted
//   sum        integers                  int64, uint64 of unsigned; overflow is a data error
//              floats, decimals          float64, decimal128(38, s) (decimal256(76, s) of decimal256)
//   mean, var, std   numbers             float64; var and std are of a sample (divided by n - 1)
//   min, max   what has an order         the column's type
//   any, all   bool                      bool
//   first, last   any                    the column's type: of the group's first or last row, null or not
//   list       any                       list<T>: all values in row order, nulls too
//   n_unique   what has an order         int64: the number of different values; null is none
//   approx_n_unique   what has an order  int64: an estimate of that from up to 4 KiB a group, with a
//                                        standard error of 1.6 %
//   quantile(v, q), median(v)   integers, floats   float64: linear between the values next to (n - 1) q
//   approx_quantile(v, q)   integers, floats       float64: the same of values cut to nine significant
//                                        bits, towards zero: by less than 1/256, integers up to 512 not
//   largest(v, n), smallest(v, n)   numbers, times   list<T>: so many at most, in their order; [] of none
//   corr(v, w)   integers, floats        float64: Pearson's correlation of the rows that have both values
//
// Nulls are left out of sum, mean, var, std, min, max, any, all and those below n_unique; of no value at all
// (for var, std and corr: of less than two) the result is null. NaN is greater than all numbers. corr is NaN
// where a column does not vary.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace partita {

inline constexpr int64_t kMaxKeptValues = 1000;  // of largest and smallest

enum class AggregateFunction {
  kCountRows,  // "count" without a column
  kCount,      // "count" of a column
  kSum,
  kMean,
  kMin,
  kMax,
  kVar,
  kStd,
  kAny,
  kAll,
  kFirst,
  kLast,
  kList,
  kNUnique,
  kApproxNUnique,
  kQuantile,  // and median
  kApproxQuantile,
  kLargest,
  kSmallest,
  kCorr,
};

struct AggregateSpec {
  std::string name;  // of the result's column
  AggregateFunction function = AggregateFunction::kCountRows;
  std::string column;  // "" for kCountRows
  std::string other;   // kCorr: the second column
  double number = 0;   // kQuantile, kApproxQuantile: q, from 0 to 1; kLargest, kSmallest: how many

  std::vector<std::string> columns() const;  // all that it reads
};

std::string_view AggregateFunctionName(AggregateFunction function);  // "count" for both counts

// "sum(v)" -> {name, kSum, "v"}. User errors name the nearest function.
Result<AggregateSpec> ParseAggregate(std::string name, std::string_view text);
std::string AggregateText(const AggregateSpec& aggregate);  // what ParseAggregate reads back

// The normal form of an argument of type kAggregateMap: [[name, text], ...], texts canonical, in the order
// given.
Result<std::vector<AggregateSpec>> AggregatesFromArgs(const Json& pairs);

// As plans hold them: [{"name": "t", "function": "sum", "column": "v" | null, "options": {}}, ...], with the
// options q of quantiles, n of largest and smallest, column of corr. FromJson checks hostile input.
Json AggregatesToJson(const std::vector<AggregateSpec>& aggregates);
Result<std::vector<AggregateSpec>> AggregatesFromJson(const Json& value);

// Whether rows of a group can be made a state that is merged with others (Aggregate::Export), so that a
// group_by of such functions alone combines its rows before the exchange. `input`: as AggregateInputType has
// it; only lists of nested and of encoded values cannot.
bool CombinesStates(AggregateFunction function, const std::shared_ptr<arrow::DataType>& input);

// What an aggregate is computed of: its column's type, of two columns a struct of both; null for count().
Result<std::shared_ptr<arrow::DataType>> AggregateInputType(const AggregateSpec& aggregate,
                                                            const arrow::Schema& input);

// `input`: as above; not looked at for kCountRows. A user error where the function does not take it.
Result<std::shared_ptr<arrow::DataType>> AggregateResultType(AggregateFunction function,
                                                             const std::shared_ptr<arrow::DataType>& input);

// The columns of a group_by: the fields of `keys`, then one nullable field an aggregate. Unknown columns,
// types that a function does not take and names that clash are user errors.
Result<std::shared_ptr<arrow::Schema>> AggregateSchema(const std::vector<std::string>& keys,
                                                       const std::vector<AggregateSpec>& aggregates,
                                                       const arrow::Schema& input);

}  // namespace partita
