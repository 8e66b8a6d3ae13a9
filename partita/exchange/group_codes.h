// Rows whose keys are dictionary codes find their groups without a look at the values: what each combination
// of codes was found to be is remembered, so that the table is asked once for each, not once for each row.
//
// A key column is encoded where the rows have a dictionary for a column that by the plan has none
// (ReadRequest::may_encode). Its indices are of 32 bits and within the dictionary.
#pragma once

#include <arrow/array.h>

#include <memory>
#include <span>
#include <vector>

#include "partita/operator/aggregate/state.h"

namespace partita {

class GroupCodes {
 public:
  // `schema`: the key columns, by the plan.
  GroupCodes(std::shared_ptr<arrow::Schema> schema, const std::shared_ptr<BudgetPool>& pool);

  // Looks at the key columns of some rows. False: not all are encoded, or there are too many combinations to
  // remember.
  Result<bool> Read(const arrow::ArrayVector& columns);
  // Of the rows that Read looked at. unknown: the first rows of combinations that are not known, in order,
  // whose groups Learn wants; groups[i]: the group of row i, where none is unknown.
  void Find(std::span<uint32_t> groups, GroupVector<uint32_t>* unknown);
  void Learn(std::span<const uint32_t> found, std::span<uint32_t> groups,
             const GroupVector<uint32_t>& unknown);
  // Groups have other numbers from now on.
  void Forget();

  // The columns as the plan has them; of these rows alone where there are any.
  Result<std::shared_ptr<arrow::RecordBatch>> Plain(const arrow::ArrayVector& columns,
                                                    std::span<const uint32_t> rows,
                                                    arrow::MemoryPool* pool) const;

 private:
  bool IsEncoded(const arrow::ArrayVector& columns, size_t column) const;

  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::shared_ptr<arrow::ArrayData>> dictionaries_;  // that codes are of; none: nothing is known
  GroupVector<uint32_t> codes_;                                  // by row
  GroupVector<uint32_t> known_;  // by code: 1 + the group, kNew + the place in `unknown`, or 0
};

}  // namespace partita
