// Flat columns of numbers and text: the same rows as Arrow's reader gives, whatever the file, the range and
// the memory.
#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>

#include <cstring>
#include <fstream>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

std::shared_ptr<arrow::Buffer> Validity(int64_t count, int nulls_percent, std::mt19937_64* random) {
  if (nulls_percent == 0) return nullptr;
  std::shared_ptr<arrow::Buffer> bits = ValueOf(arrow::AllocateEmptyBitmap(count));
  bool is_there = true;  // in streaks, so that levels come in runs of all kinds
  for (int64_t i = 0; i < count; ++i) {
    if ((*random)() % 5 == 0) is_there = static_cast<int>((*random)() % 100) >= nulls_percent;
    if (is_there) arrow::bit_util::SetBit(bits->mutable_data(), i);
  }
  return bits;
}

struct Kind {
  std::shared_ptr<arrow::DataType> type;
  uint64_t values = 1 << 30;  // different ones
  int nulls_percent = 0;
  bool nullable = true;
};

std::shared_ptr<arrow::Array> Numbers(const Kind& kind, int64_t rows, std::mt19937_64* random) {
  const int width = kind.type->byte_width();
  std::shared_ptr<arrow::Buffer> data = ValueOf(arrow::AllocateBuffer(rows * width));
  for (int64_t i = 0; i < rows; ++i) {
    const uint64_t value = (*random)() % kind.values;
    uint8_t* to = data->mutable_data() + i * width;
    if (kind.type->id() == arrow::Type::FLOAT) {
      const auto number = static_cast<float>(value) / 3;
      std::memcpy(to, &number, sizeof(number));
    } else if (kind.type->id() == arrow::Type::DOUBLE) {
      const auto number = static_cast<double>(value) / 3;
      std::memcpy(to, &number, sizeof(number));
    } else {
      const uint64_t number = value * 0x9E3779B97F4A7C15;
      std::memcpy(to, &number, static_cast<size_t>(width));
    }
  }
  return arrow::MakeArray(arrow::ArrayData::Make(
      kind.type, rows, {Validity(rows, kind.nulls_percent, random), data}, arrow::kUnknownNullCount));
}

std::shared_ptr<arrow::Array> Texts(const Kind& kind, int64_t rows, std::mt19937_64* random) {
  const auto bits = Validity(rows, kind.nulls_percent, random);
  std::unique_ptr<arrow::ArrayBuilder> builder;
  ExpectOk(arrow::MakeBuilder(arrow::default_memory_pool(), kind.type, &builder));
  const auto append = [&](auto* typed) {
    for (int64_t i = 0; i < rows; ++i) {
      const uint64_t value = (*random)() % kind.values;
      // From nothing to more than what is copied at once.
      const std::string text = std::string(value % 41, 'x') + (value % 7 ? std::to_string(value) : "");
      const bool is_there = bits == nullptr || arrow::bit_util::GetBit(bits->data(), i);
      ExpectOk(is_there ? typed->Append(text) : typed->AppendNull());
    }
  };
  if (arrow::is_large_binary_like(kind.type->id())) {
    append(static_cast<arrow::LargeBinaryBuilder*>(builder.get()));
  } else {
    append(static_cast<arrow::BinaryBuilder*>(builder.get()));
  }
  return ValueOf(builder->Finish());
}

