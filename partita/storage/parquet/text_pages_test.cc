// Columns of text: the same bytes whether they come as values or as indices of whatever dictionary, files
// that any reader reads, and footers that tell the truth.
#include <gmock/gmock.h>
#include <parquet/arrow/reader.h>
#include <parquet/file_reader.h>
#include <parquet/statistics.h>

#include <map>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

// The texts as indices of a dictionary in which some stand twice, some are nobody's, and some are null.
template <typename IndexBuilder>
std::shared_ptr<arrow::Array> Coded(const arrow::Array& texts, std::mt19937_64* random) {
  const auto& strings = static_cast<const arrow::StringArray&>(texts);
  arrow::StringBuilder entries;
  std::map<std::string, std::vector<int64_t>> places;
  std::vector<int64_t> null_places;
  const auto add = [&](const std::string& text, bool is_null) {
    const int64_t place = entries.length();
    (void)(is_null ? entries.AppendNull() : entries.Append(text));
    return place;
  };
  add("nobody's", false);
  if ((*random)() % 2 == 0) null_places.push_back(add("", true));
  for (int64_t i = 0; i < strings.length(); ++i) {
    if (strings.IsNull(i)) continue;
    auto& known = places[strings.GetString(i)];
    if (known.empty() || (known.size() < 3 && (*random)() % 50 == 0))
      known.push_back(add(strings.GetString(i), false));
  }
  IndexBuilder indices;
  using Index = typename IndexBuilder::value_type;
  for (int64_t i = 0; i < strings.length(); ++i) {
    if (strings.IsNull(i) && (null_places.empty() || (*random)() % 2 == 0)) {
      (void)indices.AppendNull();
      continue;
    }
    const auto& at = strings.IsNull(i) ? null_places : places[strings.GetString(i)];
    (void)indices.Append(static_cast<Index>(at[(*random)() % at.size()]));
  }
  return ValueOf(arrow::DictionaryArray::FromArrays(*indices.Finish(), *entries.Finish()));
}

class ParquetTextsTest : public ParquetTest {
 protected:
  // Every text column of a batch as it is, or as indices, by chance.
  std::shared_ptr<arrow::RecordBatch> SomeCoded(const arrow::RecordBatch& batch, std::mt19937_64* random) {
    auto columns = batch.columns();
    auto fields = batch.schema()->fields();
    for (size_t c = 0; c < columns.size(); ++c) {
      if (columns[c]->type_id() != arrow::Type::STRING || (*random)() % 4 == 0) continue;
      const bool is_null = columns[c]->null_count() == columns[c]->length() && (*random)() % 2 == 0;
      const auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
      columns[c] = is_null                ? ValueOf(arrow::MakeArrayOfNull(type, batch.num_rows()))
                   : (*random)() % 2 == 0 ? Coded<arrow::Int32Builder>(*columns[c], random)
                                          : Coded<arrow::UInt16Builder>(*columns[c], random);
      fields[c] = fields[c]->WithType(columns[c]->type());
    }
    return arrow::RecordBatch::Make(arrow::schema(fields), batch.num_rows(), columns);
  }

  void WriteAs(const std::string& path, const std::shared_ptr<arrow::Schema>& schema,
               const arrow::RecordBatchVector& batches, const Json& args) {
    auto writer = OpenWriter(path, schema, args, Budget::Make(4LL << 30)->root());
    for (const auto& batch : batches) ExpectOk(writer->Write(batch));
    ExpectOk(writer->Finish());
    writer.reset();
    ExpectOk(stream_->Close());
  }

  // Writes the rows as values, and in batches of any kind: the bytes are the same, and they are the rows.
  void ExpectSameBytes(const std::shared_ptr<arrow::RecordBatch>& rows, const Json& args) {
    WriteBatches(Path("values.parquet"), {rows}, args);
    const std::string expected = Bytes(Path("values.parquet"));
    std::mt19937_64 random(5);
    for (const int64_t longest : {40'000, 9'000, 700}) {
      arrow::RecordBatchVector batches;
      for (const auto& batch : Cut(rows, static_cast<uint64_t>(longest), longest))
        batches.push_back(SomeCoded(*batch, &random));
      WriteAs(Path("coded.parquet"), rows->schema(), batches, args);
      EXPECT_TRUE(Bytes(Path("coded.parquet")) == expected) << longest << " " << args.dump();
    }
    const auto read =
        TableOf(ValueOf(ReadAll(Request(Path("values.parquet"), rows->schema()))), rows->schema());
    EXPECT_TRUE(read->Equals(*TableOf({rows}, rows->schema())));
    // libparquet alone reads the same.
    auto reader = ValueOf(parquet::arrow::FileReader::Make(
        arrow::default_memory_pool(), parquet::ParquetFileReader::OpenFile(Path("values.parquet"))));
    const auto table = ValueOf(reader->ReadTable());
    EXPECT_TRUE(table->Equals(*TableOf({rows}, rows->schema())));
  }
};

std::shared_ptr<arrow::RecordBatch> RowsOf(const arrow::ArrayVector& columns) {
  arrow::FieldVector fields;
  for (size_t c = 0; c < columns.size(); ++c)
    fields.push_back(arrow::field(std::string(1, static_cast<char>('a' + c)), columns[c]->type()));
  return arrow::RecordBatch::Make(arrow::schema(fields), columns[0]->length(), columns);
}

