#include "components/python/batch_cutters.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <numeric>

namespace partita {
namespace {

Block Keyed(const std::vector<int64_t>& keys) {
  arrow::Int64Builder builder;
  EXPECT_TRUE(builder.AppendValues(keys).ok());
  const auto rows = static_cast<int64_t>(keys.size());
  return {arrow::RecordBatch::Make(arrow::schema({arrow::field("k", arrow::int64())}), rows,
                                   {builder.Finish().ValueOrDie()}),
          RowOrdinals::Range(0, rows)};
}

TEST(FindGroups, TellsWhereGroupsStart) {
  const auto groups = FindGroups(Keyed({7, 7, 3, 5, 5, 5}), {"k"}, arrow::default_memory_pool()).ValueOrDie();
  EXPECT_EQ(groups.starts, (std::vector<int64_t>{0, 2, 3}));
  EXPECT_EQ(groups.rows.num_rows(), 6);
}

TEST(CutByGroups, EndsBatchesBehindGroupsWhateverTheBlocks) {
  // Rows in the order of their hashes, as an exchange leaves them: found by asking the cutter itself.
  auto budget = Budget::Make(1 << 20);
  const auto schema = Keyed({}).batch->schema();
  const auto cutter = [&](int64_t rows) {
    return CutByGroups(*schema, {"k"}, rows, budget->root()).ValueOrDie();
  };
  std::vector<int64_t> order;
  for (int64_t key = 0; key < 40; ++key) {
    // Insertion: before the first key that may not stand behind it.
    size_t at = 0;
    for (; at < order.size(); ++at) {
      std::vector<int64_t> ends;
      if (cutter(1)->Cut(*Keyed({key, order[at]}).batch, &ends).ok()) break;
    }
    order.insert(order.begin() + static_cast<std::ptrdiff_t>(at), key);
  }
  std::vector<int64_t> keys;
  for (const int64_t key : order) keys.insert(keys.end(), static_cast<size_t>(1 + key % 3), key);
  std::vector<std::vector<int64_t>> found;
  for (const size_t block : {size_t{1}, size_t{7}, keys.size()}) {
    auto cut = cutter(10);
    std::vector<int64_t> all;
    for (size_t begin = 0; begin < keys.size(); begin += block) {
      const size_t end = std::min(keys.size(), begin + block);
      std::vector<int64_t> ends;
      ASSERT_TRUE(cut->Cut(*Keyed({keys.begin() + static_cast<std::ptrdiff_t>(begin),
                                   keys.begin() + static_cast<std::ptrdiff_t>(end)})
                                .batch,
                           &ends)
                      .ok());
      for (const int64_t at : ends) all.push_back(static_cast<int64_t>(begin) + at);
    }
    found.push_back(all);
  }
  EXPECT_EQ(found[0], found[1]);
  EXPECT_EQ(found[1], found[2]);
  ASSERT_FALSE(found[0].empty());
  int64_t last = 0;
  for (const int64_t end : found[0]) {
    EXPECT_NE(keys[static_cast<size_t>(end)], keys[static_cast<size_t>(end - 1)]);
    EXPECT_GE(end - last, 10);
    EXPECT_LE(end - last, 12);
    last = end;
  }
  std::vector<int64_t> ends;
  std::vector<int64_t> wrong(order.rbegin(), order.rend());
  const Status status = cutter(10)->Cut(*Keyed(wrong).batch, &ends);
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
}

}  // namespace
}  // namespace partita
