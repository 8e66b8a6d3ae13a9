// What a share gives back is what was put in it, wherever it stands meanwhile; and the budget has its bytes
// again.
#include "partita/exchange/run_share.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <functional>
#include <numeric>

#include "partita/exchange/file_exchange.h"
#include "partita/runs/kept_rows.h"
#include "partita/runs/merge.h"

namespace partita {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kFrameRows = 100;

class RunShareTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("partita-share-" + Env::Default()->RandomHex(4));
    Remember(1 << 20, kSecond);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void Remember(int64_t most_bytes, int64_t most_redo_ns) {
    memory_ = std::make_shared<ExchangeMemory>(Env::Default(), pool_, folder_ / "scratch/kept", most_bytes,
                                               most_redo_ns);
  }

  std::shared_ptr<RunShare> NewShare() {
    return RunShare::Make(
        {Env::Default(), folder_, "share", "a", schema_, INT64_MAX, most_kept_bytes_, memory_});
  }

  // Rows 2 * number + run, for three runs of ten frames.
  Status Fill(RunShare* share, int runs = 3, int frames = 10) {
    for (int run = 0; run < runs; ++run) {
      for (int frame = 0; frame < frames; ++frame) {
        std::vector<uint64_t> keys(kFrameRows);
        for (size_t i = 0; i < keys.size(); ++i)
          keys[i] = (static_cast<uint64_t>(frame) * kFrameRows + i) * 3 + static_cast<uint64_t>(run);
        arrow::UInt64Builder builder(pool_.get());
        ARROW_RETURN_NOT_OK(builder.AppendValues(keys));
        ARROW_ASSIGN_OR_RAISE(auto column, builder.Finish());
        auto batch = arrow::RecordBatch::Make(schema_, kFrameRows, {std::move(column)});
        ARROW_RETURN_NOT_OK(share->Append(std::move(batch), KeyPoint{{keys[0], 0}, {}}, pool_.get()));
      }
      share->EndRun();
    }
    return Status::OK();
  }

  std::vector<RunSlice> SlicesOf(const std::shared_ptr<KeptRuns>& kept) {
    const std::string path = folder_ / "share.tmp-a";
    auto index = std::make_shared<const RunIndex>(
        kept ? kept->index() : RunFileReader::ReadIndex(Env::Default(), path, pool_.get()).ValueOrDie());
    std::vector<RunSlice> slices;
    for (size_t run = 0; run < index->runs.size(); ++run) {
      RunSlice& slice = slices.emplace_back();
      slice.path = path;
      slice.index = index;
      slice.run = run;
      slice.kept = kept;
    }
    return slices;
  }

  static Result<RowKeys> KeysOfBatch(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) {
    const auto& column = static_cast<const arrow::UInt64Array&>(*batch.column(0));
    return NumberKeys({column.raw_values(), static_cast<size_t>(batch.num_rows())}, pool);
  }

  static void Take(RunMerger* merger, int64_t bytes, arrow::MemoryPool* pool, std::vector<uint64_t>* keys) {
    auto batch = merger->Next(bytes, pool).ValueOrDie();
    if (!batch) return;
    const auto& column = static_cast<const arrow::UInt64Array&>(*batch->column(0));
    for (int64_t i = 0; i < column.length(); ++i) keys->push_back(column.Value(i));
  }

  // All rows in order; `between` is called once some of them were taken.
  void ExpectWhole(
      const std::shared_ptr<KeptRuns>& kept, const std::function<void()>& between = [] {}) {
    RunMerger merger(Env::Default(), SlicesOf(kept), schema_, KeysOfBatch, /*window_bytes=*/2000);
    std::vector<uint64_t> keys;
    Take(&merger, 1000, pool_.get(), &keys);
    between();
    for (size_t before = 0; before != keys.size();) {
      before = keys.size();
      Take(&merger, 1000, pool_.get(), &keys);
    }
    std::vector<uint64_t> expected(3000);
    std::iota(expected.begin(), expected.end(), 0);
    EXPECT_EQ(keys, expected);
  }

  bool Exists(const std::string& name) const { return std::filesystem::exists(folder_ / name); }

  std::shared_ptr<Budget> budget_ = Budget::Make(64 << 20);
  std::shared_ptr<BudgetPool> pool_ = budget_->root();
  std::shared_ptr<arrow::Schema> schema_ = arrow::schema({arrow::field("k", arrow::uint64())});
  std::filesystem::path folder_;
  int64_t most_kept_bytes_ = INT64_MAX;
  std::shared_ptr<ExchangeMemory> memory_;
};

