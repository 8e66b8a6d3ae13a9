// Fat values: read and written one at a time, in little more memory than one of them needs.
#include <arrow/compute/cast.h>
#include <gmock/gmock.h>
#include <parquet/arrow/writer.h>
#include <parquet/properties.h>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

constexpr int64_t kValueBytes = 4 << 20;

std::shared_ptr<arrow::RecordBatch> FatRows(int64_t rows, bool compressible,
                                            std::shared_ptr<arrow::DataType> type = arrow::utf8()) {
  std::mt19937_64 random(21);
  auto text = Strings(rows, [&](int64_t i) {
    if (i % 5 == 3) return std::string("\x01null");
    if (!compressible) return RandomText(&random, kValueBytes + i);
    std::string value;
    while (static_cast<int64_t>(value.size()) < kValueBytes)
      value += "word " + std::to_string(random() % 100) + " ";
    return value;
  });
  auto schema = arrow::schema(
      {arrow::field("id", arrow::int64()), arrow::field("text", type), arrow::field("tail", arrow::utf8())});
  return arrow::RecordBatch::Make(schema, rows,
                                  {Ints(rows, [](int64_t i) { return i; }), ValueOf(text->View(type)),
                                   Strings(rows, [](int64_t i) { return "tail " + std::to_string(i); })});
}

// Reads `from` and writes `to` row by row in `budget_bytes`; returns the peak of what was in use (not of free
// blocks, which go before anything is refused).
class FatParquetTest : public ParquetTest {
 protected:
  int64_t Copy(const std::string& from, const std::string& to, int64_t budget_bytes, const Json& args,
               int64_t block_bytes = 4 << 20) {
    const auto budget = Budget::Make(budget_bytes);
    auto request = Request(from);
    const auto schema = request.schema;
    request.pool = budget->root();
    request.target_block_bytes = block_bytes;
    auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
    auto writer = OpenWriter(to, schema, args, budget->root());
    for (;;) {
      auto next = ValueOf(reader->Next());
      if (!next) break;
      ExpectOk(writer->Write(next->batch));
    }
    ExpectOk(writer->Finish());
    writer.reset();
    reader.reset();
    ExpectOk(stream_->Close());
    EXPECT_EQ(budget->root()->bytes_allocated(), 0);
    return budget->root()->max_memory();
  }

  void ExpectRows(const std::string& path, const std::shared_ptr<arrow::RecordBatch>& rows) {
    const auto read = TableOf(ValueOf(ReadAll(Request(path, rows->schema()))), rows->schema());
    EXPECT_TRUE(read->Equals(*TableOf({rows}, rows->schema())));
  }
};

TEST_F(FatParquetTest, CopiesInLittleMoreThanOneValue) {
  for (const bool compressible : {false, true}) {
    const auto rows = FatRows(6, compressible);
    for (const char* codec : {"none", "snappy", "zstd", "gzip", "brotli", "lz4"}) {
      Json args = {{"compression", codec}, {"row_group_bytes", 1 << 20}};
      if (std::string_view(codec) == "gzip" || std::string_view(codec) == "brotli")
        args["compression_level"] = 1;
      WriteBatches(Path("a.parquet"), {rows}, args);
      ExpectRows(Path("a.parquet"), rows);
      const int64_t peak = Copy(Path("a.parquet"), Path("b.parquet"), 64 << 20, args);
      // LZ4 blocks cannot be made as a stream: two copies more. Brotli's decoder keeps a window as large as
      // the value.
      const std::string_view name(codec);
      const int64_t most = name == "lz4"      ? kValueBytes * 9 / 2
                           : name == "brotli" ? kValueBytes * 21 / 5
                                              : kValueBytes * 16 / 5;
      EXPECT_LT(peak, most + (3 << 20)) << codec << compressible;
      EXPECT_TRUE(Bytes(Path("a.parquet")) == Bytes(Path("b.parquet")));
    }
  }
}

