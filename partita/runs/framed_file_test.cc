#include "partita/runs/framed_file.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "partita/base/digest.h"
#include "partita/memory/budget.h"

namespace partita {
namespace {

using BatchPtr = std::shared_ptr<arrow::RecordBatch>;

class FramedFile : public testing::Test {
 protected:
  FramedFile() {
    std::string pattern = (std::filesystem::temp_directory_path() / "framed-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    path_ = folder_ + "/x.pxf";
  }
  ~FramedFile() override { std::filesystem::remove_all(folder_); }

  void WriteFile(const std::vector<BatchPtr>& batches) {
    auto writer = FramedFileWriter::Open(Env::Default(), path_, batches.at(0)->schema()).ValueOrDie();
    for (const auto& batch : batches) ASSERT_TRUE(writer->Write(*batch, arrow::default_memory_pool()).ok());
    ASSERT_TRUE(writer->Close().ok());
    size_bytes_ = writer->size_bytes();
  }
  Result<std::shared_ptr<arrow::Table>> ReadFile(int64_t first_row = 0, int64_t num_rows = INT64_MAX,
                                                 arrow::MemoryPool* pool = arrow::default_memory_pool()) {
    ARROW_ASSIGN_OR_RAISE(auto reader,
                          FramedFileReader::Open(Env::Default(), path_, pool, first_row, num_rows));
    std::vector<BatchPtr> batches;
    while (true) {
      ARROW_ASSIGN_OR_RAISE(auto batch, reader->Next());
      if (!batch) return arrow::Table::FromRecordBatches(reader->schema(), batches);
      batches.push_back(std::move(batch));
    }
  }
  std::string Bytes() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  void SetBytes(const std::string& bytes) {
    std::filesystem::remove(path_);
    std::ofstream(path_, std::ios::binary) << bytes;
  }

  std::string folder_, path_;
  int64_t size_bytes_ = 0;
};

std::shared_ptr<arrow::Array> Words(const std::vector<std::string>& words) {
  arrow::StringBuilder builder;
  EXPECT_TRUE(builder.AppendValues(words).ok());
  return builder.Finish().ValueOrDie();
}

// Rows `first`.. of: a number, a dictionary of words, and a list of dictionary values.
BatchPtr Batch(int64_t first, int64_t rows, const std::shared_ptr<arrow::Array>& words) {
  arrow::Int64Builder numbers;
  arrow::Int8Builder indices, inner;
  arrow::Int32Builder offsets;
  const auto size = words->length();
  for (int64_t i = first; i < first + rows; ++i) {
    EXPECT_TRUE(numbers.Append(i).ok());
    EXPECT_TRUE((i % 5 == 3 ? indices.AppendNull() : indices.Append(static_cast<int8_t>(i % size))).ok());
    EXPECT_TRUE(offsets.Append(static_cast<int32_t>(inner.length())).ok());
    for (int64_t k = 0; k < i % 3; ++k) EXPECT_TRUE(inner.Append(static_cast<int8_t>((i + k) % size)).ok());
  }
  EXPECT_TRUE(offsets.Append(static_cast<int32_t>(inner.length())).ok());
  const auto type = arrow::dictionary(arrow::int8(), arrow::utf8());
  const auto column =
      arrow::DictionaryArray::FromArrays(type, indices.Finish().ValueOrDie(), words).ValueOrDie();
  const auto values =
      arrow::DictionaryArray::FromArrays(type, inner.Finish().ValueOrDie(), words).ValueOrDie();
  const auto lists = arrow::ListArray::FromArrays(*offsets.Finish().ValueOrDie(), *values).ValueOrDie();
  const auto schema = arrow::schema(
      {arrow::field("n", arrow::int64()), arrow::field("d", type), arrow::field("l", lists->type())});
  return arrow::RecordBatch::Make(schema, rows, {numbers.Finish().ValueOrDie(), column, lists});
}

// Batches of 10 rows: the same dictionary, an equal one, others, and a slice.
std::vector<BatchPtr> Batches() {
  const auto words = Words({"a", "b", "c"});
  return {Batch(0, 10, words),
          Batch(10, 10, words),
          Batch(20, 10, Words({"a", "b", "c"})),
          Batch(30, 10, Words({"d", "e"})),
          Batch(0, 60, Words({"f", "g", "h", "i"}))->Slice(40, 10),
          Batch(50, 10, words)};
}

// The values without the dictionaries.
std::string Text(const arrow::Table& table) {
  std::string text;
  for (int c = 0; c < table.num_columns(); ++c) {
    for (int64_t i = 0; i < table.num_rows(); ++i) {
      const auto scalar = table.column(c)->GetScalar(i).ValueOrDie();
      const auto& type = *scalar->type;
      if (type.id() == arrow::Type::DICTIONARY) {
        text +=
            static_cast<const arrow::DictionaryScalar&>(*scalar).GetEncodedValue().ValueOrDie()->ToString();
      } else if (type.id() == arrow::Type::LIST) {
        const auto& list = static_cast<const arrow::ListScalar&>(*scalar).value;
        for (int64_t k = 0; k < list->length(); ++k) {
          const auto item = list->GetScalar(k).ValueOrDie();
          text +=
              static_cast<const arrow::DictionaryScalar&>(*item).GetEncodedValue().ValueOrDie()->ToString();
        }
      } else {
        text += scalar->ToString();
      }
      text += ' ';
    }
  }
  return text;
}

TEST_F(FramedFile, DictionariesComeBack) {
  const auto batches = Batches();
  WriteFile(batches);
  const auto given = arrow::Table::FromRecordBatches(batches).ValueOrDie();
  const auto back = ReadFile();
  ASSERT_TRUE(back.ok()) << back.status().ToString();
  EXPECT_TRUE((*back)->ValidateFull().ok());
  EXPECT_TRUE((*back)->schema()->Equals(*given->schema()));
  EXPECT_EQ(Text(**back), Text(*given));
  EXPECT_EQ(static_cast<int64_t>(Bytes().size()), size_bytes_);
}

TEST_F(FramedFile, AnyRangeOfRows) {
  const auto batches = Batches();
  WriteFile(batches);
  const auto given = arrow::Table::FromRecordBatches(batches).ValueOrDie();
  for (int64_t first : {0, 1, 9, 10, 25, 39, 40, 59, 60, 70}) {
    for (int64_t rows : {0, 1, 10, 11, 35, 100}) {
      const auto back = ReadFile(first, rows);
      ASSERT_TRUE(back.ok()) << back.status().ToString();
      EXPECT_EQ(Text(**back), Text(*given->Slice(std::min<int64_t>(first, 60), rows))) << first << " + " << rows;
    }
  }
}

TEST_F(FramedFile, AnUnchangedDictionaryIsWrittenOnce) {
  std::vector<std::string> words;
  for (int i = 0; i < 100; ++i) words.push_back(std::string(1000, static_cast<char>('a' + i % 26)));
  const auto dictionary = Words(words);
  WriteFile({Batch(0, 10, dictionary)});
  const int64_t once = size_bytes_;
  WriteFile({Batch(0, 10, dictionary), Batch(10, 10, dictionary), Batch(20, 10, Words(words))});
  EXPECT_LT(size_bytes_, once + 10'000) << "the dictionary alone is 100 kB";
}

TEST_F(FramedFile, ARefusedReadMayBeTriedAgain) {
  const auto batches = Batches();
  WriteFile(batches);
  const auto want = Text(*arrow::Table::FromRecordBatches(batches).ValueOrDie());
  auto budget = Budget::Make(64 << 20);
  int refused = 0;
  for (int fail = 1; fail < 40; ++fail) {
    auto reader = FramedFileReader::Open(Env::Default(), path_, budget->root().get()).ValueOrDie();
    budget->FailNthAllocation(fail);
    std::vector<BatchPtr> found;
    while (true) {
      auto batch = reader->Next();
      if (!batch.ok()) {
        ASSERT_TRUE(batch.status().IsOutOfMemory()) << batch.status().ToString();
        ++refused;
        continue;
      }
      if (*batch == nullptr) break;
      found.push_back(*batch);
    }
    EXPECT_EQ(Text(*arrow::Table::FromRecordBatches(reader->schema(), found).ValueOrDie()), want);
    budget->FailNthAllocation(0);
  }
  EXPECT_GT(refused, 10);
}

TEST_F(FramedFile, ARefusedWriteMayBeTriedAgain) {
  const auto batches = Batches();
  WriteFile(batches);
  const auto want = Bytes();
  auto budget = Budget::Make(64 << 20);
  for (int fail = 1; fail < 40; ++fail) {
    auto writer = FramedFileWriter::Open(Env::Default(), path_, batches[0]->schema()).ValueOrDie();
    budget->FailNthAllocation(fail);
    for (const auto& batch : batches) {
      auto status = writer->Write(*batch, budget->root().get());
      if (status.IsOutOfMemory()) status = writer->Write(*batch, budget->root().get());
      ASSERT_TRUE(status.ok()) << status.ToString();
    }
    ASSERT_TRUE(writer->Close().ok());
    ASSERT_EQ(Bytes(), want) << fail;
    budget->FailNthAllocation(0);
  }
}

TEST_F(FramedFile, DamageIsRefused) {
  WriteFile(Batches());
  const std::string whole = Bytes();
  const auto want = Text(**ReadFile());
  for (size_t size = 0; size < whole.size(); size += size < 400 ? 1 : 37) {
    SetBytes(whole.substr(0, size));
    EXPECT_FALSE(ReadFile().ok()) << "cut at " << size;
  }
  std::mt19937 random(3);
  for (int round = 0; round < 1000; ++round) {
    std::string bytes = whole;
    bytes[random() % bytes.size()] ^= static_cast<char>(1 << random() % 8);
    SetBytes(bytes);
    const auto back = ReadFile();
    // The end frame's count is for people.
    if (back.ok()) EXPECT_EQ(Text(**back), want);
  }
}

// Checksums guard against damage, not against whoever can write them: then frames may say anything, and still
// nothing may be read that is not there.
TEST_F(FramedFile, HostileFramesAreRefused) {
  constexpr size_t kHeader = 32;
  WriteFile(Batches());
  const std::string whole = Bytes();
  std::vector<size_t> frames;
  for (size_t at = 4; at + kHeader <= whole.size();) {
    int64_t length;
    std::memcpy(&length, &whole[at + 16], sizeof length);
    frames.push_back(at);
    at += kHeader + static_cast<size_t>(length);
  }
  ASSERT_GT(frames.size(), 10u);
  std::mt19937 random(5);
  int refused = 0;
  for (int round = 0; round < 1500; ++round) {
    std::string bytes = whole;
    const size_t at = frames[random() % (frames.size() - 1)];
    int64_t rows, length;
    std::memcpy(&rows, &bytes[at + 8], sizeof rows);
    std::memcpy(&length, &bytes[at + 16], sizeof length);
    if (round % 4 == 0) {
      bytes[at + 4] = static_cast<char>(random() % 6);  // another kind
    } else if (round % 4 == 1) {
      rows = static_cast<int64_t>(random() % 3) - 1;
      std::memcpy(&bytes[at + 8], &rows, sizeof rows);
    } else {
      // The front is the message's metadata: what says where things are.
      const size_t place = random() % std::min<size_t>(static_cast<size_t>(length), 500);
      bytes[at + kHeader + place] = static_cast<char>(random());
    }
    const uint64_t checksum = Checksum64(&bytes[at + kHeader], length, static_cast<uint64_t>(rows));
    std::memcpy(&bytes[at + 24], &checksum, sizeof checksum);
    SetBytes(bytes);
    const auto back = ReadFile();
    refused += !back.ok();
    if (back.ok()) EXPECT_TRUE((*back)->Validate().ok());
  }
  EXPECT_GT(refused, 150);
}

}  // namespace
}  // namespace partita
