// Text lines: a row per line, in one column "text".
#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/base/utf8.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/formats.h"
#include "partita/storage/text/cell_parser.h"
#include "partita/storage/text/record_reader.h"
#include "partita/storage/text/scalar_text.h"

namespace partita {
namespace {

struct TextOptions {
  bool drop_empty_lines = false;
  bool replace_invalid = false;

  static Result<TextOptions> Parse(const Json* given) {
    TextOptions options;
    const Json args = given != nullptr && given->is_object() ? *given : Json::object();
    ARROW_ASSIGN_OR_RAISE(options.drop_empty_lines, GetBoolOr(args, "drop_empty_lines", false));
    ARROW_ASSIGN_OR_RAISE(const std::string on_invalid, GetStringOr(args, "on_invalid", "error"));
    if (on_invalid != "error" && on_invalid != "replace") {
      return UserError("on_invalid is '" + on_invalid + "'", "use error or replace");
    }
    options.replace_invalid = on_invalid == "replace";
    return options;
  }
};

class TextParser final : public RecordParser {
 public:
  TextParser(TextOptions options, std::shared_ptr<arrow::Schema> schema,
             std::vector<std::unique_ptr<CellParser>> columns, Reservation scratch)
      : options_(options),
        schema_(std::move(schema)),
        columns_(std::move(columns)),
        scratch_(std::move(scratch)) {}

  bool IsSkipped(std::string_view record) const override {
    return options_.drop_empty_lines && record.empty();
  }
  Status Append(std::string_view record) override {
    if (options_.replace_invalid && !IsUtf8(record)) {
      // At worst every byte becomes a replacement character of three.
      ARROW_RETURN_NOT_OK(scratch_.Resize(static_cast<int64_t>(record.size()) * 3));
      const std::string repaired = Repair(record);
      const Status status = AppendValid(repaired);
      (void)scratch_.Resize(0);
      return status;
    }
    return AppendValid(record);
  }
  void Reset() override {
    for (auto& column : columns_) column->Reset();
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Finish(int64_t rows) override {
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    for (auto& column : columns_) {
      ARROW_ASSIGN_OR_RAISE(auto array, column->Finish());
      arrays.push_back(std::move(array));
    }
    return arrow::RecordBatch::Make(schema_, rows, std::move(arrays));
  }

 private:
  static std::string Repair(std::string_view text) {
    std::string out;
    out.reserve(text.size() * 3);
    while (!text.empty()) {
      const size_t length = Utf8SequenceLength(text);
      if (length > 0) {
        out += text.substr(0, length);
      } else {
        out += "\xEF\xBF\xBD";
      }
      text.remove_prefix(std::max<size_t>(length, 1));
    }
    return out;
  }
  Status AppendValid(std::string_view text) {
    for (auto& column : columns_) ARROW_RETURN_NOT_OK(column->Append(text));
    return Status::OK();
  }

  TextOptions options_;
  std::shared_ptr<arrow::Schema> schema_;
  std::vector<std::unique_ptr<CellParser>> columns_;
  Reservation scratch_;
};

class Text final : public Format {
 public:
  std::string_view name() const override { return "text"; }
  std::string_view extension() const override { return ".txt"; }
  std::vector<std::string> extensions() const override {
    return {".txt", ".text", ".txt.gz", ".txt.zst", ".txt.bz2"};
  }

  Result<FileInfo> Inspect(Env*, const FileEntry&, const Json& args, arrow::MemoryPool*) const override {
    ARROW_RETURN_NOT_OK(TextOptions::Parse(&args));
    FileInfo info;
    info.schema = arrow::schema({arrow::field("text", arrow::utf8())});
    return info;
  }

  Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo*, const Json&,
                                      int64_t target_bytes) const override {
    return SplitByBytes(file, true, target_bytes);
  }

  Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const override {
    ARROW_ASSIGN_OR_RAISE(const TextOptions options, TextOptions::Parse(request.args));
    std::vector<std::unique_ptr<CellParser>> columns;
    for (const auto& field : request.schema->fields()) {
      if (field->name() != "text")
        return UserError("text files have one column, 'text', and no '" + field->name() + "'");
      ARROW_ASSIGN_OR_RAISE(auto column, CellParser::Make(field->type(), request.pool.get()));
      columns.push_back(std::move(column));
    }
    ARROW_ASSIGN_OR_RAISE(auto lines, OpenLines(request, nullptr));
    ARROW_ASSIGN_OR_RAISE(auto scratch, request.pool->Reserve(0));
    auto parser =
        std::make_unique<TextParser>(options, request.schema, std::move(columns), std::move(scratch));
    return std::make_unique<RecordReader>(std::move(request), std::move(lines), std::move(parser), 0);
  }
};

}  // namespace

const Format* TextFormat() {
  static const Text format;
  return &format;
}

}  // namespace partita
