// Which rows of a batch to try next, so that a batch with bad rows becomes a batch without them: all rows
// first; after a failure halves, down to the rows that fail alone; at the end all good rows again, as one
// batch (law 1: what the function sees follows from the data). Pure.
#pragma once

#include <cstdint>
#include <vector>

namespace partita {

class BatchSearch {
 public:
  explicit BatchSearch(int64_t rows) : bad_(static_cast<size_t>(rows), false) {}

  struct Try {
    int64_t begin = 0, end = 0;  // rows of the batch; those that are bad() are left out
    int64_t rows = 0;            // without these
    bool whole = false;          // its result is the batch's
  };
  enum class Next { kTry, kEmpty, kNotOfARow };

  Try current() const;
  // The current try went well and was not the whole.
  Next Passed();
  // It failed. A try of one row makes that row bad: `row` is set to it, else to -1.
  Next Failed(int64_t* row);
  // The function itself said which rows of the current try are bad (indices among its rows).
  Next FailedRows(const std::vector<int64_t>& rows, std::vector<int64_t>* of_batch);

  bool bad(int64_t row) const { return bad_[static_cast<size_t>(row)]; }
  int64_t bad_count() const { return bad_count_; }
  bool searching() const { return !todo_.empty(); }

 private:
  struct Range {
    int64_t begin, end;
  };
  Next GoOn();
  int64_t GoodRows(Range range) const;
  void MarkBad(int64_t row);

  std::vector<bool> bad_;
  int64_t bad_count_ = 0;
  std::vector<Range> todo_;  // the last one is tried now; none: all rows
  bool found_ = false;       // a bad row, since the whole was tried
};

}  // namespace partita
