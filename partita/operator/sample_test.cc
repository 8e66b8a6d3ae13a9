#include "partita/operator/sample.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <set>

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {
namespace {

std::shared_ptr<arrow::Schema> Columns() { return arrow::schema({arrow::field("id", arrow::int64())}); }

class Collected final : public BlockOutput {
 public:
  Status Emit(Block block) override {
    EXPECT_EQ(block.ordinals.size(), block.num_rows());
    const auto& ids = static_cast<const arrow::Int64Array&>(*block.batch->column(0));
    for (int64_t i = 0; i < block.num_rows(); ++i) {
      EXPECT_EQ(block.ordinals.At(i), ids.Value(i)) << "the ordinals are not those of the rows";
      kept.push_back(ids.Value(i));
    }
    return Status::OK();
  }

  std::vector<int64_t> kept;
};

// The rows of `count` that are kept, when they come in blocks of `block_rows`.
std::vector<int64_t> Kept(const Json& args, int64_t partition = 0, int64_t count = 10000,
                          int64_t block_rows = 10000) {
  TransformInit init;
  init.args = &args;
  init.input = init.output = Columns();
  auto sample = MakeSample(init);
  EXPECT_TRUE(sample.ok()) << sample.status();
  if (!sample.ok()) return {};
  auto budget = Budget::Make(64 * kMiB);
  OperatorContext ctx;
  ctx.partition = partition;
  ctx.pool = budget->root();
  Collected out;
  for (int64_t first = 0; first < count; first += block_rows) {
    const int64_t rows = std::min(block_rows, count - first);
    arrow::Int64Builder ids;
    for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(ids.Append(first + i).ok());
    Block block;
    block.batch = arrow::RecordBatch::Make(Columns(), rows, {*ids.Finish()});
    block.ordinals = RowOrdinals::Range(first, rows);
    EXPECT_TRUE((*sample)->Process(block, ctx, out).ok());
  }
  return out.kept;
}

Json Args(double fraction, double offset = 0, int64_t seed = 1, int64_t input = 0) {
  return {{"fraction", fraction}, {"offset", offset}, {"seed", seed}, {"input", input}};
}

TEST(Sample, KeepsAboutTheFraction) {
  EXPECT_NEAR(static_cast<double>(Kept(Args(0.1)).size()), 1000, 150);
  EXPECT_NEAR(static_cast<double>(Kept(Args(0.9)).size()), 9000, 150);
  EXPECT_EQ(Kept(Args(0)).size(), 0u);
  EXPECT_EQ(Kept(Args(1)).size(), 10000u);
}

TEST(Sample, DoesNotDependOnBlocks) {
  const auto whole = Kept(Args(0.3));
  for (const int64_t block_rows : {1, 7, 4096}) EXPECT_EQ(Kept(Args(0.3), 0, 10000, block_rows), whole);
}

TEST(Sample, SeedsPartitionsAndInputsDiffer) {
  const auto rows = Kept(Args(0.5));
  EXPECT_NE(Kept(Args(0.5, 0, 2)), rows);
  EXPECT_NE(Kept(Args(0.5, 0, 1, 1)), rows);
  EXPECT_NE(Kept(Args(0.5), 1), rows);
}

TEST(Sample, PartsOfASplitAreAllRowsOnce) {
  std::multiset<int64_t> all;
  double offset = 0;
  for (const double fraction : {0.7, 0.2}) {
    for (const int64_t row : Kept(Args(fraction, offset))) all.insert(row);
    offset += fraction;
  }
  for (const int64_t row : Kept(Args(1.0 - offset, offset))) all.insert(row);
  EXPECT_EQ(all.size(), 10000u);
  EXPECT_EQ(std::set<int64_t>(all.begin(), all.end()).size(), 10000u);
}

TEST(Sample, RefusesPlansThatMakeNoSense) {
  TransformInit init;
  init.input = init.output = Columns();
  for (const Json& args : {Args(1.5), Args(-0.1), Args(0.5, 2), Json::object()}) {
    init.args = &args;
    EXPECT_FALSE(MakeSample(init).ok()) << args;
  }
}

}  // namespace
}  // namespace partita
