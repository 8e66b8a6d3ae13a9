#include <arrow/buffer.h>
#include <arrow/type.h>

#include <algorithm>
#include "partita/base/json.h"
#include "partita/memory/budget.h"

#include "partita/storage/csv/parser.h"
#include "partita/storage/csv/writer.h"
#include "partita/storage/formats.h"

namespace partita {
namespace {

constexpr int64_t kPrefixBytes = 1 << 20;
constexpr int64_t kHeaderPrefixBytes = 64 << 10;

std::string_view TextOf(const arrow::Buffer& buffer) {
  std::string_view text(reinterpret_cast<const char*>(buffer.data()), static_cast<size_t>(buffer.size()));
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  return text;
}

// Cuts the first record that is not blank from `*text`; false when none is complete.
bool TakeRecord(const CsvOptions& options, bool complete, std::string_view* text, std::string_view* record) {
  while (!text->empty()) {
    size_t end = options.newlines_in_values ? CsvRecordScanner(options).FirstEnd(*text) : text->find('\n');
    if (!options.newlines_in_values && end != std::string_view::npos) ++end;
    if (end == std::string_view::npos) {
      if (!complete) return false;
      end = text->size();
    }
    *record = WithoutLineEnd(text->substr(0, end));
    text->remove_prefix(end);
    if (!record->empty()) return true;
  }
  return false;
}

struct Head {
  std::vector<std::string> names;
  int64_t data_offset = 0;  // of the first record that is a row
};

// Names and the place of the first row, from the file's beginning. No names: the file has no rows (and no
// header).
Result<Head> FindHead(const CsvOptions& options, std::string_view text, int64_t text_offset, bool complete,
                      const FileEntry& file, arrow::MemoryPool* pool) {
  Head head;
  std::string_view rest = text, record;
  for (int64_t i = 0; i < options.skip_rows; ++i) {
    if (!TakeRecord(options, complete, &rest, &record)) break;
  }
  std::string_view after = rest;
  if (TakeRecord(options, complete, &after, &record)) {
    auto names = CsvColumnNames(options, record, pool);
    if (!names.ok()) return WithContext(names.status(), {.file = file.location});
    head.names = std::move(*names);
    if (options.has_header) rest = after;
  } else if (!complete) {
    return WithContext(
        DataError("the first " + std::to_string(text.size() >> 10) + " KiB hold no complete record",
                  "check that the file is CSV, or set newlines_in_values or quote"),
        {.file = file.location});
  }
  head.data_offset = text_offset + static_cast<int64_t>(text.size() - rest.size());
  return head;
}

class Csv final : public Format {
 public:
  std::string_view name() const override { return "csv"; }
  std::string_view extension() const override { return ".csv"; }
  std::vector<std::string> extensions() const override {
    return {".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst", ".csv.bz2"};
  }

