// Lists of one length: the same rows as Arrow's reader gives, whatever the file, the range and the memory.
#include <arrow/extension/fixed_shape_tensor.h>
#include <arrow/io/file.h>
#include <arrow/memory_pool.h>
#include <arrow/util/bit_util.h>
#include <parquet/arrow/reader.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_reader.h>
#include <parquet/properties.h>
#include <parquet/statistics.h>

#include <fstream>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

// Of elements of any width: few different ones where `kinds` is small. Floats are whole numbers, no NaN.
std::shared_ptr<arrow::Array> Elements(const std::shared_ptr<arrow::DataType>& type, int64_t count,
                                       uint64_t kinds, std::mt19937_64* random) {
  const int width = type->byte_width();
  auto data = ValueOf(arrow::AllocateBuffer(count * width));
  for (int64_t i = 0; i < count; ++i) {
    const uint64_t value = (*random)() % kinds;
    uint8_t* to = data->mutable_data() + i * width;
    if (type->id() == arrow::Type::FLOAT) {
      reinterpret_cast<float*>(to)[0] = static_cast<float>(value);
    } else if (type->id() == arrow::Type::DOUBLE) {
      reinterpret_cast<double*>(to)[0] = static_cast<double>(value) / 3;
    } else if (type->id() == arrow::Type::HALF_FLOAT) {
      reinterpret_cast<uint16_t*>(to)[0] = static_cast<uint16_t>(value & 0x3BFF);
    } else {
      std::memcpy(to, &value, static_cast<size_t>(width));
    }
  }
  return arrow::MakeArray(arrow::ArrayData::Make(type, count, {nullptr, std::move(data)}, 0));
}

struct Kind {
  std::shared_ptr<arrow::DataType> element = arrow::float32();
  int32_t length = 64;
  uint64_t kinds = 1 << 30;
  bool list_nullable = true, element_nullable = true;
  double null_lists = 0, null_elements = 0;
  bool extension = false;
};