TEST_F(FatParquetTest, SeveralValuesOfARowGroupAreStaged) {
  const auto rows = FatRows(12, false);
  const Json args = {{"compression", "snappy"}};  // one row group of 40 MiB
  WriteBatches(Path("a.parquet"), {rows}, args);
  ASSERT_EQ(Inspect(Path("a.parquet")).units.size(), 1u);
  const int64_t peak = Copy(Path("a.parquet"), Path("b.parquet"), 24 << 20, args);
  EXPECT_LE(peak, 24 << 20);
  EXPECT_TRUE(Bytes(Path("a.parquet")) == Bytes(Path("b.parquet")));
  ExpectRows(Path("b.parquet"), rows);
}

TEST_F(FatParquetTest, FilesOfArrowWithAndWithoutDictionary) {
  for (const auto& type : {arrow::utf8(), arrow::binary()}) {
    const auto rows = FatRows(7, true, type);
    const auto table = TableOf({rows}, rows->schema());
    for (const bool dictionary : {false, true}) {
      for (const auto version : {parquet::ParquetDataPageVersion::V1, parquet::ParquetDataPageVersion::V2}) {
        for (const int64_t group_rows : {1, 3, 100}) {
          parquet::WriterProperties::Builder builder;
          builder.data_page_version(version)->compression(arrow::Compression::SNAPPY)->write_batch_size(1);
          if (!dictionary) builder.disable_dictionary();
          auto out = ValueOf(Env::Default()->OpenWrite(Path("t.parquet")));
          ExpectOk(parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), out, group_rows,
                                              builder.build()));
          ExpectOk(out->Close());
          ExpectRows(Path("t.parquet"), rows);
        }
      }
    }
  }
}

TEST_F(FatParquetTest, WideAndViewTypes) {
  const auto rows = FatRows(5, true);
  for (const auto& type : {arrow::large_utf8(), arrow::utf8_view(), arrow::large_binary()}) {
    const auto text = ValueOf(arrow::compute::Cast(*rows->column(1), type));
    auto wide = ValueOf(rows->SetColumn(1, arrow::field("text", type), text));
    WriteBatches(Path("t.parquet"), {wide}, {{"compression", "zstd"}});
    ExpectRows(Path("t.parquet"), wide);
  }
}

TEST_F(FatParquetTest, ARefusedPageIsReadAgain) {
  const auto rows = FatRows(6, false);
  WriteBatches(Path("t.parquet"), {rows}, {{"compression", "snappy"}});
  for (int64_t n = 1; n < 90; ++n) {
    auto request = Request(Path("t.parquet"), rows->schema());
    const auto budget = Budget::Make(256 << 20);
    request.pool = budget->root();
    budget->FailNthAllocation(n);
    int refusals = 0;
    const auto batches = ValueOf(ReadAll(std::move(request), nullptr, &refusals));
    ASSERT_TRUE(TableOf(batches, rows->schema())->Equals(*TableOf({rows}, rows->schema()))) << n;
  }
}

// As common writers do it: all values of a row group in one page.
class WholePageTest : public FatParquetTest {
 protected:
  void WriteWhole(const std::string& path, const std::shared_ptr<arrow::RecordBatch>& rows,
                  arrow::Compression::type codec, parquet::ParquetDataPageVersion version,
                  bool dictionary = false) {
    parquet::WriterProperties::Builder builder;
    builder.data_page_version(version)->compression(codec)->disable_statistics();
    if (!dictionary) builder.disable_dictionary();
    auto out = ValueOf(Env::Default()->OpenWrite(path));
    ExpectOk(parquet::arrow::WriteTable(*TableOf({rows}, rows->schema()), arrow::default_memory_pool(), out,
                                        rows->num_rows(), builder.build()));
    ExpectOk(out->Close());
  }

