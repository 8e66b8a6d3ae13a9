#include "components/python/batch_search.h"

namespace partita {

int64_t BatchSearch::GoodRows(Range range) const {
  int64_t good = 0;
  for (int64_t row = range.begin; row < range.end; ++row) good += bad(row) ? 0 : 1;
  return good;
}

BatchSearch::Try BatchSearch::current() const {
  const Range range = todo_.empty() ? Range{0, static_cast<int64_t>(bad_.size())} : todo_.back();
  return {range.begin, range.end, GoodRows(range), todo_.empty()};
}

void BatchSearch::MarkBad(int64_t row) {
  if (bad(row)) return;
  bad_[static_cast<size_t>(row)] = true;
  ++bad_count_;
  found_ = true;
}

BatchSearch::Next BatchSearch::GoOn() {
  while (!todo_.empty() && GoodRows(todo_.back()) == 0) todo_.pop_back();
  if (!todo_.empty()) return Next::kTry;
  if (bad_count_ == static_cast<int64_t>(bad_.size())) return Next::kEmpty;
  if (!found_) return Next::kNotOfARow;
  found_ = false;
  return Next::kTry;
}

BatchSearch::Next BatchSearch::Passed() {
  todo_.pop_back();
  return GoOn();
}

BatchSearch::Next BatchSearch::Failed(int64_t* row) {
  *row = -1;
  Range range = todo_.empty() ? Range{0, static_cast<int64_t>(bad_.size())} : todo_.back();
  if (!todo_.empty()) todo_.pop_back();
  const int64_t good = GoodRows(range);
  if (good == 1) {
    while (bad(range.begin)) ++range.begin;
    *row = range.begin;
    MarkBad(range.begin);
    return GoOn();
  }
  int64_t middle = range.begin;
  for (int64_t left = 0; left < good / 2; ++middle) left += bad(middle) ? 0 : 1;
  todo_.push_back({middle, range.end});
  todo_.push_back({range.begin, middle});
  return GoOn();
}

BatchSearch::Next BatchSearch::FailedRows(const std::vector<int64_t>& rows, std::vector<int64_t>* of_batch) {
  of_batch->clear();
  const Try now = current();
  size_t next = 0;
  int64_t index = 0;
  for (int64_t row = now.begin; row < now.end && next < rows.size(); ++row) {
    if (bad(row)) continue;
    if (rows[next] == index++) {
      of_batch->push_back(row);
      ++next;
    }
  }
  for (const int64_t row : *of_batch) MarkBad(row);
  if (of_batch->empty()) return Next::kNotOfARow;
  return GoOn();
}

}  // namespace partita
