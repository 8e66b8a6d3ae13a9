// What the tests of Parquet share: a folder, a budget, rows, and files written and read through the format.
#pragma once

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "partita/base/json.h"
#include "partita/memory/budget.h"
#include "partita/storage/formats.h"

namespace partita {

template <typename T>
T ValueOf(Result<T> result) {
  EXPECT_TRUE(result.ok()) << RenderError(result.status());
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return std::move(result).ValueUnsafe();
}

inline void ExpectOk(const Status& status) { EXPECT_TRUE(status.ok()) << RenderError(status); }

class ParquetTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char folder[] = "/tmp/partita-parquet-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return folder_ + "/" + name; }

  FileEntry Entry(const std::string& path) const {
    const auto status = ValueOf(Env::Default()->Stat(path));
    FileEntry entry;
    entry.location = path;
    entry.size_bytes = status.size_bytes;
    entry.mtime_ns = status.mtime_ns;
    return entry;
  }

  std::unique_ptr<FileWriter> OpenWriter(const std::string& path, std::shared_ptr<arrow::Schema> schema,
                                         const Json& args, std::shared_ptr<BudgetPool> pool) {
    stream_ = ValueOf(Env::Default()->OpenWrite(path));
    WriteRequest request;
    request.schema = std::move(schema);
    request.args = &args;
    request.pool = std::move(pool);
    request.env = Env::Default();
    request.spill_dir = Path("spill");
    return ValueOf(ParquetFormat()->OpenWriter(stream_, std::move(request)));
  }

  void WriteBatches(const std::string& path, const arrow::RecordBatchVector& batches,
                    const Json& args = Json::object(), std::shared_ptr<BudgetPool> pool = nullptr) {
    auto writer =
        OpenWriter(path, batches.at(0)->schema(), args, pool ? pool : Budget::Make(4LL << 30)->root());
    for (const auto& batch : batches) ExpectOk(writer->Write(batch));
    ExpectOk(writer->Finish());
    writer.reset();
    ExpectOk(stream_->Close());
  }

  FileInfo Inspect(const std::string& path) {
    return ValueOf(ParquetFormat()->Inspect(Env::Default(), Entry(path), Json::object(),
                                            Budget::Make(1 << 30)->root().get()));
  }

  ReadRequest Request(const std::string& path, std::shared_ptr<arrow::Schema> schema = nullptr) {
    ReadRequest request;
    request.fragment.file = Entry(path);
    request.schema = schema ? schema : Inspect(path).schema;
    request.env = Env::Default();
    request.pool = Budget::Make(4LL << 30)->root();
    return request;
  }

  // All batches; refused memory is asked for again. `seen` is called with each.
  static Result<arrow::RecordBatchVector> ReadAll(ReadRequest request,
                                                  std::vector<int64_t>* first_rows = nullptr,
                                                  int* refusals = nullptr) {
    ARROW_ASSIGN_OR_RAISE(auto reader, ParquetFormat()->OpenReader(std::move(request)));
    arrow::RecordBatchVector batches;
    for (;;) {
      auto next = reader->Next();
      if (!next.ok() && next.status().IsOutOfMemory() && refusals != nullptr && ++*refusals < 10000) continue;
      ARROW_RETURN_NOT_OK(next.status());
      if (!next->has_value()) return batches;
      if (first_rows) first_rows->push_back((*next)->first_row);
      ARROW_RETURN_NOT_OK((*next)->batch->ValidateFull());
      batches.push_back((*next)->batch);
    }
  }

  static std::shared_ptr<arrow::Table> TableOf(const arrow::RecordBatchVector& batches,
                                               const std::shared_ptr<arrow::Schema>& schema) {
    return ValueOf(arrow::Table::FromRecordBatches(schema, batches));
  }

  std::string Bytes(const std::string& path) {
    return ValueOf(ReadSmallFile(Env::Default(), path, 1LL << 30));
  }

  std::string folder_;
  std::shared_ptr<arrow::io::OutputStream> stream_;
};

inline std::shared_ptr<arrow::Array> Strings(int64_t rows, const std::function<std::string(int64_t)>& value) {
  arrow::StringBuilder builder;
  for (int64_t i = 0; i < rows; ++i) {
    const auto s = value(i);
    (void)(s == "\x01null" ? builder.AppendNull() : builder.Append(s));
  }
  return *builder.Finish();
}

inline std::shared_ptr<arrow::Array> Ints(int64_t rows, const std::function<int64_t(int64_t)>& value) {
  arrow::Int64Builder builder;
  for (int64_t i = 0; i < rows; ++i) (void)builder.Append(value(i));
  return *builder.Finish();
}

inline std::string RandomText(std::mt19937_64* random, int64_t bytes) {
  std::string text(static_cast<size_t>(bytes), ' ');
  for (size_t i = 0; i < text.size(); i += 8) {
    const uint64_t r = (*random)();
    for (size_t j = 0; j < 8 && i + j < text.size(); ++j)
      text[i + j] = static_cast<char>('!' + ((r >> (8 * j)) & 0x3F));
  }
  return text;
}

// Cuts rows in batches of random lengths.
inline arrow::RecordBatchVector Cut(const std::shared_ptr<arrow::RecordBatch>& rows, uint64_t seed,
                                    int64_t longest) {
  std::mt19937_64 random(seed);
  arrow::RecordBatchVector batches;
  for (int64_t offset = 0; offset < rows->num_rows();) {
    const int64_t length =
        std::min<int64_t>(rows->num_rows() - offset, 1 + static_cast<int64_t>(random() % longest));
    batches.push_back(rows->Slice(offset, length));
    offset += length;
  }
  return batches;
}

}  // namespace partita
