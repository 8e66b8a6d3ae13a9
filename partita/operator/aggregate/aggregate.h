// The functions of group_by. An Aggregate holds the states of one function for many groups, in columns. What
// each function gives, and of which types: pipeline/aggregate.h.
//
// Values that compare equal but differ in bits have one answer too, whatever the order of rows: min and max
// hold -0 less than 0, all NaN one value above infinity. Sums of floats are exact, then rounded once; a sum
// of zeros is +0. var and std are NaN where a square passes the range of float64.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "partita/base/error.h"
#include "partita/pipeline/aggregate.h"

namespace arrow {
class Array;
class DataType;
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

class BudgetPool;

// Where a function finds its values among columns: in one, in two as a struct of both, or in none.
class AggregateInput {
 public:
  AggregateInput() = default;
  static Result<AggregateInput> Make(const AggregateSpec& spec, const arrow::Schema& schema);
  const std::shared_ptr<arrow::DataType>& type() const { return type_; }  // null: none
  std::shared_ptr<arrow::Array> Of(const arrow::RecordBatch& batch) const;

 private:
  int column_ = -1, other_ = -1;
  std::shared_ptr<arrow::DataType> type_;
};

// Groups are numbered from 0. first, last and list go by the order of updates and
// rows, the others do not depend on it. One caller at a time.
class Aggregate {
 public:
  virtual ~Aggregate() = default;
  // column: the input values of some rows (null for count()); groups[i]: the group of row i, all <
  // num_groups. Groups that are new begin empty. When memory is refused nothing has changed.
  virtual Status Update(const arrow::Array* column, std::span<const uint32_t> groups,
                        uint32_t num_groups) = 0;
  // The results of the groups [0, count), which are then forgotten: group g becomes g - count. After an error
  // nothing has changed; a sum that passes its type is a data error.
  virtual Result<std::shared_ptr<arrow::Array>> Finish(uint32_t count, arrow::MemoryPool* pool) = 0;

  // States as columns, so that who combines rows can hand over what it has to who merges it. A merge of
  // states gives what an update with their rows would have given, bit for bit; first, last and list go by the
  // order of merges. The types; none: this function cannot (CombinesStates, pipeline/aggregate.h).
  virtual std::vector<std::shared_ptr<arrow::DataType>> state_types() const = 0;
  // The states of `groups`, a row each. Nothing changes.
  virtual Result<std::vector<std::shared_ptr<arrow::Array>>> Export(std::span<const uint32_t> groups,
                                                                    arrow::MemoryPool* pool) = 0;
  // states: what Export gave; groups[i]: into which group row i goes. As Update.
  virtual Status Merge(const std::vector<std::shared_ptr<arrow::Array>>& states,
                       std::span<const uint32_t> groups, uint32_t num_groups) = 0;

  virtual int64_t size_bytes() const = 0;  // memory of all states, about
};

// input: the column's type; not looked at for count(). All states come from `pool`. A user error where the
// function does not take the type.
Result<std::unique_ptr<Aggregate>> MakeAggregate(const AggregateSpec& spec,
                                                 const std::shared_ptr<arrow::DataType>& input,
                                                 std::shared_ptr<BudgetPool> pool);

}  // namespace partita