  Result<FileInfo> Inspect(Env* env, const FileEntry& file, const Json& args,
                           arrow::MemoryPool* pool) const override {
    ARROW_ASSIGN_OR_RAISE(const CsvOptions options, CsvOptions::Parse(&args));
    bool complete = false;
    ARROW_ASSIGN_OR_RAISE(const auto prefix, ReadPrefix(env, file, kPrefixBytes, pool, &complete));
    std::string_view text = TextOf(*prefix);
    ARROW_ASSIGN_OR_RAISE(Head head, FindHead(options, text, 0, complete, file, pool));
    if (head.names.empty()) head.names = options.column_names;
    if (head.names.empty()) {
      return WithContext(DataError("the file is empty: it has no header to take column names from",
                                   "remove it, or give column_names"),
                         {.file = file.location});
    }
    text.remove_prefix(static_cast<size_t>(head.data_offset));
    ARROW_ASSIGN_OR_RAISE(auto schema, GuessSchema(options, head.names, text, complete, pool));
    auto typed = ApplyColumnTypes(std::move(schema), options.column_types);
    if (!typed.ok()) return WithContext(typed.status(), {.file = file.location});
    FileInfo info;
    info.schema = std::move(*typed);
    return info;
  }

  Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo*, const Json& args,
                                      int64_t target_bytes) const override {
    ARROW_ASSIGN_OR_RAISE(const CsvOptions options, CsvOptions::Parse(&args));
    return SplitByBytes(file, !options.newlines_in_values, target_bytes);
  }

  Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const override {
    ARROW_ASSIGN_OR_RAISE(const CsvOptions options, CsvOptions::Parse(request.args));
    arrow::MemoryPool* pool = request.pool.get();
    Fragment& fragment = request.fragment;
    int64_t skip_records = options.header_records();
    std::vector<std::string> names = options.has_header ? std::vector<std::string>() : options.column_names;
    if (fragment.range == Fragment::Range::kBytes && fragment.begin > 0) {
      // The header is before this range, or even in it when ranges are tiny.
      skip_records = 0;
      ARROW_ASSIGN_OR_RAISE(const Head head, ReadHead(request, options));
      names = head.names;
      fragment.begin = std::max(fragment.begin, head.data_offset);
      fragment.end = std::max(fragment.end, fragment.begin);
    }
    ARROW_ASSIGN_OR_RAISE(auto parser, CsvParser::Make(options, request.schema, std::move(names), pool));
    std::unique_ptr<RecordScanner> scanner;
    if (options.newlines_in_values) scanner = std::make_unique<CsvRecordScanner>(options);
    ARROW_ASSIGN_OR_RAISE(auto lines, OpenLines(request, std::move(scanner)));
    return std::make_unique<RecordReader>(std::move(request), std::move(lines), std::move(parser),
                                          skip_records);
  }

  Result<std::unique_ptr<FileWriter>> OpenWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                 WriteRequest request) const override {
    return OpenCsvWriter(std::move(stream), std::move(request));
  }
  int64_t least_write_bytes() const override { return 1 << 20; }

 private:
  static Result<Head> ReadHead(const ReadRequest& request, const CsvOptions& options) {
    // A long preamble or header: look at more before giving up.
    for (int64_t bytes = kHeaderPrefixBytes;; bytes *= 16) {
      bool complete = false;
      ARROW_ASSIGN_OR_RAISE(const auto prefix, ReadPrefix(request.env, request.fragment.file, bytes,
                                                          request.pool.get(), &complete));
      const std::string_view text = TextOf(*prefix);
      const int64_t mark_bytes = prefix->size() - static_cast<int64_t>(text.size());
      auto head = FindHead(options, text, mark_bytes, complete, request.fragment.file, request.pool.get());
      if (head.ok() || bytes > kPrefixBytes || complete) return head;
    }
  }

  static Result<std::shared_ptr<arrow::Schema>> GuessSchema(const CsvOptions& options,
                                                            const std::vector<std::string>& names,
                                                            std::string_view text, bool complete,
                                                            arrow::MemoryPool* pool) {
    std::vector<CellTypeGuess> guesses(names.size());
    CsvTokenizer tokenizer(options, pool);
    std::vector<CsvCell> cells;
    std::string_view record;
    while (TakeRecord(options, complete, &text, &record)) {
      const Status split = tokenizer.Split(record, &cells);
      if (split.IsOutOfMemory()) return split;
      if (!split.ok() || cells.size() != names.size()) continue;  // a bad row: reading it will say so
      for (size_t i = 0; i < cells.size(); ++i) {
        const auto& nulls = options.null_values;
        if (std::find(nulls.begin(), nulls.end(), cells[i].text) == nulls.end())
          guesses[i].Add(cells[i].text);
      }
    }
    arrow::FieldVector fields;
    for (size_t i = 0; i < names.size(); ++i) fields.push_back(arrow::field(names[i], guesses[i].type()));
    return arrow::schema(std::move(fields));
  }
};

}  // namespace

const Format* CsvFormat() {
  static const Csv format;
  return &format;
}

}  // namespace partita
