#include "partita/storage/csv/writer.h"

#include <arrow/array.h>
#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/csv/options.h"
#include "partita/storage/json/cell.h"
#include "partita/storage/text/text_sink.h"

namespace partita {
namespace {

constexpr int64_t kWindowBytes = 256 << 10;
constexpr int64_t kCellWindowBytes = 64 << 10;

// Doubles quotes on the way to another sink.
class QuoteDoubler final : public arrow::io::OutputStream {
 public:
  QuoteDoubler(TextSink* out, char quote) : out_(out), quote_(quote) {}
  Status Write(const void* data, int64_t nbytes) override {
    std::string_view text(static_cast<const char*>(data), static_cast<size_t>(nbytes));
    while (true) {
      const size_t at = text.find(quote_);
      out_->Append(text.substr(0, at));
      if (at == std::string_view::npos) return Status::OK();
      out_->Append(quote_);
      out_->Append(quote_);
      text.remove_prefix(at + 1);
    }
  }
  Status Close() override { return Status::OK(); }
  bool closed() const override { return false; }
  Result<int64_t> Tell() const override { return 0; }

 private:
  TextSink* out_;
  char quote_;
};

class CsvWriter final : public FileWriter {
 public:
  CsvWriter(std::shared_ptr<arrow::io::OutputStream> stream, WriteRequest request, const CsvOptions& options,
            std::unique_ptr<TextSink> out, std::unique_ptr<TextSink> cell)
      : stream_(std::move(stream)),
        request_(std::move(request)),
        delimiter_(options.delimiter),
        quote_(options.quote),
        header_(options.has_header),
        out_(std::move(out)),
        cell_(std::move(cell)),
        doubler_(out_.get(), options.quote) {
    out_->SetStream(stream_.get());
  }

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) override {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    std::vector<std::unique_ptr<JsonCellWriter>> columns;
    for (int i = 0; i < batch->num_columns(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto column, JsonCellWriter::Make(batch->column(i)));
      columns.push_back(std::move(column));
    }
    WriteHeader();
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      for (size_t i = 0; i < columns.size(); ++i) {
        if (i > 0) out_->Append(delimiter_);
        if (!columns[i]->IsNull(row)) {
          WriteCell(*columns[i], row);
        } else if (columns.size() == 1) {  // an empty line would be no row
          out_->Append(quote_);
          out_->Append(quote_);
        }
      }
      out_->Append('\n');
    }
    return out_->status();
  }

  Status Finish() override {
    WriteHeader();
    return out_->Flush();
  }

 private:
  void WriteHeader() {
    if (!std::exchange(header_, false)) return;
    for (int i = 0; i < request_.schema->num_fields(); ++i) {
      if (i > 0) out_->Append(delimiter_);
      WriteText(request_.schema->field(i)->name());
    }
    out_->Append('\n');
  }

  bool NeedsQuotes(std::string_view text) const {
    if (text.empty() || text.front() == ' ' || text.back() == ' ' || text.front() == '\t' ||
        text.back() == '\t') {
      return true;
    }
    for (const char c : text) {
      if (c == delimiter_ || c == quote_ || c == '\n' || c == '\r') return true;
    }
    return false;
  }

  void WriteText(std::string_view text) {
    if (!NeedsQuotes(text)) {
      out_->Append(text);
      return;
    }
    out_->Append(quote_);
    (void)doubler_.Write(text.data(), static_cast<int64_t>(text.size()));  // a sink's errors stick to it
    out_->Append(quote_);
  }

  void WriteCell(const JsonCellWriter& column, int64_t row) {
    cell_->Restart();
    cell_->SetStream(nullptr);
    column.WriteCell(row, cell_.get());
    if (cell_->whole()) {
      WriteText(cell_->text());
      return;
    }
    // Too long to look at first: always quoted, streamed through the window.
    cell_->Restart();
    cell_->SetStream(&doubler_);
    out_->Append(quote_);
    column.WriteCell(row, cell_.get());
    (void)cell_->Flush();
    out_->Append(quote_);
  }

  std::shared_ptr<arrow::io::OutputStream> stream_;
  WriteRequest request_;
  char delimiter_, quote_;
  bool header_;
  std::unique_ptr<TextSink> out_, cell_;
  QuoteDoubler doubler_;
};

}  // namespace

Result<std::unique_ptr<FileWriter>> OpenCsvWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                  WriteRequest request) {
  ARROW_ASSIGN_OR_RAISE(const CsvOptions options, CsvOptions::Parse(request.args));
  if (options.quote == 0) return UserError("write_csv needs a quote character");
  if (request.schema->num_fields() == 0) {
    return UserError("a CSV file without columns would lose its rows", "keep at least one column");
  }
  ARROW_ASSIGN_OR_RAISE(auto out, TextSink::Make(kWindowBytes, request.pool.get()));
  ARROW_ASSIGN_OR_RAISE(auto cell, TextSink::Make(kCellWindowBytes, request.pool.get()));
  return std::make_unique<CsvWriter>(std::move(stream), std::move(request), options, std::move(out),
                                     std::move(cell));
}

}  // namespace partita