TEST_F(ParquetTextsTest, BytesDoNotDependOnHowTextsCome) {
  constexpr int64_t kRows = 50'000;
  std::mt19937_64 random(1);
  const auto rows = RowsOf({
      Strings(kRows, [&](int64_t) { return "label " + std::to_string(random() % 300); }),
      Strings(
          kRows,
          [&](int64_t i) { return i % 5 == 0 ? std::string("\x01null") : std::string(random() % 9, 'x'); }),
      Strings(kRows,
              [](int64_t i) { return i < 30'000 ? std::string("same") : "then " + std::to_string(i / 100); }),
      Strings(kRows,
              [](int64_t i) { return i < 20'000 || i > 40'000 ? std::string("\x01null") : std::string(); }),
      Strings(kRows, [](int64_t) { return std::string("\x01null"); }),
      Ints(kRows, [](int64_t i) { return i; }),
  });
  for (const char* codec : {"none", "snappy", "zstd"}) {
    ExpectSameBytes(rows, {{"compression", codec}, {"row_group_size", 17'000}, {"data_page_bytes", 3'000}});
  }
  ExpectSameBytes(rows->Slice(11, 44'000), {{"dictionary", false}});
}

// A dictionary that grows too large ends, and the rest of the chunk is plain. So it is where a value is too
// large for a dictionary, and where none repeats.
TEST_F(ParquetTextsTest, BytesDoNotDependOnWhereADictionaryEnds) {
  constexpr int64_t kRows = 40'000;
  std::mt19937_64 random(2);
  ExpectSameBytes(
      RowsOf({
          Strings(kRows, [&](int64_t) { return std::string(60, 'p') + std::to_string(random() % 30'000); }),
          Strings(kRows, [&](int64_t i) { return std::to_string(i) + RandomText(&random, 20); }),
      }),
      Json::object());
  ExpectSameBytes(
      RowsOf({Strings(
          3'000,
          [&](int64_t i) { return i % 1'000 == 999 ? std::string(3 << 19, 'f') : std::to_string(i % 40); })}),
      {{"row_group_size", 1'500}});
}

TEST_F(ParquetTextsTest, TheFooterTellsWhatAChunkHas) {
  constexpr int64_t kRows = 60'000;
  const auto rows = RowsOf({
      Strings(kRows,
              [](int64_t i) { return i % 3 == 0 ? std::string("\x01null") : "k" + std::to_string(i % 500); }),
      // Its dictionary ends, and what comes later is smaller and larger than all in it.
      Strings(kRows,
              [](int64_t i) {
                if (i == kRows - 2) return std::string("\x02 first");
                return i == kRows - 1 ? std::string("~ last") : std::string(50, 'm') + std::to_string(i / 2);
              }),
  });
  WriteBatches(Path("a.parquet"), {rows});
  const auto reader = parquet::ParquetFileReader::OpenFile(Path("a.parquet"));
  const auto group = reader->metadata()->RowGroup(0);
  const auto texts = group->ColumnChunk(0)->statistics();
  ASSERT_TRUE(texts && texts->HasMinMax());
  EXPECT_EQ(texts->EncodeMin(), "k0");
  EXPECT_EQ(texts->EncodeMax(), "k99");
  EXPECT_EQ(texts->null_count(), kRows / 3);
  EXPECT_EQ(group->ColumnChunk(0)->num_values(), kRows);
  EXPECT_TRUE(group->ColumnChunk(0)->has_dictionary_page());
  const auto mixed = group->ColumnChunk(1)->statistics();
  ASSERT_TRUE(mixed && mixed->HasMinMax());
  EXPECT_EQ(mixed->EncodeMin(), "\x02 first");
  EXPECT_EQ(mixed->EncodeMax(), "~ last");
  EXPECT_THAT(group->ColumnChunk(1)->encodings(), testing::Contains(parquet::Encoding::PLAIN));
  WriteBatches(Path("b.parquet"), {rows}, {{"statistics", false}});
  EXPECT_FALSE(parquet::ParquetFileReader::OpenFile(Path("b.parquet"))
                   ->metadata()
                   ->RowGroup(0)
                   ->ColumnChunk(0)
                   ->is_stats_set());
}

TEST_F(ParquetTextsTest, AnIndexBeyondItsDictionaryIsADataError) {
  const auto type = arrow::dictionary(arrow::int32(), arrow::utf8());
  const auto values = Ints(3, [](int64_t) { return 7; });  // as 32 bits: 7, 0, 7
  auto data = arrow::ArrayData::Make(type, 3, {nullptr, values->data()->buffers[1]}, 0);
  data->dictionary = Strings(2, [](int64_t i) { return std::to_string(i); })->data();
  const auto rows = RowsOf({arrow::MakeArray(data)});
  const Json args = Json::object();
  auto writer = OpenWriter(Path("a.parquet"), arrow::schema({arrow::field("a", arrow::utf8())}), args,
                           Budget::Make(1 << 30)->root());
  EXPECT_EQ(KindOf(writer->Write(rows)), ErrorKind::kData);
}

TEST_F(ParquetTextsTest, ANullWhereNoneMayBeIsAnError) {
  const auto schema = arrow::schema({arrow::field("a", arrow::utf8(), /*nullable=*/false)});
  const auto texts = Strings(5, [](int64_t i) { return i == 3 ? std::string("\x01null") : "t"; });
  const Json args = Json::object();
  auto writer = OpenWriter(Path("a.parquet"), schema, args, Budget::Make(1 << 30)->root());
  Status status = writer->Write(arrow::RecordBatch::Make(schema, 5, {texts}));
  if (status.ok()) status = writer->Finish();
  EXPECT_FALSE(status.ok());
}

}  // namespace
}  // namespace partita
