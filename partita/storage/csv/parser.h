// CSV records: where they end, what their cells are, and how they become columns. Internal to storage/.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/storage/csv/options.h"
#include "partita/storage/text/cell_parser.h"
#include "partita/storage/text/record_reader.h"

namespace arrow {
class ResizableBuffer;
}

namespace partita {

// Where records end when values may hold newlines: a newline outside quotes. A quote opens only at a cell's
// begin.
class CsvRecordScanner final : public RecordScanner {
 public:
  explicit CsvRecordScanner(const CsvOptions& options)
      : delimiter_(options.delimiter), quote_(options.quote), escape_(options.escape) {}
  int64_t LastEnd(std::string_view more) override;
  // Length of the first record, or npos when it does not end in `text`.
  size_t FirstEnd(std::string_view text);

 private:
  enum class State { kCellStart, kPlain, kQuoted, kQuoteInQuoted, kEscapedPlain, kEscapedQuoted };
  bool Step(char c);  // true: a record ended with c
  char delimiter_, quote_, escape_;
  State state_ = State::kCellStart;
};

struct CsvCell {
  std::string_view text;  // unescaped
  bool quoted = false;
};

// Cuts a record (without its line end) into cells. Cells with escapes live in a buffer of the tokenizer until
// the next call.
class CsvTokenizer {
 public:
  CsvTokenizer(const CsvOptions& options, arrow::MemoryPool* pool);
  ~CsvTokenizer();
  Status Split(std::string_view record, std::vector<CsvCell>* cells);

 private:
  Status QuotedCell(std::string_view record, size_t* at, CsvCell* cell);
  Status PlainCell(std::string_view record, size_t* at, CsvCell* cell);
  // Room for `bytes` more unescaped bytes of this record; null when refused.
  Result<char*> Scratch(size_t record_bytes);

  const CsvOptions options_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::ResizableBuffer> scratch_;
  size_t scratch_used_ = 0;
};

// Names from a header record: empty ones become f<i>.
Result<std::vector<std::string>> CsvColumnNames(const CsvOptions& options, std::string_view record,
                                                arrow::MemoryPool* pool);

class CsvParser final : public RecordParser {
 public:
  // `names`: the file's columns, empty when the header is still to come.
  static Result<std::unique_ptr<CsvParser>> Make(const CsvOptions& options,
                                                 std::shared_ptr<arrow::Schema> schema,
                                                 std::vector<std::string> names, arrow::MemoryPool* pool);
  size_t RecordLength(std::string_view text) const override;
  bool IsSkipped(std::string_view record) const override { return record.empty(); }
  Status Header(std::string_view record, int64_t index) override;
  Status Append(std::string_view record) override;
  void Reset() override;
  Result<std::shared_ptr<arrow::RecordBatch>> Finish(int64_t rows) override;

 private:
  CsvParser(const CsvOptions& options, std::shared_ptr<arrow::Schema> schema, arrow::MemoryPool* pool);
  Status SetNames(const std::vector<std::string>& names);
  bool IsNull(const CsvCell& cell, bool is_text) const;

  struct Column {
    std::unique_ptr<CellParser> parser;
    bool is_text = false;  // strings and binary: only an unquoted empty cell is null
    size_t position = 0;   // in the record
  };
  CsvOptions options_;
  std::shared_ptr<arrow::Schema> schema_;
  arrow::MemoryPool* pool_;
  CsvTokenizer tokenizer_;
  std::vector<Column> columns_;
  size_t num_file_columns_ = 0;  // 0: not known yet
  size_t longest_null_ = 0;
  std::vector<CsvCell> cells_;
};

}  // namespace partita
