#include "partita/storage/csv/parser.h"

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <algorithm>

#include "partita/base/utf8.h"
#include "partita/block/schema.h"

namespace partita {

bool CsvRecordScanner::Step(char c) {
  switch (state_) {
    case State::kCellStart:
    case State::kPlain:
      if (c == '\n') {
        state_ = State::kCellStart;
        return true;
      }
      if (c == delimiter_) {
        state_ = State::kCellStart;
      } else if (quote_ != 0 && c == quote_ && state_ == State::kCellStart) {
        state_ = State::kQuoted;
      } else if (escape_ != 0 && c == escape_) {
        state_ = State::kEscapedPlain;
      } else {
        state_ = State::kPlain;
      }
      return false;
    case State::kQuoted:
      if (escape_ != 0 && c == escape_) {
        state_ = State::kEscapedQuoted;
      } else if (c == quote_) {
        state_ = State::kQuoteInQuoted;
      }
      return false;
    case State::kQuoteInQuoted:
      if (c == quote_) {
        state_ = State::kQuoted;
        return false;
      }
      state_ = State::kPlain;
      return Step(c);
    case State::kEscapedPlain:
      state_ = State::kPlain;
      return false;
    case State::kEscapedQuoted:
      state_ = State::kQuoted;
      return false;
  }
  return false;
}

int64_t CsvRecordScanner::LastEnd(std::string_view more) {
  int64_t last = -1;
  for (size_t i = 0; i < more.size(); ++i) {
    if (Step(more[i])) last = static_cast<int64_t>(i) + 1;
  }
  return last;
}

size_t CsvRecordScanner::FirstEnd(std::string_view text) {
  state_ = State::kCellStart;
  for (size_t i = 0; i < text.size(); ++i) {
    if (Step(text[i])) return i + 1;
  }
  return std::string_view::npos;
}

CsvTokenizer::CsvTokenizer(const CsvOptions& options, arrow::MemoryPool* pool)
    : options_(options), pool_(pool) {}
CsvTokenizer::~CsvTokenizer() = default;

Result<char*> CsvTokenizer::Scratch(size_t record_bytes) {
  const auto want = static_cast<int64_t>(record_bytes);
  if (scratch_ == nullptr) {
    ARROW_ASSIGN_OR_RAISE(scratch_, arrow::AllocateResizableBuffer(want, pool_));
  } else if (scratch_->size() < want) {
    // All unescaped cells of a record fit in the record's size: the buffer never moves while cells point into
    // it.
    ARROW_RETURN_NOT_OK(scratch_->Resize(want, /*shrink_to_fit=*/false));
  }
  return reinterpret_cast<char*>(scratch_->mutable_data()) + scratch_used_;
}

Status CsvTokenizer::QuotedCell(std::string_view record, size_t* at, CsvCell* cell) {
  const size_t begin = *at + 1;
  size_t i = begin;
  char* copy = nullptr;
  size_t copied = 0, plain = begin;
  cell->quoted = true;
  while (true) {
    while (i < record.size() && record[i] != options_.quote &&
           (options_.escape == 0 || record[i] != options_.escape))
      ++i;
    if (i == record.size()) {
      return DataError("a quoted value is not closed on its line",
                       options_.newlines_in_values
                           ? "repair the file"
                           : "if values hold line breaks, set newlines_in_values: true");
    }
    const bool escaped =
        record[i] != options_.quote || (i + 1 < record.size() && record[i + 1] == options_.quote);
    if (!escaped) break;
    if (i + 1 == record.size()) return DataError("a line ends with the escape character");
    if (copy == nullptr) {
      ARROW_ASSIGN_OR_RAISE(copy, Scratch(record.size()));
    }
    copied += record.copy(copy + copied, i - plain, plain);
    copy[copied++] = record[i + 1];
    plain = i += 2;
  }
  if (copy == nullptr) {
    cell->text = record.substr(begin, i - begin);
  } else {
    copied += record.copy(copy + copied, i - plain, plain);
    cell->text = {copy, copied};
    scratch_used_ += copied;
  }
  *at = i + 1;
  if (*at < record.size() && record[*at] != options_.delimiter) {
    return DataError("text follows the closing quote of the value " + QuoteForError(cell->text),
                     "a quote inside a quoted value is written twice");
  }
  return Status::OK();
}

Status CsvTokenizer::PlainCell(std::string_view record, size_t* at, CsvCell* cell) {
  const size_t begin = *at;
  size_t i = begin;
  if (options_.escape == 0) {
    while (i < record.size() && record[i] != options_.delimiter) ++i;
    cell->text = record.substr(begin, i - begin);
    *at = i;
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(char* copy, Scratch(record.size()));
  size_t copied = 0;
  for (; i < record.size() && record[i] != options_.delimiter; ++i) {
    if (record[i] == options_.escape && ++i == record.size())
      return DataError("a line ends with the escape character");
    copy[copied++] = record[i];
  }
  cell->text = {copy, copied};
  scratch_used_ += copied;
  *at = i;
  return Status::OK();
}

Status CsvTokenizer::Split(std::string_view record, std::vector<CsvCell>* cells) {
  cells->clear();
  scratch_used_ = 0;
  for (size_t at = 0;; ++at) {
    CsvCell cell;
    if (options_.quote != 0 && at < record.size() && record[at] == options_.quote) {
      ARROW_RETURN_NOT_OK(QuotedCell(record, &at, &cell));
    } else {
      ARROW_RETURN_NOT_OK(PlainCell(record, &at, &cell));
    }
    cells->push_back(cell);
    if (at >= record.size()) return Status::OK();
  }
}

Result<std::vector<std::string>> CsvColumnNames(const CsvOptions& options, std::string_view record,
                                                arrow::MemoryPool* pool) {
  std::vector<CsvCell> cells;
  CsvTokenizer tokenizer(options, pool);
  ARROW_RETURN_NOT_OK(tokenizer.Split(record, &cells));
  if (!options.column_names.empty()) {
    if (options.column_names.size() != cells.size()) {
      return DataError("the file has " + std::to_string(cells.size()) + " columns and column_names has " +
                       std::to_string(options.column_names.size()));
    }
    return options.column_names;
  }
  std::vector<std::string> names;
  for (size_t i = 0; i < cells.size(); ++i) {
    std::string_view text = options.has_header ? cells[i].text : std::string_view();
    if (!cells[i].quoted) text = TrimSpaces(text);
    if (!IsUtf8(text)) {
      return DataError("the column name " + QuoteForError(text) + " is not valid UTF-8",
                       "convert the file to UTF-8");
    }
    std::string name(text);
    if (name.empty()) name.append("f").append(std::to_string(i));
    names.push_back(std::move(name));
  }
  return names;
}

CsvParser::CsvParser(const CsvOptions& options, std::shared_ptr<arrow::Schema> schema,
                     arrow::MemoryPool* pool)
    : options_(options), schema_(std::move(schema)), pool_(pool), tokenizer_(options, pool) {
  for (const std::string& text : options_.null_values) longest_null_ = std::max(longest_null_, text.size());
}

Result<std::unique_ptr<CsvParser>> CsvParser::Make(const CsvOptions& options,
                                                   std::shared_ptr<arrow::Schema> schema,
                                                   std::vector<std::string> names, arrow::MemoryPool* pool) {
  std::unique_ptr<CsvParser> parser(new CsvParser(options, std::move(schema), pool));
  for (const auto& field : parser->schema_->fields()) {
    Column column;
    auto made = CellParser::Make(field->type(), pool);
    if (!made.ok()) {
      return made.status().WithMessage("column '", field->name(), "': ", made.status().message());
    }
    column.parser = std::move(*made);
    column.is_text =
        arrow::is_base_binary_like(field->type()->id()) || arrow::is_binary_view_like(field->type()->id());
    parser->columns_.push_back(std::move(column));
  }
  if (!names.empty()) ARROW_RETURN_NOT_OK(parser->SetNames(names));
  return parser;
}

Status CsvParser::SetNames(const std::vector<std::string>& names) {
  num_file_columns_ = names.size();
  for (int i = 0; i < schema_->num_fields(); ++i) {
    const std::string& name = schema_->field(i)->name();
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end()) {
      std::string has;
      for (const std::string& other : names) has += (has.empty() ? "" : ", ") + other;
      return DataError("there is no column '" + name + "'; the file has " +
                           (has.size() > 200 ? has.substr(0, 200) + "..." : has),
                       "read files with different columns as datasets of their own");
    }
    columns_[static_cast<size_t>(i)].position = static_cast<size_t>(found - names.begin());
  }
  return Status::OK();
}

size_t CsvParser::RecordLength(std::string_view text) const {
  if (!options_.newlines_in_values) return RecordParser::RecordLength(text);
  const size_t end = CsvRecordScanner(options_).FirstEnd(text);
  return end == std::string_view::npos ? text.size() : end;
}

Status CsvParser::Header(std::string_view record, int64_t index) {
  if (index < options_.skip_rows) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const auto names, CsvColumnNames(options_, record, pool_));
  return SetNames(names);
}

