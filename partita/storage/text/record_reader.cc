#include "partita/storage/text/record_reader.h"

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>

#include <algorithm>
#include <cstring>

#include "partita/base/units.h"
#include "partita/memory/budget.h"

namespace partita {

size_t RecordParser::RecordLength(std::string_view text) const {
  const size_t newline = text.find('\n');
  return newline == std::string_view::npos ? text.size() : newline + 1;
}

RecordReader::RecordReader(ReadRequest request, std::unique_ptr<LineReader> lines,
                           std::unique_ptr<RecordParser> parser, int64_t skip_records)
    : request_(std::move(request)),
      lines_(std::move(lines)),
      parser_(std::move(parser)),
      skip_records_(skip_records) {}

RecordReader::~RecordReader() = default;

Result<std::optional<ReadBatch>> RecordReader::Next() {
  while (row_ < request_.max_rows) {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    if (position_ == piece_.size()) {
      piece_line_ += std::count(piece_.begin(), piece_.end(), '\n');
      piece_ = {};
      position_ = 0;
      auto next = lines_->Next();
      if (!next.ok()) return WithContext(next.status(), {.file = request_.fragment.file.location});
      piece_ = *next;
      if (piece_.empty()) return std::nullopt;
      if (first_offset_ < 0) first_offset_ = lines_->piece_offset();
    }
    ARROW_RETURN_NOT_OK(SkipHeader());
    if (position_ == piece_.size()) continue;
    ARROW_ASSIGN_OR_RAISE(auto batch, ParsePiece());
    if (batch) return batch;
  }
  return std::nullopt;
}

std::string_view WithoutLineEnd(std::string_view record) {
  if (!record.empty() && record.back() == '\n') record.remove_suffix(1);
  if (!record.empty() && record.back() == '\r') record.remove_suffix(1);
  return record;
}

Status RecordReader::SkipHeader() {
  while (skipped_records_ < skip_records_ && position_ < piece_.size()) {
    const size_t length = parser_->RecordLength(piece_.substr(position_));
    const std::string_view record = WithoutLineEnd(piece_.substr(position_, length));
    if (!parser_->IsSkipped(record)) {
      const Status status = parser_->Header(record, skipped_records_);
      if (!status.ok()) return Locate(status, position_);
      ++skipped_records_;
    }
    position_ += length;
  }
  return Status::OK();
}

Result<RecordReader::Parsed> RecordReader::Parse(int64_t max_rows, size_t max_bytes) {
  Parsed parsed;
  parsed.end = position_;
  while (parsed.end < piece_.size()) {
    const size_t length = parser_->RecordLength(piece_.substr(parsed.end));
    const std::string_view record = WithoutLineEnd(piece_.substr(parsed.end, length));
    if (!parser_->IsSkipped(record)) {
      if (parsed.rows == max_rows || (parsed.rows > 0 && parsed.end + length - position_ > max_bytes)) {
        parsed.limited = true;
        return parsed;
      }
      const Status status = parser_->Append(record);
      if (!status.ok()) {
        const ErrorKind kind = KindOf(status);
        if (kind != ErrorKind::kData && kind != ErrorKind::kUser) return status;
        parsed.bad = status;
        return parsed;
      }
      ++parsed.rows;
    }
    parsed.end += length;
  }
  return parsed;
}

// Rows of the piece from position_ on: all of them, or as many as memory allows, or those before a bad
// record.
Result<std::optional<ReadBatch>> RecordReader::ParsePiece() {
  int64_t max_rows = request_.max_rows - row_;
  size_t max_bytes = piece_.size();
  while (true) {
    std::shared_ptr<arrow::RecordBatch> batch;
    auto parsed = Parse(max_rows, max_bytes);
    if (parsed.ok() && !parsed->bad.ok()) {
      parser_->Reset();  // the bad record left a part of itself in the columns
      if (parsed->rows > 0) {
        max_rows = parsed->rows;
        continue;
      }
      const Status bad = Locate(parsed->bad, parsed->end, row_);
      position_ = parsed->end + parser_->RecordLength(piece_.substr(parsed->end));
      ++row_;
      return bad;
    }
    Status status = parsed.status();
    if (status.ok() && parsed->rows > 0) {
      auto finished = parser_->Finish(parsed->rows);
      status = finished.status();
      if (finished.ok()) batch = std::move(*finished);
    }
    if (status.ok()) {
      position_ = parsed->end;
      if (batch == nullptr) return std::nullopt;
      ReadBatch out{.batch = std::move(batch), .first_row = row_};
      row_ += parsed->rows;
      return out;
    }
    parser_->Reset();
    const size_t one = parser_->RecordLength(piece_.substr(position_));
    if (!status.IsOutOfMemory() || max_bytes <= one || max_rows <= 1) return Locate(status, position_, row_);
    max_bytes /= 2;  // a refused piece is tried again by halves, down to one record
  }
}

Status RecordReader::Locate(Status status, size_t position, int64_t row) {
  if (status.ok() || status.IsCancelled()) return status;
  const ErrorKind kind = KindOf(status);
  if (kind == ErrorKind::kData || kind == ErrorKind::kUser) {
    const auto* detail = DetailOf(status);
    status = DataError(LineOf(position) + ": " + MessageOf(status), detail ? detail->context.hint : "");
  }
  return WithContext(std::move(status), {.file = request_.fragment.file.location, .row = row});
}

// "line 17", counted from the file's start; a byte position where counting would mean to read a remote file
// again.
std::string RecordReader::LineOf(size_t position) {
  const FileEntry& file = request_.fragment.file;
  const int64_t lines =
      piece_line_ + std::count(piece_.begin(), piece_.begin() + static_cast<int64_t>(position), '\n');
  if (lines_before_ < 0 && first_offset_ <= 3) lines_before_ = 0;  // 3: a byte order mark
  if (lines_before_ < 0 && !IsRemote(file.location)) {
    auto source =
        OpenByteSource(request_.env, file, 0, request_.pool.get(), request_.pool.get(), request_.cancel);
    auto window = arrow::AllocateBuffer(64 << 10, request_.pool.get());
    int64_t count = 0, left = first_offset_;
    while (source.ok() && window.ok() && left > 0) {
      auto got = (*source)->Read(std::min<int64_t>(left, 64 << 10), (*window)->mutable_data());
      if (!got.ok() || *got == 0) break;
      count += std::count((*window)->data(), (*window)->data() + *got, '\n');
      left -= *got;
    }
    if (left == 0) lines_before_ = count;
  }
  if (lines_before_ >= 0) return "line " + std::to_string(lines_before_ + lines + 1);
  return "byte " + std::to_string(lines_->piece_offset() + static_cast<int64_t>(position));
}

Result<std::unique_ptr<LineReader>> OpenLines(const ReadRequest& request,
                                              std::unique_ptr<RecordScanner> scanner) {
  const Fragment& fragment = request.fragment;
  LineRange range;
  if (fragment.range == Fragment::Range::kBytes) {
    if (fragment.begin < 0 || fragment.end < fragment.begin)
      return BugError("a fragment's byte range is reversed");
    if (fragment.begin > 0 && IsCompressed(fragment.file.location)) {
      return BugError("a compressed file was split by bytes");
    }
    range = {fragment.begin, fragment.end};
    if (fragment.file.size_bytes >= 0 && range.end >= fragment.file.size_bytes) range.end = INT64_MAX;
  } else if (fragment.range != Fragment::Range::kWhole) {
    return BugError("a text file has no row groups");
  }
  const bool compressed = IsCompressed(fragment.file.location);
  ARROW_ASSIGN_OR_RAISE(auto source,
                        OpenByteSource(request.env, fragment.file, LineReader::SourceOffset(range),
                                       request.pool.get(), request.pool.get(), request.cancel));
  const int64_t size_hint = compressed ? -1 : fragment.file.size_bytes;
  return std::make_unique<LineReader>(std::move(source), range,
                                      std::max<int64_t>(request.target_block_bytes / 2, 1), size_hint,
                                      std::move(scanner), request.pool.get());
}

std::vector<Fragment> SplitByBytes(const FileEntry& file, bool splittable, int64_t target_bytes) {
  Fragment whole;
  whole.file = file;
  if (!splittable || IsCompressed(file.location) || target_bytes <= 0 || file.size_bytes <= target_bytes)
    return {whole};
  // Ranges of equal size, the number of them rounded up.
  const int64_t count = file.size_bytes / target_bytes + (file.size_bytes % target_bytes != 0);
  const int64_t step = file.size_bytes / count, rest = file.size_bytes % count;
  std::vector<Fragment> fragments;
  int64_t begin = 0;
  for (int64_t i = 0; i < count; ++i) {
    Fragment fragment = whole;
    fragment.range = Fragment::Range::kBytes;
    fragment.begin = begin;
    fragment.end = begin = begin + step + (i < rest);
    fragments.push_back(std::move(fragment));
  }
  return fragments;
}

std::string QuoteForError(std::string_view value) {
  std::string out = "'";
  size_t shown = 0;
  for (const char c : value) {
    if (++shown > 40) break;
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      constexpr char kHex[] = "0123456789abcdef";
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  // Cut at 40 bytes: not inside a UTF-8 character.
  if (value.size() > 40) {
    while (out.size() > 1 && (static_cast<unsigned char>(out.back()) & 0xC0) == 0x80) out.pop_back();
    if (out.size() > 1 && (static_cast<unsigned char>(out.back()) & 0x80) != 0) out.pop_back();
    out += "...";
  }
  return out + "'";
}

}  // namespace partita