TEST_F(RunShareTest, WhatFitsTouchesNoFile) {
  {
    auto share = NewShare();
    ASSERT_TRUE(Fill(share.get()).ok());
    EXPECT_TRUE(share->Finish({}, pool_.get()).ValueOrDie().empty());
    share->Abort();  // it is the commit's
    EXPECT_GE(memory_->kept_bytes(), 3000 * 8);
    ExpectWhole(memory_->Find<KeptRuns>(folder_ / "share"));
  }
  EXPECT_FALSE(std::filesystem::exists(folder_));
  memory_->Forget(folder_ / "share");
  EXPECT_EQ(memory_->kept_bytes(), 0);
  EXPECT_EQ(pool_->bytes_allocated(), 0);
}

TEST_F(RunShareTest, FinishedSharesAreGivenBackUnderTheHandsOfTheirReader) {
  auto share = NewShare();
  ASSERT_TRUE(Fill(share.get()).ok());
  ASSERT_TRUE(share->Finish({}, pool_.get()).ok());
  ExpectWhole(memory_->Find<KeptRuns>(folder_ / "share"), [&] {
    EXPECT_GE(memory_->GiveBack(1).ValueOrDie(), 3000 * 8);
    EXPECT_EQ(memory_->kept_bytes(), 0);
    EXPECT_TRUE(Exists("scratch/kept-0"));
    EXPECT_FALSE(Exists("share")) << "nothing that a later run would believe";
  });
  ExpectWhole(memory_->Find<KeptRuns>(folder_ / "share"));
  EXPECT_EQ(memory_->GiveBack(1).ValueOrDie(), 0);
  memory_->Forget(folder_ / "share");
  EXPECT_FALSE(Exists("scratch/kept-0"));
}

TEST_F(RunShareTest, WhatNobodyReadsAgainIsNotWrittenOut) {
  auto share = NewShare();
  ASSERT_TRUE(Fill(share.get()).ok());
  ASSERT_TRUE(share->Finish({}, pool_.get()).ok());
  const auto kept = memory_->Find<KeptRuns>(folder_ / "share");
  const int64_t before = memory_->kept_bytes();
  memory_->Forget(kept.get(), 1, 2, 8);
  EXPECT_LT(memory_->kept_bytes(), before);
  ASSERT_TRUE(memory_->GiveBack(1).ok());
  const auto reader = RunFileReader::Of(kept);
  EXPECT_TRUE(reader->ReadFrame(kept->index().runs[1][1], pool_.get()).ok());
  EXPECT_FALSE(reader->ReadFrame(kept->index().runs[1][2], pool_.get()).ok());
  EXPECT_EQ(reader->ReadFrame(kept->index().runs[1][8], pool_.get()).ValueOrDie()->num_rows(), kFrameRows);
}

