// What the tests of formats share: a folder that goes away, and files read and written whole through a
// Format. Tests only.
#pragma once

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "partita/base/json.h"
#include "partita/memory/budget.h"
#include "partita/storage/formats.h"

namespace partita {

class FormatFixture : public ::testing::Test {
 protected:
  FormatFixture() : budget_(Budget::Make(int64_t{1} << 30)) {
    folder_ = std::filesystem::temp_directory_path() / ("partita-format-" + Env::Default()->RandomHex(8));
    std::filesystem::create_directories(folder_);
  }
  ~FormatFixture() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) const { return (folder_ / name).string(); }
  FileEntry Put(const std::string& name, std::string_view bytes) const {
    std::filesystem::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << bytes;
    return Entry(name);
  }
  FileEntry Entry(const std::string& name) const {
    auto files = ListFiles(Env::Default(), {Path(name)}, {});
    EXPECT_TRUE(files.ok()) << files.status();
    return files.ok() && !files->empty() ? files->front() : FileEntry{};
  }

  Result<std::shared_ptr<arrow::Schema>> Inspect(const Format* format, const FileEntry& file,
                                                 const Json& args = Json::object()) const {
    ARROW_ASSIGN_OR_RAISE(const FileInfo info,
                          format->Inspect(Env::Default(), file, args, budget_->root().get()));
    return info.schema;
  }

  struct Read {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    std::vector<std::string> errors;  // of bad rows, in place
    std::vector<int64_t> error_rows;
    Status status;  // the error that ended the reading
    int64_t rows = 0;

    std::shared_ptr<arrow::RecordBatch> Whole(const std::shared_ptr<arrow::Schema>& schema) const {
      if (batches.empty()) return *arrow::RecordBatch::MakeEmpty(schema);
      return *arrow::ConcatenateRecordBatches(batches);
    }
  };

  // Reads a fragment to its end. With `skip_bad`, rows with errors are noted and left out.
  Read ReadFragment(const Format* format, const Fragment& fragment,
                    const std::shared_ptr<arrow::Schema>& schema, const Json& args = Json::object(),
                    int64_t block_bytes = 1 << 20, bool skip_bad = false,
                    std::shared_ptr<Budget> budget = nullptr) const {
    Read out;
    ReadRequest request;
    request.fragment = fragment;
    request.schema = schema;
    request.args = &args;
    request.env = Env::Default();
    request.pool = (budget ? budget : budget_)->root();
    request.target_block_bytes = block_bytes;
    auto reader = format->OpenReader(std::move(request));
    if (!reader.ok()) {
      out.status = reader.status();
      return out;
    }
    int64_t next_row = 0;
    while (true) {
      auto batch = (*reader)->Next();
      if (!batch.ok()) {
        const auto* detail = DetailOf(batch.status());
        if (skip_bad && KindOf(batch.status()) == ErrorKind::kData && detail && detail->context.row >= 0) {
          EXPECT_EQ(detail->context.row, next_row);
          ++next_row;
          out.errors.push_back(MessageOf(batch.status()));
          out.error_rows.push_back(detail->context.row);
          continue;
        }
        out.status = batch.status();
        return out;
      }
      if (!*batch) return out;
      EXPECT_EQ((*batch)->first_row, next_row);
      EXPECT_GT((*batch)->batch->num_rows(), 0);
      EXPECT_TRUE((*batch)->batch->ValidateFull().ok()) << (*batch)->batch->ValidateFull();
      next_row += (*batch)->batch->num_rows();
      out.rows += (*batch)->batch->num_rows();
      out.batches.push_back((*batch)->batch);
    }
  }

  Read ReadFile(const Format* format, const FileEntry& file, const std::shared_ptr<arrow::Schema>& schema,
                const Json& args = Json::object(), int64_t block_bytes = 1 << 20,
                bool skip_bad = false) const {
    Fragment whole;
    whole.file = file;
    return ReadFragment(format, whole, schema, args, block_bytes, skip_bad);
  }

  // Every pair of ranges [0, cut) and [cut, end) must give the rows of the whole file.
  void ExpectSameRowsAtEverySplit(const Format* format, const FileEntry& file,
                                  const std::shared_ptr<arrow::Schema>& schema,
                                  const Json& args = Json::object()) const {
    const auto whole = ReadFile(format, file, schema, args);
    ASSERT_TRUE(whole.status.ok()) << whole.status;
    const auto expected = whole.Whole(schema);
    for (int64_t cut = 1; cut < file.size_bytes; ++cut) {
      Fragment first, second;
      first.file = second.file = file;
      first.range = second.range = Fragment::Range::kBytes;
      first.end = second.begin = cut;
      second.end = file.size_bytes;
      auto left = ReadFragment(format, first, schema, args, 64);  // tiny blocks: pieces end everywhere
      const auto right = ReadFragment(format, second, schema, args, 1 << 20);
      ASSERT_TRUE(left.status.ok()) << cut << ": " << left.status;
      ASSERT_TRUE(right.status.ok()) << cut << ": " << right.status;
      left.batches.insert(left.batches.end(), right.batches.begin(), right.batches.end());
      ASSERT_TRUE(left.Whole(schema)->Equals(*expected)) << "cut at " << cut << "\n"
                                                         << left.Whole(schema)->ToString();
    }
  }

  Result<std::string> Write(const Format* format,
                            const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches,
                            const Json& args = Json::object(), int64_t partition = 0,
                            int64_t first_row_key = 0) const {
    ARROW_ASSIGN_OR_RAISE(auto stream, arrow::io::BufferOutputStream::Create());
    WriteRequest request;
    request.schema = batches.at(0)->schema();
    request.args = &args;
    request.pool = budget_->root();
    request.env = Env::Default();
    request.partition = partition;
    request.first_row_key = first_row_key;
    ARROW_ASSIGN_OR_RAISE(auto writer, format->OpenWriter(stream, std::move(request)));
    for (const auto& batch : batches) ARROW_RETURN_NOT_OK(writer->Write(batch));
    ARROW_RETURN_NOT_OK(writer->Finish());
    ARROW_ASSIGN_OR_RAISE(auto buffer, stream->Finish());
    return buffer->ToString();
  }

  std::shared_ptr<Budget> budget_;
  std::filesystem::path folder_;
};

// One column from values; an empty optional is null.
template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> ColumnOf(const std::vector<std::optional<Value>>& values) {
  Builder builder;
  for (const auto& value : values) {
    EXPECT_TRUE((value ? builder.Append(*value) : builder.AppendNull()).ok());
  }
  return *builder.Finish();
}

}  // namespace partita
