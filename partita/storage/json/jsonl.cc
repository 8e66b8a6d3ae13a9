// JSON lines: an object per line.
#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/csv/options.h"
#include "partita/storage/formats.h"
#include "partita/storage/json/cell.h"
#include "partita/storage/json/columns.h"
#include "partita/storage/text/record_reader.h"
#include "partita/storage/text/scalar_text.h"
#include "partita/storage/text/text_sink.h"

namespace partita {
namespace {

constexpr int64_t kPrefixBytes = 1 << 20;
constexpr int64_t kWindowBytes = 256 << 10;

Status NoObject(JsonKind kind) {
  if (kind == JsonKind::kArray) {
    return DataError(
        "the line begins with a list, not with an object",
        "if the file is one JSON array, write each of its elements on a line of its own (jq -c '.[]')");
  }
  return DataError("the line is no JSON object");
}

bool IsBlank(std::string_view record) {
  return record.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

class JsonlParser final : public RecordParser {
 public:
  JsonlParser(std::shared_ptr<arrow::Schema> schema, std::unique_ptr<JsonFields> fields,
              arrow::MemoryPool* pool)
      : schema_(std::move(schema)), fields_(std::move(fields)), reader_(pool) {}
  bool IsSkipped(std::string_view record) const override { return IsBlank(record); }
  Status Append(std::string_view record) override {
    reader_.Start(record);
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader_.Peek());
    if (kind != JsonKind::kObject) return NoObject(kind);
    ARROW_RETURN_NOT_OK(fields_->Append(&reader_, 0));
    return reader_.End();
  }
  void Reset() override { fields_->Reset(); }
  Result<std::shared_ptr<arrow::RecordBatch>> Finish(int64_t rows) override {
    ARROW_ASSIGN_OR_RAISE(auto arrays, fields_->Finish());
    return arrow::RecordBatch::Make(schema_, rows, std::move(arrays));
  }

 private:
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<JsonFields> fields_;
  JsonReader reader_;
};

class JsonlWriter final : public FileWriter {
 public:
  JsonlWriter(std::shared_ptr<arrow::io::OutputStream> stream, WriteRequest request,
              std::unique_ptr<TextSink> out, bool skip_nulls)
      : stream_(std::move(stream)),
        request_(std::move(request)),
        out_(std::move(out)),
        skip_nulls_(skip_nulls) {
    out_->SetStream(stream_.get());
  }

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) override {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    std::vector<std::unique_ptr<JsonCellWriter>> columns;
    for (int i = 0; i < batch->num_columns(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto column, JsonCellWriter::Make(batch->column(i)));
      columns.push_back(std::move(column));
    }
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      char before = '{';
      for (size_t i = 0; i < columns.size(); ++i) {
        if (skip_nulls_ && columns[i]->IsNull(row)) continue;
        out_->Append(before);
        WriteJsonString(request_.schema->field(static_cast<int>(i))->name(), out_.get());
        out_->Append(':');
        columns[i]->Write(row, out_.get());
        before = ',';
      }
      if (before == '{') out_->Append('{');
      out_->Append("}\n");
    }
    return out_->status();
  }
  Status Finish() override { return out_->Flush(); }

 private:
  std::shared_ptr<arrow::io::OutputStream> stream_;
  WriteRequest request_;
  std::unique_ptr<TextSink> out_;
  bool skip_nulls_;
};

class Jsonl final : public Format {
 public:
  std::string_view name() const override { return "jsonl"; }
  std::string_view extension() const override { return ".jsonl"; }
  std::vector<std::string> extensions() const override {
    return {".jsonl",   ".ndjson",    ".json",       ".jsonl.gz", ".ndjson.gz",
            ".json.gz", ".jsonl.zst", ".ndjson.zst", ".json.zst", ".jsonl.bz2"};
  }

