// The reader that line formats (CSV, JSONL, text) share: it takes whole records from a LineReader, lets a
// RecordParser append them to columns, and turns what goes wrong into errors that name file, line and row.
// Internal to storage/.
//
// A bad record is a data error of Next whose context has a row; the rows before it have been given, and the
// next call goes on behind it. So a caller that skips bad rows gets all others, wherever pieces and batches
// are cut. An error without a row is the file's: it comes again with each call.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "partita/storage/format.h"
#include "partita/storage/text/line_reader.h"

namespace partita {

class RecordParser {
 public:
  virtual ~RecordParser() = default;
  // Length of the first record of `text`, with its line end. `text` holds whole records.
  virtual size_t RecordLength(std::string_view text) const;
  // Records that are no rows: blank lines.
  virtual bool IsSkipped(std::string_view record) const = 0;
  // One of the first records of the file that are no rows, `index` of them before it.
  virtual Status Header(std::string_view record, int64_t index) { return Status::OK(); }
  // Appends one row to the columns being built; `record` has no line end. A data error: the record is bad.
  // After any error the columns are in no defined state and Reset is called.
  virtual Status Append(std::string_view record) = 0;
  virtual void Reset() = 0;
  // The `rows` rows since the last Finish or Reset.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Finish(int64_t rows) = 0;
};

class RecordReader final : public FragmentReader {
 public:
  // `skip_records`: records at the start that are no rows (a header), in a range that begins at 0.
  RecordReader(ReadRequest request, std::unique_ptr<LineReader> lines, std::unique_ptr<RecordParser> parser,
               int64_t skip_records);
  ~RecordReader() override;

  Result<std::optional<ReadBatch>> Next() override;
  int64_t bytes_read() const override { return lines_->bytes_read(); }

 private:
  struct Parsed {
    int64_t rows = 0;
    size_t end = 0;        // position in piece_ behind the last record
    Status bad;            // why the record at `end` is none
    bool limited = false;  // stopped by a limit
  };
  Status SkipHeader();
  Result<Parsed> Parse(int64_t max_rows, size_t max_bytes);
  Result<std::optional<ReadBatch>> ParsePiece();
  // Adds file and line, and the row when the error is a row's.
  Status Locate(Status status, size_t position, int64_t row = -1);
  std::string LineOf(size_t position);

  ReadRequest request_;
  std::unique_ptr<LineReader> lines_;
  std::unique_ptr<RecordParser> parser_;
  int64_t skip_records_, skipped_records_ = 0;
  std::string_view piece_;
  size_t position_ = 0;        // in piece_
  int64_t piece_line_ = 0;     // lines of the fragment before piece_
  int64_t lines_before_ = -1;  // lines of the file before the fragment; -1: not counted yet
  int64_t first_offset_ = -1;  // of the fragment's first record
  int64_t row_ = 0;
};

// Opens the LineReader of a request: byte range, decompression, buffers of a fraction of the block's size.
Result<std::unique_ptr<LineReader>> OpenLines(const ReadRequest& request,
                                              std::unique_ptr<RecordScanner> scanner);

// Fragments by byte range, or the whole file when it is compressed, small or of unknown size.
std::vector<Fragment> SplitByBytes(const FileEntry& file, bool splittable, int64_t target_bytes);

// Without "\n" or "\r\n".
std::string_view WithoutLineEnd(std::string_view record);

// A value as error messages show it: at most 40 characters, control characters escaped, in single quotes.
std::string QuoteForError(std::string_view value);

}  // namespace partita
