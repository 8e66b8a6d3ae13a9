#include "components/python/batch_search.h"

#include <gtest/gtest.h>

#include <set>

namespace partita {
namespace {

using Next = BatchSearch::Next;

// A function that fails on any batch with one of `bad` in it.
std::set<int64_t> Find(int64_t rows, const std::set<int64_t>& bad, Next* end, int* tries) {
  BatchSearch search(rows);
  std::set<int64_t> found;
  *end = Next::kTry;
  for (*tries = 1; *tries < 1000; ++*tries) {
    const auto now = search.current();
    bool fails = false;
    int64_t good = 0;
    for (int64_t row = now.begin; row < now.end; ++row) {
      if (search.bad(row)) continue;
      ++good;
      fails = fails || bad.contains(row);
    }
    EXPECT_EQ(good, now.rows);
    EXPECT_GT(good, 0);
    if (!fails && now.whole) return found;
    int64_t row = -1;
    *end = fails ? search.Failed(&row) : search.Passed();
    if (row >= 0) found.insert(row);
    if (*end != Next::kTry) return found;
  }
  ADD_FAILURE() << "no end";
  return found;
}

TEST(BatchSearch, FindsExactlyTheBadRows) {
  for (const int64_t rows : {1, 2, 3, 8, 100}) {
    for (const std::set<int64_t>& bad :
         {std::set<int64_t>{}, {0}, {rows - 1}, {0, rows - 1}, {rows / 2}, {rows / 3, rows / 2}}) {
      Next end;
      int tries = 0;
      EXPECT_EQ(Find(rows, bad, &end, &tries), bad);
      EXPECT_EQ(end, static_cast<int64_t>(bad.size()) == rows ? Next::kEmpty : Next::kTry);
      EXPECT_LE(tries, 2 + 2 * 8 * static_cast<int>(bad.size()));
    }
  }
}

TEST(BatchSearch, GivesUpWhereNoRowIsToBlame) {
  BatchSearch search(4);
  int64_t row = 0;
  EXPECT_EQ(search.Failed(&row), Next::kTry);  // all four together
  EXPECT_EQ(row, -1);
  EXPECT_EQ(search.Passed(), Next::kTry);
  EXPECT_EQ(search.Passed(), Next::kNotOfARow);
}

TEST(BatchSearch, TakesRowsThatTheFunctionNames) {
  BatchSearch search(5);
  std::vector<int64_t> rows;
  EXPECT_EQ(search.FailedRows({1, 3}, &rows), Next::kTry);
  EXPECT_EQ(rows, (std::vector<int64_t>{1, 3}));
  EXPECT_EQ(search.current().rows, 3);
  EXPECT_EQ(search.FailedRows({1}, &rows), Next::kTry);  // the second of 0, 2, 4
  EXPECT_EQ(rows, (std::vector<int64_t>{2}));
  EXPECT_EQ(search.FailedRows({0, 1}, &rows), Next::kEmpty);
}

}  // namespace
}  // namespace partita
