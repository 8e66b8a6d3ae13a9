// One batch on its way through workers, until it is done or its bad rows are known. Private to this room.
//
// What is tried and found bad are units: rows, or groups of rows that a function gets together.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "components/python/batch_search.h"
#include "partita/operator/operator.h"

namespace partita {

class BatchCall {
 public:
  // `starts`: the first row of each group; empty: every row is a unit.
  BatchCall(Block block, std::vector<int64_t> starts, const OperatorContext* context,
            AsyncTransform::Done on_done);

  // The rows of `in` that are tried now: those in [begin, end) whose units are not bad, `rows` of them.
  struct Span {
    int64_t begin = 0, end = 0, rows = 0;
    bool whole = false;
  };
  Span span() const;
  // These rows.
  Result<std::shared_ptr<arrow::RecordBatch>> Rows();
  // How many rows each group of them has; empty: every row is a unit.
  std::vector<int64_t> GroupRows() const;
  // Which row of `in` the `i`-th of them is.
  int64_t RowAt(int64_t i) const {
    return picked_.empty() ? span().begin + i : picked_[static_cast<size_t>(i)];
  }
  bool left_out() const { return !picked_.empty(); }

  // Reports all rows of a unit.
  Status AddError(int64_t unit, const Status& error) const;
  // Which rows were under way: an error of a batch has no single row.
  Status Located(const Status& error, const std::string& more = "") const;

  Block in;
  const OperatorContext* ctx;
  AsyncTransform::Done done;
  BatchSearch search;
  int64_t deaths = 0;
  int64_t encode_ns = 0;  // of the current try
  Status last_error;

 private:
  int64_t StartOf(int64_t unit) const;  // also of the unit behind the last

  const std::vector<int64_t> starts_;
  std::vector<int64_t> picked_;  // of `in`, where some are left out
};

}  // namespace partita
