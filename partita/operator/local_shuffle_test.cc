#include "partita/operator/local_shuffle.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {
namespace {

// What a window of the ids from `first` becomes.
std::vector<int64_t> Shuffled(const Json& args, int64_t first, int64_t rows, int64_t partition = 0,
                              int64_t target_block_bytes = kMiB) {
  const auto schema = arrow::schema({arrow::field("id", arrow::int64())});
  TransformInit init;
  init.args = &args;
  init.input = init.output = schema;
  auto step = MakeLocalShuffle(init).ValueOrDie();
  EXPECT_EQ(step->batch_rows(), args.at("buffer_rows").get<int64_t>());
  auto budget = Budget::Make(64 * kMiB);
  OperatorContext ctx;
  ctx.partition = partition;
  ctx.pool = budget->root();
  ctx.target_block_bytes = target_block_bytes;
  arrow::Int64Builder ids;
  for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(ids.Append(first + i).ok());
  Block block;
  block.batch = arrow::RecordBatch::Make(schema, rows, {*ids.Finish()});
  block.ordinals = RowOrdinals::Range(first, rows);
  std::vector<int64_t> out;
  int64_t next = first;
  step->Start(block, ctx, [&](Result<std::vector<Block>> made) {
    for (const auto& piece : made.ValueOrDie()) {
      const auto& column = static_cast<const arrow::Int64Array&>(*piece.batch->column(0));
      for (int64_t i = 0; i < piece.num_rows(); ++i) {
        EXPECT_EQ(piece.ordinals.At(i), next++) << "places are numbered in order";
        out.push_back(column.Value(i));
      }
    }
  });
  return out;
}

Json Args(int64_t seed, int64_t input = 0) {
  return {{"buffer_rows", 1000}, {"seed", seed}, {"input", input}};
}

TEST(LocalShuffle, GivesEachRowOnceInAnotherOrder) {
  auto rows = Shuffled(Args(1), 5000, 1000);
  EXPECT_FALSE(std::is_sorted(rows.begin(), rows.end()));
  std::sort(rows.begin(), rows.end());
  std::vector<int64_t> all(1000);
  std::iota(all.begin(), all.end(), 5000);
  EXPECT_EQ(rows, all);
}

TEST(LocalShuffle, FollowsFromSeedInputAndPlaceAlone) {
  const auto rows = Shuffled(Args(1), 0, 1000);
  EXPECT_EQ(Shuffled(Args(1), 0, 1000, 0, 100), rows) << "how it is cut in blocks";
  EXPECT_NE(Shuffled(Args(2), 0, 1000), rows);
  EXPECT_NE(Shuffled(Args(1, 1), 0, 1000), rows);
  EXPECT_NE(Shuffled(Args(1), 0, 1000, 1), rows);
  auto later = Shuffled(Args(1), 1000, 1000);
  for (auto& id : later) id -= 1000;
  EXPECT_NE(later, rows) << "each window has an order of its own";
}

TEST(LocalShuffle, TakesWindowsOfFewRows) { EXPECT_EQ(Shuffled(Args(1), 7, 1), std::vector<int64_t>{7}); }

}  // namespace
}  // namespace partita