  Result<FileInfo> Inspect(Env* env, const FileEntry& file, const Json& args,
                           arrow::MemoryPool* pool) const override {
    ARROW_ASSIGN_OR_RAISE(const auto types, ParseColumnTypes(args, "column_types"));
    bool complete = false;
    ARROW_ASSIGN_OR_RAISE(const auto prefix, ReadPrefix(env, file, kPrefixBytes, pool, &complete));
    std::string_view text(reinterpret_cast<const char*>(prefix->data()), static_cast<size_t>(prefix->size()));
    if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
    auto guessed = GuessFields(text, complete, pool);
    if (!guessed.ok()) return WithContext(guessed.status(), {.file = file.location});
    arrow::FieldVector fields = std::move(*guessed);
    // A declared column may be absent from the first rows.
    auto schema = arrow::schema(fields);
    for (const auto& [name, type] : types) {
      if (schema->GetFieldIndex(name) < 0) {
        ARROW_ASSIGN_OR_RAISE(schema, schema->AddField(schema->num_fields(), arrow::field(name, type)));
      }
    }
    ARROW_ASSIGN_OR_RAISE(schema, ApplyColumnTypes(schema, types));
    if (schema->num_fields() == 0) {
      return WithContext(
          DataError("there is no row to take columns from", "remove the file, or give column_types"),
          {.file = file.location});
    }
    FileInfo info;
    info.schema = std::move(schema);
    return info;
  }

  Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo*, const Json&,
                                      int64_t target_bytes) const override {
    return SplitByBytes(file, true, target_bytes);
  }

  Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const override {
    ARROW_ASSIGN_OR_RAISE(auto fields, JsonFields::Make(request.schema->fields(), request.pool.get(), 0));
    ARROW_ASSIGN_OR_RAISE(auto lines, OpenLines(request, nullptr));
    auto parser = std::make_unique<JsonlParser>(request.schema, std::move(fields), request.pool.get());
    return std::make_unique<RecordReader>(std::move(request), std::move(lines), std::move(parser), 0);
  }

  Result<std::unique_ptr<FileWriter>> OpenWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                 WriteRequest request) const override {
    const Json args = request.args != nullptr && request.args->is_object() ? *request.args : Json::object();
    ARROW_ASSIGN_OR_RAISE(const bool skip_nulls, GetBoolOr(args, "skip_nulls", false));
    ARROW_ASSIGN_OR_RAISE(auto out, TextSink::Make(kWindowBytes, request.pool.get()));
    return std::make_unique<JsonlWriter>(std::move(stream), std::move(request), std::move(out), skip_nulls);
  }
  int64_t least_write_bytes() const override { return 1 << 20; }

 private:
  // Bad lines are left out: reading them will say what is wrong. Nothing but bad lines is an error now.
  static Result<arrow::FieldVector> GuessFields(std::string_view text, bool complete,
                                                arrow::MemoryPool* pool) {
    JsonTypeGuess guess;
    JsonReader reader(pool);
    Status bad;
    int64_t good = 0, line = 0;
    while (!text.empty()) {
      const size_t end = text.find('\n');
      if (end == std::string_view::npos && !complete) break;
      const std::string_view record = text.substr(0, end);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      ++line;
      if (IsBlank(record)) continue;
      Status status = CheckLine(record, &reader);
      if (status.ok()) {
        reader.Start(record);
        status = guess.Add(&reader, 0);
      }
      if (status.ok()) {
        ++good;
      } else if (KindOf(status) != ErrorKind::kData) {
        return status;
      } else if (bad.ok()) {
        const auto* detail = DetailOf(status);
        bad = DataError("line " + std::to_string(line) + ": " + MessageOf(status),
                        detail ? detail->context.hint : "");
      }
    }
    if (good == 0) ARROW_RETURN_NOT_OK(bad);
    if (good == 0 && !complete)
      return DataError("the first MiB holds no complete line", "check that the file has an object per line");
    return guess.fields();
  }

  static Status CheckLine(std::string_view record, JsonReader* reader) {
    reader->Start(record);
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
    if (kind != JsonKind::kObject) return NoObject(kind);
    ARROW_RETURN_NOT_OK(reader->TakeRaw(0));
    return reader->End();
  }
};

}  // namespace

const Format* JsonlFormat() {
  static const Jsonl format;
  return &format;
}

}  // namespace partita
