#include "partita/execute/batcher.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include "partita/memory/budget.h"

namespace partita {
namespace {

Block Numbers(int64_t first, int64_t rows) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(first + i).ok());
  auto schema = arrow::schema({arrow::field("n", arrow::int64())});
  return {arrow::RecordBatch::Make(schema, rows, {builder.Finish().ValueOrDie()}),
          RowOrdinals::Range(first, rows)};
}

std::vector<std::vector<int64_t>> Cut(const std::vector<int64_t>& block_rows, int64_t batch_rows,
                                      std::unique_ptr<BatchCutter> cutter = nullptr) {
  Batcher batcher(batch_rows, std::move(cutter));
  std::vector<std::vector<int64_t>> cut;
  const auto take = [&](bool last) {
    while (batcher.Has(last)) {
      const Block batch = batcher.Take(arrow::default_memory_pool()).ValueOrDie();
      EXPECT_TRUE(batch.batch->ValidateFull().ok());
      const auto& numbers = static_cast<const arrow::Int64Array&>(*batch.batch->column(0));
      std::vector<int64_t> rows;
      for (int64_t i = 0; i < batch.num_rows(); ++i) {
        EXPECT_EQ(batch.ordinals.At(i), numbers.Value(i));
        rows.push_back(numbers.Value(i));
      }
      cut.push_back(std::move(rows));
    }
  };
  int64_t first = 0;
  for (const int64_t rows : block_rows) {
    EXPECT_TRUE(batcher.Add(Numbers(first, rows)).ok());
    first += rows;
    take(false);
  }
  take(true);
  return cut;
}

TEST(Batcher, CutsTheSameBatchesOfAnyBlocks) {
  const std::vector<std::vector<int64_t>> expected = {{0, 1, 2}, {3, 4, 5}, {6, 7}};
  EXPECT_EQ(Cut({8}, 3), expected);
  EXPECT_EQ(Cut({1, 1, 1, 1, 1, 1, 1, 1}, 3), expected);
  EXPECT_EQ(Cut({2, 0, 5, 1}, 3), expected);
  EXPECT_EQ(Cut({4, 4}, INT64_MAX), (std::vector<std::vector<int64_t>>{{0, 1, 2, 3, 4, 5, 6, 7}}));
  EXPECT_EQ(Cut({0}, 3), (std::vector<std::vector<int64_t>>{}));
}

// Ends a batch before every row that is a square.
class BeforeSquares final : public BatchCutter {
 public:
  Status Cut(const arrow::RecordBatch& batch, std::vector<int64_t>* ends) override {
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch.column(0));
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      for (const int64_t square : {0, 1, 4, 9}) {
        if (numbers.Value(i) == square) ends->push_back(i);
      }
    }
    return Status::OK();
  }
};

TEST(Batcher, CutsWhereACutterSays) {
  const std::vector<std::vector<int64_t>> expected = {{0}, {1, 2, 3}, {4, 5, 6, 7, 8}, {9, 10}};
  for (const auto& blocks :
       std::vector<std::vector<int64_t>>{{11}, {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, {4, 5, 2}, {3, 0, 8}}) {
    EXPECT_EQ(Cut(blocks, INT64_MAX, std::make_unique<BeforeSquares>()), expected);
  }
}

TEST(Batcher, KeepsTheOrdinalsOfRowsWithGaps) {
  Batcher batcher(4);
  Block left = Numbers(0, 3), right = Numbers(5, 2);
  left.ordinals = RowOrdinals::List({1, 4, 9});
  right.ordinals = RowOrdinals::List({12, 20});
  ASSERT_TRUE(batcher.Add(left).ok());
  ASSERT_TRUE(batcher.Add(right).ok());
  const Block batch = batcher.Take(arrow::default_memory_pool()).ValueOrDie();
  for (int64_t i = 0; const int64_t ordinal : {1, 4, 9, 12}) EXPECT_EQ(batch.ordinals.At(i++), ordinal);
}

TEST(Batcher, ChangesNothingWhenItIsRefused) {
  auto budget = Budget::Make(1 << 20);
  Batcher batcher(4);
  ASSERT_TRUE(batcher.Add(Numbers(0, 3)).ok());
  ASSERT_TRUE(batcher.Add(Numbers(3, 3)).ok());
  budget->FailNthAllocation(1);
  EXPECT_TRUE(batcher.Take(budget->root().get()).status().IsOutOfMemory());
  const Block batch = batcher.Take(budget->root().get()).ValueOrDie();
  EXPECT_EQ(batch.num_rows(), 4);
  EXPECT_TRUE(batcher.Has(true));
  EXPECT_FALSE(batcher.Has(false));
}

}  // namespace
}  // namespace partita