  // Values from nothing to `most_bytes`, some null.
  static std::shared_ptr<arrow::RecordBatch> UnevenRows(int64_t rows, int64_t most_bytes) {
    std::mt19937_64 random(12);
    auto text = Strings(rows, [&](int64_t i) {
      if (i % 7 == 2) return std::string("\x01null");
      std::string value =
          RandomText(&random, static_cast<int64_t>(random() % static_cast<uint64_t>(most_bytes)));
      for (size_t at = 0; at + 40 < value.size(); at += 90) value.replace(at, 40, std::string(40, 'x'));
      return i % 7 == 3 ? std::string() : value;
    });
    auto schema = arrow::schema({arrow::field("id", arrow::int64()), arrow::field("text", arrow::utf8())});
    return arrow::RecordBatch::Make(schema, rows, {Ints(rows, [](int64_t i) { return i; }), text});
  }
};

constexpr arrow::Compression::type kAllCodecs[] = {
    arrow::Compression::UNCOMPRESSED, arrow::Compression::SNAPPY, arrow::Compression::ZSTD,
    arrow::Compression::GZIP,         arrow::Compression::BROTLI, arrow::Compression::LZ4};

TEST_F(WholePageTest, APageLargerThanTheBudgetIsCutIntoValues) {
  const auto rows = UnevenRows(24, 1 << 20);
  for (const auto codec : kAllCodecs) {
    for (const auto version : {parquet::ParquetDataPageVersion::V1, parquet::ParquetDataPageVersion::V2}) {
      WriteWhole(Path("a.parquet"), rows, codec, version);
      // The page has about 10 MiB; brotli keeps a window as large as that.
      const int64_t budget = codec == arrow::Compression::BROTLI ? 24 << 20 : 12 << 20;
      Copy(Path("a.parquet"), Path("b.parquet"), budget,
           {{"compression", "snappy"}, {"row_group_bytes", 1 << 20}}, 256 << 10);
      ExpectRows(Path("b.parquet"), rows);
    }
  }
}

TEST_F(WholePageTest, ManyValuesAtOnce) {
  const auto rows = UnevenRows(900, 60 << 10);
  for (const bool dictionary : {false, true}) {
    WriteWhole(Path("t.parquet"), rows, arrow::Compression::SNAPPY, parquet::ParquetDataPageVersion::V1,
               dictionary);
    for (const int64_t target : {1 << 10, 200 << 10, 4 << 20}) {
      auto request = Request(Path("t.parquet"), rows->schema());
      request.target_block_bytes = target;
      const auto batches = ValueOf(ReadAll(std::move(request)));
      EXPECT_TRUE(TableOf(batches, rows->schema())->Equals(*TableOf({rows}, rows->schema())));
      if (target > 1 << 20) EXPECT_LT(batches.size(), 100u);
    }
  }
}

TEST_F(WholePageTest, RowRangesInsideAPage) {
  const auto rows = UnevenRows(40, 200 << 10);
  WriteWhole(Path("t.parquet"), rows, arrow::Compression::ZSTD, parquet::ParquetDataPageVersion::V2);
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 1}, {3, 17}, {39, 40}}) {
    auto request = Request(Path("t.parquet"), rows->schema());
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = begin;
    request.fragment.end = end;
    const auto batches = ValueOf(ReadAll(std::move(request)));
    EXPECT_TRUE(TableOf(batches, rows->schema())
                    ->Equals(*TableOf({rows->Slice(begin, end - begin)}, rows->schema())));
  }
}

TEST_F(WholePageTest, ValuesOfFixedWidth) {
  const auto type = arrow::fixed_size_binary(50000);
  arrow::FixedSizeBinaryBuilder builder(type);
  std::mt19937_64 random(3);
  for (int i = 0; i < 60; ++i) {
    if (i % 5 == 1) {
      ExpectOk(builder.AppendNull());
    } else {
      ExpectOk(builder.Append(RandomText(&random, 50000)));
    }
  }
  const auto rows =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("x", type)}), 60, {*builder.Finish()});
  WriteWhole(Path("t.parquet"), rows, arrow::Compression::SNAPPY, parquet::ParquetDataPageVersion::V1);
  ExpectRows(Path("t.parquet"), rows);
}

