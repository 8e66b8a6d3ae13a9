// Sorting, run files and merging together: what comes out is what std::stable_sort makes of the rows.
#include "partita/runs/merge.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <random>

#include "partita/memory/budget.h"
#include "partita/runs/sort_rows.h"

namespace partita {
namespace {

using Row = std::pair<std::string, int64_t>;  // key, number

class MergeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = std::filesystem::temp_directory_path() / ("partita-merge-" + Env::Default()->RandomHex(4));
    std::filesystem::create_directories(folder_);
    schema_ = arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("n", arrow::int64())});
    encoder_ = KeyEncoder::Make(*schema_, {{0, false, false}}).ValueOrDie();
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::shared_ptr<arrow::RecordBatch> BatchOf(const std::vector<Row>& rows) const {
    arrow::StringBuilder keys;
    arrow::Int64Builder numbers;
    for (const auto& [key, number] : rows) {
      EXPECT_TRUE(keys.Append(key).ok());
      EXPECT_TRUE(numbers.Append(number).ok());
    }
    return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(rows.size()),
                                    {keys.Finish().ValueOrDie(), numbers.Finish().ValueOrDie()});
  }

  KeysOf Keys() const {
    return [this](const arrow::RecordBatch& batch, arrow::MemoryPool* pool) {
      return encoder_->Encode(batch, pool);
    };
  }

  // Each element is a run: sorted here, in frames of `frame_rows`.
  std::string Write(const std::vector<std::vector<Row>>& runs, size_t frame_rows) {
    const std::string path = folder_ / ("runs-" + std::to_string(files_++));
    auto writer = RunFileWriter::Open(Env::Default(), path, schema_).ValueOrDie();
    for (const auto& rows : runs) {
      const auto batch = BatchOf(rows);
      const std::vector<RowKeys> keys = {encoder_->Encode(*batch, pool_).ValueOrDie()};
      std::vector<SortItem> items;
      for (size_t i = 0; i < rows.size(); ++i) {
        items.push_back({keys[0].prefix(static_cast<int64_t>(i)), 0, static_cast<uint32_t>(i)});
      }
      SortRows(items, keys);
      for (size_t at = 0; at < items.size(); at += frame_rows) {
        std::vector<RowPick> picks;
        for (size_t i = at; i < std::min(items.size(), at + frame_rows); ++i)
          picks.push_back({0, items[i].row});
        const std::vector<std::shared_ptr<arrow::RecordBatch>> batches = {batch};
        EXPECT_TRUE(writer
                        ->Append(*Interleave(schema_, batches, picks, pool_).ValueOrDie(),
                                 PointOf(items[at].key, keys[0].whole(items[at].row)), pool_)
                        .ok());
      }
      writer->EndRun();
    }
    EXPECT_TRUE(writer->Close({}).ok());
    return path;
  }

  std::vector<RunSlice> SlicesOf(const std::string& path) {
    auto index =
        std::make_shared<const RunIndex>(RunFileReader::ReadIndex(Env::Default(), path, pool_).ValueOrDie());
    std::vector<RunSlice> slices;
    for (size_t r = 0; r < index->runs.size(); ++r) {
      RunSlice slice;
      slice.path = path;
      slice.index = index;
      slice.run = r;
      slices.push_back(std::move(slice));
    }
    return slices;
  }

  std::vector<Row> Merge(std::vector<RunSlice> slices, int64_t target_bytes = 1000,
                         int64_t window_bytes = 10'000) {
    RunMerger merger(Env::Default(), std::move(slices), schema_, Keys(), window_bytes);
    std::vector<Row> rows;
    while (true) {
      auto batch = merger.Next(target_bytes, pool_).ValueOrDie();
      if (!batch) return rows;
      AppendRows(*batch, &rows);
    }
  }

  static void AppendRows(const arrow::RecordBatch& batch, std::vector<Row>* rows) {
    const auto& keys = static_cast<const arrow::StringArray&>(*batch.column(0));
    const auto& numbers = static_cast<const arrow::Int64Array&>(*batch.column(1));
    for (int64_t i = 0; i < batch.num_rows(); ++i) rows->emplace_back(keys.GetString(i), numbers.Value(i));
  }

  std::filesystem::path folder_;
  std::shared_ptr<arrow::Schema> schema_;
  std::optional<KeyEncoder> encoder_;
  arrow::MemoryPool* pool_ = arrow::default_memory_pool();
  int files_ = 0;
};

std::vector<std::vector<Row>> RandomRuns(int seed, int alphabet, size_t longest) {
  std::mt19937 random(static_cast<uint32_t>(seed));
  std::vector<std::vector<Row>> runs(1 + random() % 9);
  int64_t number = 0;
  for (auto& run : runs) {
    const size_t rows = 1 + random() % 700;
    for (size_t i = 0; i < rows; ++i) {
      std::string key(random() % (longest + 1), 'a');
      for (auto& c : key)
        c = static_cast<char>('a' + static_cast<int>(random() % static_cast<uint32_t>(alphabet)));
      run.emplace_back(std::move(key), number++);
    }
  }
  return runs;
}

std::vector<Row> Sorted(const std::vector<std::vector<Row>>& runs) {
  std::vector<Row> rows;
  for (const auto& run : runs) rows.insert(rows.end(), run.begin(), run.end());
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) { return a.first < b.first; });
  return rows;
}