std::shared_ptr<arrow::Buffer> Validity(int64_t count, double nulls, std::mt19937_64* random) {
  if (nulls == 0) return nullptr;
  std::shared_ptr<arrow::Buffer> bits = ValueOf(arrow::AllocateEmptyBitmap(count));
  for (int64_t i = 0; i < count; ++i) {
    if (static_cast<double>((*random)() % 100'000) >= nulls * 100'000)
      arrow::bit_util::SetBit(bits->mutable_data(), i);
  }
  return bits;
}

std::shared_ptr<arrow::RecordBatch> Lists(const Kind& kind, int64_t rows, uint64_t seed) {
  std::mt19937_64 random(seed);
  auto elements = Elements(kind.element, rows * kind.length, kind.kinds, &random)->data()->Copy();
  elements->buffers[0] = Validity(elements->length, kind.null_elements, &random);
  elements->null_count = arrow::kUnknownNullCount;
  std::shared_ptr<arrow::DataType> type =
      arrow::fixed_size_list(arrow::field("element", kind.element, kind.element_nullable), kind.length);
  if (kind.extension) type = arrow::extension::fixed_shape_tensor(kind.element, {kind.length / 2, 2});
  const auto lists = arrow::MakeArray(
      arrow::ArrayData::Make(type, rows, {Validity(rows, kind.null_lists, &random)}, {elements}));
  const auto schema =
      arrow::schema({arrow::field("id", arrow::int64()), arrow::field("x", type, kind.list_nullable)});
  return arrow::RecordBatch::Make(schema, rows, {Ints(rows, [](int64_t i) { return i; }), lists});
}

struct Layout {
  parquet::ParquetDataPageVersion version = parquet::ParquetDataPageVersion::V1;
  arrow::Compression::type codec = arrow::Compression::UNCOMPRESSED;
  bool dictionary = false, statistics = true;
  int64_t page_bytes = 1 << 20, dictionary_bytes = 1 << 20, group_rows = 1 << 20;
};

class ParquetTensorTest : public ParquetTest {
 protected:
  void WriteByArrow(const std::string& path, const std::shared_ptr<arrow::RecordBatch>& rows,
                    const Layout& layout) {
    parquet::WriterProperties::Builder builder;
    builder.data_page_version(layout.version)
        ->compression(layout.codec)
        ->data_pagesize(layout.page_bytes)
        ->dictionary_pagesize_limit(layout.dictionary_bytes)
        ->write_batch_size(257);
    if (!layout.dictionary) builder.disable_dictionary();
    if (!layout.statistics) builder.disable_statistics();
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
  void ExpectSame(const std::string& path, const std::shared_ptr<arrow::RecordBatch>& rows, uint64_t seed) {
    std::mt19937_64 random(seed);
    auto request = Request(path);
    ASSERT_TRUE(request.schema->Equals(*rows->schema())) << request.schema->ToString();
    request.target_block_bytes = int64_t{256} << (random() % 14);
    const auto whole = TableOf(ValueOf(ReadAll(request)), request.schema);
    ASSERT_TRUE(whole->Equals(*ReadByArrow(path))) << seed;
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = static_cast<int64_t>(random() % static_cast<uint64_t>(rows->num_rows()));
    request.fragment.end =
        request.fragment.begin + 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(rows->num_rows()));
    const auto part = TableOf(ValueOf(ReadAll(request)), request.schema);
    const auto expected = rows->Slice(request.fragment.begin, request.fragment.end - request.fragment.begin);
    ASSERT_TRUE(part->Equals(*TableOf({expected}, rows->schema()))) << seed;
  }
};

// Elements that are there, in lists that are.
int64_t FlatValues(const arrow::Array& rows) {
  const auto& lists = static_cast<const arrow::FixedSizeListArray&>(rows);
  const auto flat = ValueOf(lists.Flatten());
  return flat->length() - flat->null_count();
}

Kind SomeKind(std::mt19937_64* random) {
  const std::vector<std::shared_ptr<arrow::DataType>> types = {
      arrow::int8(),  arrow::uint8(),  arrow::int16(),   arrow::uint16(),  arrow::int32(),  arrow::uint32(),
      arrow::int64(), arrow::uint64(), arrow::float16(), arrow::float32(), arrow::float64()};
  Kind kind;
  kind.element = types[(*random)() % types.size()];
  kind.length = static_cast<int32_t>((*random)() % 3 == 0 ? 1 + (*random)() % 9 : 1 + (*random)() % 200);
  kind.kinds = std::vector<uint64_t>{1, 2, 7, 256, 257, 40'000, 1ULL << 40}[(*random)() % 7];
  kind.list_nullable = (*random)() % 2 == 0;
  kind.element_nullable = (*random)() % 2 == 0;
  if (kind.list_nullable && (*random)() % 5 == 0) kind.null_lists = 0.01;
  if (kind.element_nullable && (*random)() % 5 == 0) kind.null_elements = 0.0005;
  return kind;
}

Layout SomeLayout(std::mt19937_64* random) {
  Layout layout;
  if ((*random)() % 2) layout.version = parquet::ParquetDataPageVersion::V2;
  layout.codec = std::vector{arrow::Compression::UNCOMPRESSED, arrow::Compression::SNAPPY,
                             arrow::Compression::ZSTD,         arrow::Compression::LZ4,
                             arrow::Compression::GZIP,         arrow::Compression::BROTLI}[(*random)() % 6];
  layout.dictionary = (*random)() % 2;
  layout.statistics = (*random)() % 2;
  layout.page_bytes = int64_t{512} << ((*random)() % 10);
  layout.dictionary_bytes = int64_t{512} << ((*random)() % 12);
  layout.group_rows = (*random)() % 2 ? 1000 : 333;
  return layout;
}

TEST_F(ParquetTensorTest, AnyFileOfArrow) {
  std::mt19937_64 random(1);
  for (uint64_t round = 0; round < 120; ++round) {
    const Kind kind = SomeKind(&random);
    const auto rows = Lists(kind, 1 + static_cast<int64_t>(random() % 700), round);
    WriteByArrow(Path("t.parquet"), rows, SomeLayout(&random));
    ExpectSame(Path("t.parquet"), rows, round);
    if (HasFatalFailure()) FAIL() << round << " " << kind.element->ToString() << " " << kind.length;
  }
}

Json SomeArguments(std::mt19937_64* random) {
  const std::vector<std::string> codecs = {"none", "snappy", "zstd", "lz4", "gzip", "brotli"};
  return {{"compression", codecs[(*random)() % codecs.size()]},
          {"dictionary", (*random)() % 2 == 0},
          {"statistics", (*random)() % 2 == 0},
          {"data_page_bytes", 512 << ((*random)() % 10)},
          {"row_group_size", (*random)() % 2 ? 1000 : 333}};
}

TEST_F(ParquetTensorTest, ArrowReadsOurFiles) {
  std::mt19937_64 random(2);
  for (uint64_t round = 0; round < 50; ++round) {
    const Kind kind = SomeKind(&random);
    const auto rows = Lists(kind, 1 + static_cast<int64_t>(random() % 700), round);
    const Json args = SomeArguments(&random);
    WriteBatches(Path("t.parquet"), {rows}, args);
    ASSERT_TRUE(ReadByArrow(Path("t.parquet"))->Equals(*TableOf({rows}, rows->schema()))) << round;
    ExpectSame(Path("t.parquet"), rows, round);
    WriteBatches(Path("cut.parquet"), Cut(rows, round, 1 + static_cast<int64_t>(random() % 100)), args);
    ASSERT_TRUE(Bytes(Path("cut.parquet")) == Bytes(Path("t.parquet"))) << round;
    if (HasFatalFailure()) FAIL() << round << " " << kind.element->ToString() << " " << kind.length;
  }
}

// Units before and behind the first null are written in different ways.
TEST_F(ParquetTensorTest, NullsInTheMiddleOfARowGroup) {
  for (const auto& element : {arrow::uint8(), arrow::int8(), arrow::float32()}) {
    for (const auto& [before, behind] :
         {std::pair{20'000, 9'000}, {0, 20'000}, {30'000, 0}, {9'000, 9'000}}) {
      Kind kind;
      kind.element = element;
      kind.length = 5;
      kind.kinds = 300;
      auto some = kind;
      some.null_lists = some.null_elements = 0.01;
      const auto full = Lists(kind, 30'000, 6);
      const auto rows = ValueOf(arrow::ConcatenateRecordBatches(
          {full->Slice(0, before), Lists(some, 2'000, 7), full->Slice(0, behind)}));
      WriteBatches(Path("t.parquet"), {rows}, {{"data_page_bytes", 30'000}});
      const auto read = ReadByArrow(Path("t.parquet"));
      ASSERT_TRUE(read->Equals(*TableOf({rows}, rows->schema()))) << before << " " << behind;
      ExpectSame(Path("t.parquet"), rows, 8);
      auto input = ValueOf(arrow::io::ReadableFile::Open(Path("t.parquet")));
      const auto metadata = parquet::ParquetFileReader::Open(input)->metadata();
      const auto chunk = metadata->RowGroup(0)->ColumnChunk(1);
      EXPECT_EQ(chunk->statistics()->null_count(), chunk->num_values() - FlatValues(*rows->column(1)));
    }
  }
}

TEST_F(ParquetTensorTest, BytesDoNotDependOnTheBudget) {
  const auto rows = Lists({}, 60'000, 9);
  WriteBatches(Path("large.parquet"), {rows});
  const auto budget = Budget::Make(12 << 20);
  WriteBatches(Path("small.parquet"), Cut(rows, 5, 500), Json::object(), budget->root());
  EXPECT_TRUE(Bytes(Path("small.parquet")) == Bytes(Path("large.parquet")));
  EXPECT_LE(budget->peak_bytes(), 12 << 20);
  EXPECT_EQ(budget->root()->bytes_allocated(), 0);
}

TEST_F(ParquetTensorTest, BytesTakeAByteAndNoiseIsNotCompressed) {
  Kind kind;
  kind.element = arrow::uint8();
  kind.length = 1000;
  const auto rows = Lists(kind, 2'000, 10);
  WriteBatches(Path("bytes.parquet"), {rows});
  EXPECT_LT(Entry(Path("bytes.parquet")).size_bytes, 2'100'000);
  kind.kinds = 16;
  const auto few = Lists(kind, 2'000, 11);
  WriteBatches(Path("few.parquet"), {few});
  EXPECT_LT(Entry(Path("few.parquet")).size_bytes, 1'200'000);
}

TEST_F(ParquetTensorTest, ExtensionTypesStay) {
  Kind kind;
  kind.extension = true;
  const auto rows = Lists(kind, 500, 3);
  WriteByArrow(Path("t.parquet"), rows, {});
  ExpectSame(Path("t.parquet"), rows, 3);
  WriteBatches(Path("ours.parquet"), {rows});
  ExpectSame(Path("ours.parquet"), rows, 3);
}

// Where Arrow's reader sees rows in damaged bytes, we see the same, or an error.
TEST_F(ParquetTensorTest, DamagedPagesAreReadAsArrowReadsThem) {
  std::mt19937_64 random(12);
  int same = 0;
  for (int round = 0; round < 6; ++round) {
    Kind kind;
    kind.element = round % 2 ? arrow::uint8() : arrow::int32();
    kind.length = round < 3 ? 5 : 40;
    kind.kinds = 100;
    const auto rows = Lists(kind, 200, static_cast<uint64_t>(round));
    Layout layout{.page_bytes = 700, .group_rows = 90};
    layout.version = round % 3 ? parquet::ParquetDataPageVersion::V1 : parquet::ParquetDataPageVersion::V2;
    layout.dictionary = round > 3;
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
      ASSERT_TRUE(TableOf(*ours, request.schema)->Equals(**theirs)) << round << " " << probe;
      ++same;
    }
  }
  EXPECT_GT(same, 100);
}

// The levels of lists tell their rows: pages before a range are not read.
TEST_F(ParquetTensorTest, RowRangesSkipPagesUnread) {
  for (const auto version : {parquet::ParquetDataPageVersion::V1, parquet::ParquetDataPageVersion::V2}) {
    const auto rows = Lists({}, 20'000, 4);
    WriteByArrow(Path("t.parquet"), rows, {.version = version, .page_bytes = 64 << 10});
    auto request = Request(Path("t.parquet"), rows->schema());
    request.fragment.range = Fragment::Range::kRows;
    request.fragment.begin = 19'000;
    request.fragment.end = 19'100;
    auto reader = ValueOf(ParquetFormat()->OpenReader(std::move(request)));
    int64_t row = 19'000;
    while (auto next = ValueOf(reader->Next())) {
      ASSERT_TRUE(next->batch->Equals(*rows->Slice(row, next->batch->num_rows())));
      row += next->batch->num_rows();
    }
    EXPECT_EQ(row, 19'100);
    EXPECT_LT(reader->bytes_read(), Entry(Path("t.parquet")).size_bytes * 3 / 4);  // windows, no bodies
  }
}

TEST_F(ParquetTensorTest, RefusedMemoryLosesNoRow) {
  for (const bool nulls : {false, true}) {
    Kind kind;
    kind.null_elements = nulls ? 0.0001 : 0;
    const auto rows = Lists(kind, 3'000, 5);
    WriteByArrow(
        Path("t.parquet"), rows,
        {.codec = arrow::Compression::ZSTD, .statistics = false, .page_bytes = 50'000, .group_rows = 1300});
    for (int64_t n = 1; n < 200; n += 1 + n / 20) {
      auto request = Request(Path("t.parquet"), rows->schema());
      const auto budget = Budget::Make(1 << 30);
      request.pool = budget->root();
      request.target_block_bytes = 64 << 10;
      budget->FailNthAllocation(n);
      int refusals = 0;
      const auto batches = ReadAll(request, nullptr, &refusals);
      ASSERT_TRUE(batches.ok()) << n << " " << RenderError(batches.status());
      ASSERT_TRUE(TableOf(*batches, rows->schema())->Equals(*TableOf({rows}, rows->schema()))) << n;
    }
  }
}

}  // namespace
}  // namespace partita