TEST_F(WholePageTest, ARefusalInsideAPageLosesNothing) {
  const auto rows = UnevenRows(30, 200 << 10);
  WriteWhole(Path("t.parquet"), rows, arrow::Compression::SNAPPY, parquet::ParquetDataPageVersion::V1);
  for (int64_t n = 1; n < 120; ++n) {
    auto request = Request(Path("t.parquet"), rows->schema());
    request.target_block_bytes = 300 << 10;
    const auto budget = Budget::Make(256 << 20);
    request.pool = budget->root();
    budget->FailNthAllocation(n);
    int refusals = 0;
    const auto batches = ValueOf(ReadAll(std::move(request), nullptr, &refusals));
    ASSERT_TRUE(TableOf(batches, rows->schema())->Equals(*TableOf({rows}, rows->schema()))) << n;
  }
}

TEST_F(WholePageTest, AValueThatCannotFitSaysWhichRow) {
  const auto rows = UnevenRows(12, 3 << 20);
  WriteWhole(Path("t.parquet"), rows, arrow::Compression::SNAPPY, parquet::ParquetDataPageVersion::V1);
  auto request = Request(Path("t.parquet"), rows->schema());
  const auto budget = Budget::Make(2 << 20);
  request.pool = budget->root();
  const auto read = ReadAll(std::move(request));
  ASSERT_TRUE(read.status().IsOutOfMemory()) << read.status().ToString();
  const auto& text = static_cast<const arrow::StringArray&>(*rows->column(1));
  const int64_t row = DetailOf(read.status())->context.row;
  ASSERT_GE(row, 0);
  EXPECT_GT(text.GetView(row).size(), 1u << 20) << row;
}

TEST_F(WholePageTest, DamagedFilesAreDataErrors) {
  const auto rows = UnevenRows(12, 40 << 10);
  std::mt19937_64 random(8);
  for (const auto codec : kAllCodecs) {
    WriteWhole(Path("good.parquet"), rows, codec, parquet::ParquetDataPageVersion::V2);
    const std::string good = Bytes(Path("good.parquet"));
    for (int i = 0; i < 40; ++i) {
      std::string bad = good;
      // Headers are at the beginning of chunks; the footer stays whole.
      const size_t reach = i % 2 == 0 ? 200 : bad.size() - 2000;
      for (int n = 0; n < 3; ++n) bad[4 + random() % reach] = static_cast<char>(random());
      auto out = ValueOf(Env::Default()->OpenWrite(Path("bad.parquet")));
      ExpectOk(out->Write(bad.data(), static_cast<int64_t>(bad.size())));
      ExpectOk(out->Close());
      auto request = Request(Path("bad.parquet"), rows->schema());
      request.pool = Budget::Make(64 << 20)->root();
      const auto read = ReadAll(std::move(request));
      if (!read.ok() && !read.status().IsOutOfMemory()) {
        EXPECT_EQ(KindOf(read.status()), ErrorKind::kData) << RenderError(read.status());
      }
    }
  }
}

TEST_F(FatParquetTest, RowRanges) {
  const auto rows = FatRows(9, true);
  WriteBatches(Path("t.parquet"), {rows}, {{"compression", "snappy"}});
  for (const auto& [begin, end] : std::vector<std::pair<int64_t, int64_t>>{{0, 2}, {2, 7}, {8, 9}}) {
    auto request = Request(Path("t.parquet"), rows->schema());
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = begin;
    request.fragment.end = end;
    const auto batches = ValueOf(ReadAll(std::move(request)));
    EXPECT_TRUE(TableOf(batches, rows->schema())
                    ->Equals(*TableOf({rows->Slice(begin, end - begin)}, rows->schema())));
  }
}

}  // namespace
}  // namespace partita
