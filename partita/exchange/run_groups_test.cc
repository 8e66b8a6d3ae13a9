// What is merged to fewer runs first gives the same rows as all runs at once.
#include "partita/exchange/run_groups.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "partita/base/units.h"

namespace partita {
namespace {

class RunGroupsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("partita-groups-" + Env::Default()->RandomHex(4));
    std::filesystem::create_directories(folder_);
    ctx_.pool = budget_->root();
    keys_ = [encoder = KeyEncoder::Make(*schema_, {{0, false, false}}).ValueOrDie()](
                const arrow::RecordBatch& batch, arrow::MemoryPool* pool) {
      return encoder.Encode(batch, pool);
    };
    Write();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  // Ten runs; in each, keys 0 to 19 ten times each, in frames of 7 rows. The second column numbers all rows.
  void Write() {
    auto writer = RunFileWriter::Open(Env::Default(), folder_ / "runs", schema_).ValueOrDie();
    int64_t number = 0;
    for (int run = 0; run < 10; ++run) {
      for (int64_t first = 0; first < 200; first += 7) {
        arrow::Int64Builder keys, numbers;
        const int64_t rows = std::min<int64_t>(7, 200 - first);
        for (int64_t i = first; i < first + rows; ++i) {
          ASSERT_TRUE(keys.Append(i / 10).ok());
          ASSERT_TRUE(numbers.Append(number++).ok());
        }
        const auto batch = arrow::RecordBatch::Make(schema_, rows, {*keys.Finish(), *numbers.Finish()});
        ASSERT_TRUE(writer->Append(*batch, PointOf(Key(first / 10), {}), ctx_.pool.get()).ok());
      }
      writer->EndRun();
    }
    ASSERT_TRUE(writer->Close({}).ok());
  }

  KeyPrefix Key(int64_t value) {
    arrow::Int64Builder builder;
    EXPECT_TRUE(builder.Append(value).ok());
    const auto batch =
        arrow::RecordBatch::Make(schema_, 1, {*builder.Finish(), *arrow::MakeArrayOfNull(arrow::int64(), 1)});
    return keys_(*batch, ctx_.pool.get()).ValueOrDie().prefix(0);
  }

  // From row `rank` of run 4, whose key is rank / 10, on; or what is before it.
  std::vector<RunSlice> Part(int64_t rank, bool is_above) {
    const auto index = std::make_shared<const RunIndex>(
        RunFileReader::ReadIndex(Env::Default(), folder_ / "runs", ctx_.pool.get()).ValueOrDie());
    std::vector<RunSlice> slices;
    for (size_t run = 0; run < index->runs.size(); ++run) {
      RunSlice slice;
      slice.path = folder_ / "runs";
      slice.index = index;
      slice.run = run;
      const RunBound bound{PointOf(Key(rank / 10), {}), run < 4 ? -1 : run == 4 ? 0 : 1, rank};
      (is_above ? slice.lower : slice.upper) = bound;
      slices.push_back(std::move(slice));
    }
    return slices;
  }

  std::vector<int64_t> Rows(std::vector<RunSlice> slices) {
    RunMerger merger(Env::Default(), std::move(slices), schema_, keys_, 2000);
    std::vector<int64_t> rows;
    while (auto batch = merger.Next(500, ctx_.pool.get()).ValueOrDie()) {
      const auto& numbers = static_cast<const arrow::Int64Array&>(*batch->column(1));
      for (int64_t i = 0; i < batch->num_rows(); ++i) rows.push_back(numbers.Value(i));
    }
    return rows;
  }

  std::filesystem::path folder_;
  std::shared_ptr<arrow::Schema> schema_ =
      arrow::schema({arrow::field("k", arrow::int64()), arrow::field("n", arrow::int64())});
  std::shared_ptr<Budget> budget_ = Budget::Make(64 * kMiB);
  OperatorContext ctx_;
  KeysOf keys_;
};

TEST_F(RunGroupsTest, FewerRunsGiveTheSameRows) {
  for (const bool is_above : {false, true}) {
    const auto expected = Rows(Part(95, is_above));
    ASSERT_EQ(expected.size(), is_above ? 1055u : 945u);
    for (size_t most : {size_t{2}, size_t{3}, size_t{9}}) {
      auto slices = Part(95, is_above);
      RunGroups groups(Env::Default(), schema_, keys_, folder_ / "scratch", 1000);
      ASSERT_TRUE(groups.Reduce(most, &slices, ctx_).ok());
      EXPECT_LE(slices.size(), most);
      EXPECT_EQ(Rows(slices), expected) << most;
    }
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1)
        << "scratch files are removed";
  }
}

}  // namespace
}  // namespace partita