bool CsvParser::IsNull(const CsvCell& cell, bool is_text) const {
  if (is_text && cell.quoted) return false;
  if (is_text && !options_.custom_null_values) return cell.text.empty();
  if (cell.text.size() > longest_null_) return false;
  return std::find(options_.null_values.begin(), options_.null_values.end(), cell.text) !=
         options_.null_values.end();
}

Status CsvParser::Append(std::string_view record) {
  ARROW_RETURN_NOT_OK(tokenizer_.Split(record, &cells_));
  if (num_file_columns_ == 0) {  // no header: the first record tells how many there are
    ARROW_ASSIGN_OR_RAISE(const auto names, CsvColumnNames(options_, record, pool_));
    ARROW_RETURN_NOT_OK(SetNames(names));
  }
  if (cells_.size() != num_file_columns_) {
    return DataError("the row has " + std::to_string(cells_.size()) + " values, the file has " +
                     std::to_string(num_file_columns_) + " columns");
  }
  for (size_t i = 0; i < columns_.size(); ++i) {
    const CsvCell& cell = cells_[columns_[i].position];
    const Status status = IsNull(cell, columns_[i].is_text) ? columns_[i].parser->AppendNull()
                                                            : columns_[i].parser->Append(cell.text);
    if (!status.ok()) {
      if (KindOf(status) != ErrorKind::kData) return status;
      const auto* detail = DetailOf(status);
      std::string hint = detail ? detail->context.hint : "";
      const std::string& name = schema_->field(static_cast<int>(i))->name();
      if (hint.empty()) hint = "set column_types: {" + name + ": string}, or null_values";
      return DataError("column '" + name + "': " + MessageOf(status), std::move(hint));
    }
  }
  return Status::OK();
}

void CsvParser::Reset() {
  for (Column& column : columns_) column.parser->Reset();
}

Result<std::shared_ptr<arrow::RecordBatch>> CsvParser::Finish(int64_t rows) {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (Column& column : columns_) {
    ARROW_ASSIGN_OR_RAISE(auto array, column.parser->Finish());
    arrays.push_back(std::move(array));
  }
  return arrow::RecordBatch::Make(schema_, rows, std::move(arrays));
}

}  // namespace partita