TEST_F(MergeTest, GivesRowsInKeyAndRunOrder) {
  for (int seed = 0; seed < 12; ++seed) {
    const auto runs = RandomRuns(seed, 1 + seed % 4, seed % 3 == 0 ? 40 : 5);
    for (size_t frame_rows : {1, 7, 1000}) {
      EXPECT_EQ(Merge(SlicesOf(Write(runs, frame_rows))), Sorted(runs)) << seed << " " << frame_rows;
    }
  }
}

TEST_F(MergeTest, KeysThatDifferBehindWhatTheIndexKeeps) {
  // First keys in the index are cut at 1 KiB: all of these look the same there.
  std::mt19937 random(11);
  std::vector<std::vector<Row>> runs(5);
  int64_t number = 0;
  for (auto& run : runs) {
    for (int i = 0; i < 100; ++i)
      run.emplace_back(std::string(kMaxPointBytes + 8, 'k') + std::to_string(random() % 50), number++);
  }
  for (size_t frame_rows : {1, 7, 1000}) EXPECT_EQ(Merge(SlicesOf(Write(runs, frame_rows))), Sorted(runs));
}

TEST_F(MergeTest, WindowsOfAnySizeGiveTheSame) {
  const auto runs = RandomRuns(5, 3, 5);
  const auto path = Write(runs, 20);
  for (int64_t window_bytes : {int64_t{1}, int64_t{5000}, int64_t{1} << 30})
    EXPECT_EQ(Merge(SlicesOf(path), 1000, window_bytes), Sorted(runs)) << window_bytes;
}

TEST_F(MergeTest, RangesPartTheRows) {
  // Cuts at every kind of bound, also in the middle of equal keys: together the ranges are the whole, none
  // overlaps.
  for (int seed = 0; seed < 8; ++seed) {
    const auto runs = RandomRuns(seed, 2, 4);
    const auto whole = Sorted(runs);
    const auto slices = SlicesOf(Write(runs, 13));
    for (int tie : {-1, 0, 1}) {
      RunBound bound;
      const size_t run = static_cast<size_t>(seed) % runs.size();
      auto sorted_run = runs[run];
      std::stable_sort(sorted_run.begin(), sorted_run.end(),
                       [](const Row& a, const Row& b) { return a.first < b.first; });
      const size_t rank = sorted_run.size() / 2;
      const auto key = encoder_->Encode(*BatchOf({sorted_run[rank]}), pool_).ValueOrDie();
      bound.point = PointOf(key.prefix(0), key.whole(0));
      auto below = slices, above = slices;
      for (size_t r = 0; r < slices.size(); ++r) {
        bound.tie = tie != 0 ? tie : r < run ? -1 : r == run ? 0 : 1;
        bound.rank = static_cast<int64_t>(rank);
        below[r].upper = bound;
        above[r].lower = bound;
      }
      auto rows = Merge(below);
      const auto rest = Merge(above);
      if (tie == 0) {
        EXPECT_EQ(rest.at(0), sorted_run[rank]);
      }
      rows.insert(rows.end(), rest.begin(), rest.end());
      EXPECT_EQ(rows, whole) << seed << " " << tie;
    }
  }
}

TEST_F(MergeTest, GoesOnAfterRefusedMemory) {
  const auto runs = RandomRuns(3, 3, 5);
  const auto path = Write(runs, 50);
  const auto whole = Sorted(runs);
  auto budget = Budget::Make(8 << 20);
  auto pool = budget->root();
  for (int64_t n = 1; n < 60; ++n) {
    RunMerger merger(Env::Default(), SlicesOf(path), schema_, Keys());
    std::vector<Row> rows;
    while (true) {
      budget->FailNthAllocation(n);
      auto batch = merger.Next(3000, pool.get());
      if (!batch.ok()) {
        ASSERT_TRUE(batch.status().IsOutOfMemory()) << batch.status();
        budget->FailNthAllocation(0);
        batch = merger.Next(3000, pool.get());
      }
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (!*batch) break;
      AppendRows(**batch, &rows);
    }
    budget->FailNthAllocation(0);
    EXPECT_EQ(rows, whole) << n;
  }
}

TEST_F(MergeTest, DamageIsFound) {
  const auto path = Write(RandomRuns(5, 3, 5), 50);
  std::ifstream in(path, std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(in)), {});
  std::mt19937 random(7);
  const auto whole = Sorted(RandomRuns(5, 3, 5));
  for (int i = 0; i < 300; ++i) {
    std::string damaged = bytes;
    if (i % 3 == 0) {
      damaged.resize(random() % damaged.size());
    } else {
      damaged[random() % damaged.size()] ^= static_cast<char>(1 << (random() % 8));
    }
    std::ofstream(path, std::ios::binary) << damaged;
    auto index = RunFileReader::ReadIndex(Env::Default(), path, pool_);
    if (!index.ok()) {
      EXPECT_EQ(KindOf(index.status()), ErrorKind::kEnvironment) << index.status();
      continue;
    }
    RunMerger merger(Env::Default(), SlicesOf(path), schema_, Keys());
    Result<std::shared_ptr<arrow::RecordBatch>> batch = nullptr;
    size_t rows = 0;
    do {
      batch = merger.Next(1 << 20, pool_);
      if (batch.ok() && *batch) rows += static_cast<size_t>((*batch)->num_rows());
    } while (batch.ok() && *batch);
    if (batch.ok()) {
      EXPECT_EQ(rows, whole.size());  // the magic at the beginning is not read again
    }
  }
}

}  // namespace
}  // namespace partita