TEST_F(RunShareTest, WhatDoesNotFitIsAFileWithAllOfIt) {
  for (const int64_t most : {int64_t{0}, int64_t{10'000}}) {
    Remember(most, kSecond);
    auto share = NewShare();
    ASSERT_TRUE(Fill(share.get()).ok());
    EXPECT_FALSE(share->in_memory());
    EXPECT_EQ(memory_->kept_bytes(), 0);
    EXPECT_EQ(share->Finish({}, pool_.get()).ValueOrDie().at(0).rows, 3000);
    EXPECT_EQ(memory_->Find<KeptRuns>(folder_ / "share"), nullptr);
    ExpectWhole(nullptr);
  }
}

TEST_F(RunShareTest, AShareThatIsTooLargeForItsLikesToFitIsAFile) {
  most_kept_bytes_ = 20'000;
  auto share = NewShare();
  ASSERT_TRUE(Fill(share.get()).ok());
  EXPECT_EQ(share->Finish({}, pool_.get()).ValueOrDie().size(), 1U);
  EXPECT_EQ(memory_->kept_bytes(), 0);
  ExpectWhole(nullptr);
}

TEST_F(RunShareTest, AnUnfinishedShareGoesOnInItsFile) {
  auto share = NewShare();
  ASSERT_TRUE(Fill(share.get(), 1).ok());
  EXPECT_GT(memory_->GiveBack(1).ValueOrDie(), 0);
  EXPECT_FALSE(share->in_memory());
  EXPECT_EQ(share->run(), 1);
  share->Abort();
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_EQ(pool_->bytes_allocated(), 0);
}

TEST_F(RunShareTest, WhatWouldTakeLongToMakeAgainIsAFile) {
  Remember(1 << 20, 0);
  auto share = NewShare();
  ASSERT_TRUE(Fill(share.get()).ok());
  EXPECT_TRUE(share->in_memory());
  EXPECT_EQ(share->Finish({}, pool_.get()).ValueOrDie().size(), 1U);
  ExpectWhole(nullptr);
}

TEST_F(RunShareTest, WhatSeveralTasksLeftIsKeptWhereverItStands) {
  for (const int64_t most : {int64_t{1} << 20, int64_t{10'000}}) {
    Remember(most, kSecond);
    auto share = NewShare();
    ASSERT_TRUE(Fill(share.get()).ok());
    EXPECT_EQ(share->in_memory(), most > 10'000);
    ASSERT_TRUE(share->Keep(pool_.get()).ok());
    share->Abort();  // it is the readers'
    EXPECT_FALSE(Exists("share")) << "nothing that a later run would believe";
    EXPECT_EQ(Exists("share.tmp-a"), most == 10'000);
    ExpectWhole(memory_->Find<KeptRuns>(folder_ / "share"), [&] { ASSERT_TRUE(memory_->GiveBack(1).ok()); });
    memory_->Forget(folder_ / "share");
    EXPECT_EQ(memory_->kept_bytes(), 0);
    EXPECT_FALSE(Exists("share.tmp-a"));
  }
}

TEST_F(RunShareTest, ALaterAttemptTakesThePlaceOfAnEarlierOne) {
  auto first = NewShare();
  ASSERT_TRUE(Fill(first.get()).ok());
  ASSERT_TRUE(first->Finish({}, pool_.get()).ok());
  auto second = NewShare();
  ASSERT_TRUE(Fill(second.get()).ok());
  ASSERT_TRUE(second->WriteOut(pool_.get()).ok());
  ASSERT_TRUE(second->Finish({}, pool_.get()).ok());
  EXPECT_EQ(memory_->Find<KeptRuns>(folder_ / "share"), nullptr);
  EXPECT_EQ(memory_->kept_bytes(), 0);
}

// The other kind of exchange, whose rows keep their order.
TEST_F(RunShareTest, FewRowsOfAnOrderedExchangeStayToo) {
  OperatorContext ctx;
  ctx.pool = pool_;
  ctx.env = Env::Default();
  const auto rows_of = [&](Source* source, const std::function<void()>& between) {
    std::vector<uint64_t> rows;
    while (true) {
      auto block = source->Next(ctx).ValueOrDie();
      if (!block) return rows;
      const auto& column = static_cast<const arrow::UInt64Array&>(*block->batch->column(0));
      EXPECT_EQ(block->ordinals.At(0), static_cast<int64_t>(rows.size()));
      rows.insert(rows.end(), column.raw_values(), column.raw_values() + column.length());
      if (rows.size() < 200) between();
    }
  };
  std::vector<ExchangeShare> shares;
  for (const std::string name : {"a", "b"}) {
    auto sink = MakeExchangeSink(Env::Default(), folder_, name, "1", schema_, memory_);
    for (uint64_t part = 0; part < 3; ++part) {
      arrow::UInt64Builder builder(pool_.get());
      for (uint64_t i = 0; i < 100; ++i) ASSERT_TRUE(builder.Append(part * 100 + i).ok());
      Block block;
      block.ordinals = RowOrdinals::Range(static_cast<int64_t>(part) * 100, 100);
      block.batch = arrow::RecordBatch::Make(schema_, 100, {builder.Finish().ValueOrDie()});
      int64_t taken = 0;
      ASSERT_TRUE(sink->Write(block, ctx, &taken).ok());
      ASSERT_EQ(taken, 100);
    }
    ASSERT_TRUE(sink->Finish(ctx).ValueOrDie().empty());
    shares.push_back({folder_ / name, 300, memory_->Find<KeptRows>(folder_ / name)});
  }
  EXPECT_FALSE(std::filesystem::exists(folder_));
  std::vector<uint64_t> expected;
  for (uint64_t row = 150; row < 300 + 120; ++row) expected.push_back(row % 300);
  EXPECT_EQ(rows_of(MakeExchangeSource(shares, 150, 270).get(), [] {}), expected);
  const auto give_back = [&] { EXPECT_TRUE(memory_->GiveBack(INT64_MAX).ok()); };
  EXPECT_EQ(rows_of(MakeExchangeSource(shares, 150, 270).get(), give_back), expected);
  EXPECT_EQ(memory_->kept_bytes(), 0);
  EXPECT_EQ(rows_of(MakeExchangeSource(shares, 150, 270).get(), [] {}), expected);
}

}  // namespace
}  // namespace partita