Kind SomeKind(std::mt19937_64* random) {
  const std::vector<std::shared_ptr<arrow::DataType>> types = {
      arrow::int8(),
      arrow::uint8(),
      arrow::int16(),
      arrow::uint16(),
      arrow::int32(),
      arrow::uint32(),
      arrow::int64(),
      arrow::uint64(),
      arrow::date32(),
      arrow::timestamp(arrow::TimeUnit::MILLI),
      arrow::float32(),
      arrow::float64(),
      arrow::utf8(),
      arrow::binary(),
      arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"),
      arrow::utf8(),
      arrow::large_utf8(),
      arrow::large_binary(),
      arrow::date64(),
      arrow::timestamp(arrow::TimeUnit::NANO),
      arrow::boolean(),
      arrow::timestamp(arrow::TimeUnit::SECOND)};
  Kind kind;
  kind.type = types[(*random)() % types.size()];
  kind.values = std::vector<uint64_t>{1, 2, 7, 100, 300, 70'000, 1ULL << 40}[(*random)() % 7];
  kind.nullable = (*random)() % 4 != 0;
  if (kind.nullable) kind.nulls_percent = std::vector<int>{0, 1, 40, 100}[(*random)() % 4];
  return kind;
}

std::shared_ptr<arrow::Array> Column(const Kind& kind, int64_t rows, std::mt19937_64* random) {
  if (arrow::is_base_binary_like(kind.type->id())) return Texts(kind, rows, random);
  if (kind.type->id() == arrow::Type::DATE64) {  // whole days only
    arrow::Date64Builder builder;
    for (int64_t i = 0; i < rows; ++i) {
      ExpectOk(builder.Append(static_cast<int64_t>((*random)() % 1000) * 86'400'000));
    }
    return ValueOf(builder.Finish());
  }
  if (kind.type->id() == arrow::Type::BOOL || kind.type->Equals(arrow::timestamp(arrow::TimeUnit::SECOND))) {
    std::unique_ptr<arrow::ArrayBuilder> builder;
    ExpectOk(arrow::MakeBuilder(arrow::default_memory_pool(), kind.type, &builder));
    for (int64_t i = 0; i < rows; ++i) {
      if (kind.type->id() == arrow::Type::BOOL) {
        ExpectOk(static_cast<arrow::BooleanBuilder*>(builder.get())->Append((*random)() % 2 == 0));
      } else {
        ExpectOk(static_cast<arrow::TimestampBuilder*>(builder.get())
                     ->Append(static_cast<int64_t>((*random)() % kind.values % 1'000'000)));
      }
    }
    return ValueOf(builder->Finish());
  }
  return Numbers(kind, rows, random);
}

// Rows of one column of a kind, or of some kinds.
std::shared_ptr<arrow::RecordBatch> Rows(const std::vector<Kind>& kinds, int64_t rows, uint64_t seed) {
  std::mt19937_64 random(seed);
  arrow::ArrayVector columns;
  arrow::FieldVector fields;
  for (const auto& kind : kinds) {
    columns.push_back(Column(kind, rows, &random));
    fields.push_back(arrow::field("c" + std::to_string(fields.size()), kind.type, kind.nullable));
  }
  return arrow::RecordBatch::Make(arrow::schema(fields), rows, columns);
}

struct Layout {
  parquet::ParquetDataPageVersion version = parquet::ParquetDataPageVersion::V1;
  arrow::Compression::type codec = arrow::Compression::UNCOMPRESSED;
  bool dictionary = true;
  parquet::Encoding::type encoding = parquet::Encoding::PLAIN;  // of what is in no dictionary
  int64_t page_bytes = 1 << 20, dictionary_bytes = 1 << 20, group_rows = 1 << 20;
};

Layout SomeLayout(std::mt19937_64* random) {
  Layout layout;
  if ((*random)() % 2) layout.version = parquet::ParquetDataPageVersion::V2;
  layout.codec = std::vector{arrow::Compression::UNCOMPRESSED, arrow::Compression::SNAPPY,
                             arrow::Compression::ZSTD,         arrow::Compression::LZ4,
                             arrow::Compression::GZIP,         arrow::Compression::BROTLI}[(*random)() % 6];
  layout.dictionary = (*random)() % 3 != 0;
  layout.page_bytes = int64_t{128} << ((*random)() % 10);
  layout.dictionary_bytes = int64_t{64} << ((*random)() % 14);
  layout.group_rows = (*random)() % 2 ? 2500 : 777;
  return layout;
}

class ParquetFlatTest : public ParquetTest {
 protected:
  void WriteByArrow(const std::string& path, const std::shared_ptr<arrow::RecordBatch>& rows,
                    const Layout& layout) {
    parquet::WriterProperties::Builder builder;
    builder.data_page_version(layout.version)
        ->compression(layout.codec)
        ->data_pagesize(layout.page_bytes)
        ->dictionary_pagesize_limit(layout.dictionary_bytes)
        ->encoding(layout.encoding)
        ->write_batch_size(101);
    if (!layout.dictionary) builder.disable_dictionary();
    auto arrow_properties = parquet::ArrowWriterProperties::Builder().store_schema()->build();
    auto out = ValueOf(arrow::io::FileOutputStream::Open(path));
    ExpectOk(parquet::arrow::WriteTable(*TableOf({rows}, rows->schema()), arrow::default_memory_pool(), out,
                                        layout.group_rows, builder.build(), arrow_properties));
    ExpectOk(out->Close());
  }

  std::shared_ptr<arrow::Table> ReadByArrow(const std::string& path) {
    auto input = ValueOf(arrow::io::ReadableFile::Open(path));
    auto reader = ValueOf(parquet::arrow::OpenFile(input, arrow::default_memory_pool()));
    return ValueOf(reader->ReadTable());
  }

  // All of it, and a range.
  void ExpectSame(const std::string& path, uint64_t seed) {
    std::mt19937_64 random(seed);
    const auto expected = ReadByArrow(path);
    const auto num_rows = static_cast<uint64_t>(expected->num_rows());
    auto request = Request(path);
    request.target_block_bytes = int64_t{256} << (random() % 14);
    const auto whole = TableOf(ValueOf(ReadAll(request)), request.schema);
    ASSERT_TRUE(whole->Equals(*expected)) << seed;
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = static_cast<int64_t>(random() % num_rows);
    request.fragment.end = request.fragment.begin + 1 + static_cast<int64_t>(random() % num_rows);
    const auto part = TableOf(ValueOf(ReadAll(request)), request.schema);
    ASSERT_TRUE(
        part->Equals(*expected->Slice(request.fragment.begin, request.fragment.end - request.fragment.begin)))
        << seed;
  }
};

TEST_F(ParquetFlatTest, AnyFileOfArrow) {
  std::mt19937_64 random(1);
  for (uint64_t round = 0; round < 150; ++round) {
    const std::vector<Kind> kinds = {SomeKind(&random), SomeKind(&random)};
    const auto rows = Rows(kinds, 1 + static_cast<int64_t>(random() % 3000), round);
    WriteByArrow(Path("f.parquet"), rows, SomeLayout(&random));
    ExpectSame(Path("f.parquet"), round);
    if (HasFatalFailure()) FAIL() << round << " " << rows->schema()->ToString();
  }
}

TEST_F(ParquetFlatTest, OtherEncodingsAreLeftToArrow) {
  const auto rows = Rows({{arrow::int64(), 1000, 10}, {arrow::int64(), 1ULL << 50}}, 2000, 5);
  WriteByArrow(Path("f.parquet"), rows,
               {.dictionary = false, .encoding = parquet::Encoding::DELTA_BINARY_PACKED});
  ExpectSame(Path("f.parquet"), 5);
}

// An array of 32-bit offsets, and what is held at once, have an end.
TEST_F(ParquetFlatTest, AFewLongTextsInADictionary) {
  const auto text = Strings(3000, [](int64_t i) { return std::string(i % 3 == 0 ? 100'000 : 3, 'a'); });
  const auto rows = arrow::RecordBatch::Make(arrow::schema({arrow::field("c", arrow::utf8())}), 3000, {text});
  WriteByArrow(Path("f.parquet"), rows, {});
  auto request = Request(Path("f.parquet"));
  request.target_block_bytes = 1 << 30;
  const auto batches = ValueOf(ReadAll(request));
  EXPECT_TRUE(TableOf(batches, request.schema)->Equals(*TableOf({rows}, rows->schema())));
  for (const auto& batch : batches) {
    EXPECT_LE(static_cast<const arrow::StringArray&>(*batch->column(0)).total_values_length(), 64 << 20);
  }
}

// Where Arrow's reader sees rows in damaged bytes, we see the same, or an error.
TEST_F(ParquetFlatTest, DamagedPagesAreReadAsArrowReadsThem) {
  std::mt19937_64 random(12);
  int same = 0;
  for (int round = 0; round < 10; ++round) {
    const auto rows = Rows({{arrow::int32(), 100, round % 2 ? 20 : 0},
                            {arrow::utf8(), 50, round % 3 ? 0 : 20},
                            {arrow::float64(), 1 << 20},
                            {arrow::uint8(), 200, 0, /*nullable=*/false}},
                           300, static_cast<uint64_t>(round));
    Layout layout{.page_bytes = 300, .dictionary_bytes = 400, .group_rows = 170};
    layout.version = round % 3 ? parquet::ParquetDataPageVersion::V1 : parquet::ParquetDataPageVersion::V2;
    layout.codec = round % 4 ? arrow::Compression::UNCOMPRESSED : arrow::Compression::SNAPPY;
    WriteByArrow(Path("good.parquet"), rows, layout);
    const std::string good = Bytes(Path("good.parquet"));
    for (int probe = 0; probe < 150; ++probe) {
      std::string bad = good;
      bad[4 + random() % (good.size() * 3 / 4)] ^= static_cast<char>(1 << (random() % 8));
      std::ofstream(Path("bad.parquet"), std::ios::binary | std::ios::trunc) << bad;
      auto input = ValueOf(arrow::io::ReadableFile::Open(Path("bad.parquet")));
      arrow::CappedMemoryPool pool(arrow::default_memory_pool(), 64 << 20);
      auto theirs = arrow::Result<std::shared_ptr<arrow::Table>>(arrow::Status::Invalid("unread"));
      try {
        auto reader = parquet::arrow::OpenFile(input, &pool);
        if (!reader.ok()) continue;
        theirs = (*reader)->ReadTable();
      } catch (const std::exception&) {
        continue;
      }
      auto request = Request(Path("good.parquet"));
      request.fragment.file = Entry(Path("bad.parquet"));
      const auto ours = ReadAll(request);
      if (!theirs.ok() || !ours.ok()) continue;
      ASSERT_TRUE(
          TableOf(*ours, request.schema)->Equals(**theirs, arrow::EqualOptions::Defaults().nans_equal(true)))
          << round << " " << probe;
      ++same;
    }
  }
  EXPECT_GT(same, 100);
}

TEST_F(ParquetFlatTest, RowRangesSkipPagesUnread) {
  for (const auto version : {parquet::ParquetDataPageVersion::V1, parquet::ParquetDataPageVersion::V2}) {
    const auto rows = Rows({{arrow::float64(), 1ULL << 40}, {arrow::utf8(), 1ULL << 40, 10}}, 200'000, 4);
    WriteByArrow(Path("f.parquet"), rows, {.version = version, .dictionary = false, .page_bytes = 512 << 10});
    auto request = Request(Path("f.parquet"), rows->schema());
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = 190'000;
    request.fragment.end = 190'100;
    auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
    int64_t row = 190'000;
    while (auto next = ValueOf(reader->Next())) {
      ASSERT_TRUE(next->batch->Equals(*rows->Slice(row, next->batch->num_rows())));
      row += next->batch->num_rows();
    }
    EXPECT_EQ(row, 190'100);
    EXPECT_LT(reader->bytes_read(), Entry(Path("f.parquet")).size_bytes * 3 / 4);  // windows, few bodies
  }
}

TEST_F(ParquetFlatTest, RefusedMemoryLosesNoRow) {
  const auto rows =
      Rows({{arrow::int32(), 40, 30}, {arrow::utf8(), 100, 5}, {arrow::utf8(), 1ULL << 40}}, 6'000, 5);
  WriteByArrow(Path("f.parquet"), rows,
               {.codec = arrow::Compression::ZSTD, .page_bytes = 5'000, .group_rows = 2500});
  for (int64_t n = 1; n < 300; n += 1 + n / 20) {
    auto request = Request(Path("f.parquet"), rows->schema());
    const auto budget = Budget::Make(1 << 30);
    request.pool = budget->root();
    request.target_block_bytes = 32 << 10;
    budget->FailNthAllocation(n);
    int refusals = 0;
    const auto batches = ReadAll(request, nullptr, &refusals);
    ASSERT_TRUE(batches.ok()) << n << " " << RenderError(batches.status());
    ASSERT_TRUE(TableOf(*batches, rows->schema())->Equals(*TableOf({rows}, rows->schema()))) << n;
  }
}

}  // namespace
}  // namespace partita
