#include "partita/storage/parquet/text_pages.h"

#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <algorithm>
#include <bit>

#include "partita/storage/parquet/runs.h"

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "Parquet lengths are written as they are");

constexpr int64_t kStepRows = PageMaker::kStepRows;

// Codes of entries of a dictionary that are none.
constexpr uint32_t kUnknown = UINT32_MAX;
constexpr uint32_t kNullEntry = UINT32_MAX - 1;

constexpr int64_t kLengthBytes = sizeof(uint32_t);  // of a text
constexpr int64_t kPrefixBytes = sizeof(uint64_t);

// The first bytes of a text of `size`; behind it any may stand.
uint64_t PrefixOf(const uint8_t* text, int64_t size) {
  uint64_t prefix = 0;
  std::memcpy(&prefix, text, sizeof(prefix));
  prefix = __builtin_bswap64(prefix);
  if (size >= kPrefixBytes) return prefix;
  return size == 0 ? 0 : prefix & (~uint64_t{0} << (8 * (kPrefixBytes - size)));
}

template <typename Texts>
struct ValueRows {
  const Texts& texts;
  const bool has_nulls = texts.null_count() > 0;

  int64_t length() const { return texts.length(); }
  bool IsNull(int64_t row) const { return has_nulls && texts.IsNull(row); }
  std::string_view View(int64_t row) const { return texts.GetView(row); }
  int64_t MostBytes(int64_t begin, int64_t end) const {
    return texts.value_offset(end) - texts.value_offset(begin);
  }
};

// Indices are all within the dictionary.
template <typename Index, typename Texts>
struct CodedRows {
  const arrow::DictionaryArray& texts;
  const Texts& dictionary;
  const Index* indices = texts.indices()->data()->template GetValues<Index>(1);
  const bool has_nulls = texts.null_count() > 0;
  const bool has_null_entries = dictionary.null_count() > 0;

  int64_t length() const { return texts.length(); }
  int64_t Entry(int64_t row) const { return static_cast<int64_t>(indices[row]); }
  bool IsNull(int64_t row) const {
    return (has_nulls && texts.IsNull(row)) || (has_null_entries && dictionary.IsNull(Entry(row)));
  }
  std::string_view View(int64_t row) const { return dictionary.GetView(Entry(row)); }
  int64_t MostBytes(int64_t begin, int64_t end) const {
    int64_t bytes = 0;
    for (int64_t row = begin; row < end; ++row) {
      if (!IsNull(row)) bytes += static_cast<int64_t>(View(row).size());
    }
    return bytes;
  }
  bool AreWithin() const {
    const auto entries = static_cast<uint64_t>(dictionary.length());
    for (int64_t row = 0; row < length(); ++row) {
      if (static_cast<uint64_t>(indices[row]) >= entries && !(has_nulls && texts.IsNull(row))) return false;
    }
    return true;
  }
};

template <typename Rows>
constexpr bool kAreCoded = false;
template <typename Index, typename Texts>
constexpr bool kAreCoded<CodedRows<Index, Texts>> = true;

}  // namespace

bool IsText(const arrow::DataType& type) { return arrow::is_base_binary_like(type.id()); }

bool IsTextCodes(const arrow::DataType& type) {
  return type.id() == arrow::Type::DICTIONARY &&
         IsText(*static_cast<const arrow::DictionaryType&>(type).value_type());
}

Result<std::shared_ptr<arrow::Array>> ValuesOf(std::shared_ptr<arrow::Array> array, arrow::MemoryPool* pool) {
  if (array->type_id() != arrow::Type::DICTIONARY) return array;
  const auto& type = static_cast<const arrow::DictionaryType&>(*array->type()).value_type();
  arrow::compute::ExecContext context(pool);
  context.set_use_threads(false);
  return arrow::compute::Cast(*array, type, arrow::compute::CastOptions::Safe(), &context);
}

void TextRange::Add(std::string_view text) {
  uint8_t begin[kPrefixBytes] = {};
  std::copy_n(text.data(), std::min<size_t>(text.size(), kPrefixBytes), begin);
  Add(text, PrefixOf(begin, static_cast<int64_t>(text.size())));
}

void TextRange::Compare(std::string_view text, uint64_t prefix) {
  if (!any_ || prefix < least_prefix_ || (prefix == least_prefix_ && text < least_)) {
    least_ = text;
    least_prefix_ = prefix;
  }
  if (!any_ || prefix > greatest_prefix_ || (prefix == greatest_prefix_ && text > greatest_)) {
    greatest_ = text;
    greatest_prefix_ = prefix;
  }
  any_ = true;
}

TextPages::TextPages(const parquet::ColumnDescriptor* descr, const parquet::WriterProperties* properties,
                     parquet::PageWriter* pager, arrow::MemoryPool* pool)
    : descr_(descr),
      pages_(descr, properties, pager, pool),
      codes_(pool),
      code_of_(pool),
      present_(pool),
      plain_(pool) {}

Status TextPages::Add(const arrow::Array& texts) {
  switch (texts.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return AddRows(ValueRows<arrow::BinaryArray>{static_cast<const arrow::BinaryArray&>(texts)});
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return AddRows(ValueRows<arrow::LargeBinaryArray>{static_cast<const arrow::LargeBinaryArray&>(texts)});
    case arrow::Type::DICTIONARY:
      break;
    default:
      return BugError("pages of texts cannot hold " + texts.type()->ToString());
  }
  const auto& coded = static_cast<const arrow::DictionaryArray&>(texts);
  ARROW_RETURN_NOT_OK(Know(texts.data()->dictionary));
  return arrow::is_large_binary_like(coded.dictionary()->type_id())
             ? AddIndices<arrow::LargeBinaryArray>(coded)
             : AddIndices<arrow::BinaryArray>(coded);
}

template <typename Texts>
Status TextPages::AddIndices(const arrow::DictionaryArray& coded) {
  const auto& dictionary = static_cast<const Texts&>(*coded.dictionary());
  const auto add = [&]<typename Index>(Index) -> Status {
    const CodedRows<Index, Texts> rows{coded, dictionary};
    if (rows.AreWithin()) return AddRows(rows);
    return DataError("column '" + descr_->path()->ToDotString() + "' has an index beyond its dictionary",
                     "write the file again");
  };
  switch (coded.indices()->type_id()) {
    case arrow::Type::INT8:
      return add(int8_t{});
    case arrow::Type::UINT8:
      return add(uint8_t{});
    case arrow::Type::INT16:
      return add(int16_t{});
    case arrow::Type::UINT16:
      return add(uint16_t{});
    case arrow::Type::INT32:
      return add(int32_t{});
    case arrow::Type::UINT32:
      return add(uint32_t{});
    case arrow::Type::INT64:
      return add(int64_t{});
    default:
      return add(uint64_t{});
  }
}

template <typename Rows>
Status TextPages::AddRows(const Rows& rows) {
  for (int64_t begin = 0; begin < rows.length(); begin += kStepRows) {
    const int64_t end = std::min(begin + kStepRows, rows.length());
    ARROW_RETURN_NOT_OK(pages_.StartStep(end - begin));
    ARROW_RETURN_NOT_OK(codes_ ? AddCodes(rows, begin, end) : AddPlain(rows, begin, end));
    if (PageIsFull()) ARROW_RETURN_NOT_OK(EndPage());
  }
  const bool is_long = codes_ && pages_.IsFullDictionary(std::ssize(codes_->plain()));
  return is_long ? EndDictionary() : Status::OK();
}

template <typename Rows>
Status TextPages::AddCodes(const Rows& rows, int64_t begin, int64_t end) {
  ARROW_RETURN_NOT_OK(present_.Reserve(end - begin));
  uint32_t* out = present_.mutable_data() + present_.length();
  for (int64_t row = begin; row < end; ++row) {
    uint32_t code = kNullEntry;
    ARROW_RETURN_NOT_OK(CodeOf(rows, row, &code));
    if (code == kNullEntry) {
      ARROW_RETURN_NOT_OK(pages_.AddNull());
      continue;
    }
    *out++ = code;
    pages_.AddPresent();
  }
  present_.UnsafeAdvance(out - present_.mutable_data() - present_.length());
  return Status::OK();
}

// Of a row without a text, kNullEntry.
template <typename Rows>
Status TextPages::CodeOf(const Rows& rows, int64_t row, uint32_t* code) {
  if constexpr (kAreCoded<Rows>) {
    if (rows.has_nulls && rows.texts.IsNull(row)) return Status::OK();
    uint32_t& known = code_of_.mutable_data()[rows.Entry(row)];
    if (known == kUnknown) {
      known = kNullEntry;
      if (!rows.IsNull(row)) ARROW_RETURN_NOT_OK(codes_->CodeOf(rows.View(row), &known));
    }
    *code = known;
    return Status::OK();
  } else {
    return rows.IsNull(row) ? Status::OK() : codes_->CodeOf(rows.View(row), code);
  }
}

template <typename Rows>
Status TextPages::AddPlain(const Rows& rows, int64_t begin, int64_t end) {
  // Behind the last text there is room to look at eight bytes of it.
  ARROW_RETURN_NOT_OK(
      plain_.Reserve(rows.MostBytes(begin, end) + (end - begin) * kLengthBytes + kPrefixBytes));
  uint8_t* out = plain_.mutable_data() + plain_.length();
  for (int64_t row = begin; row < end; ++row) {
    if (rows.IsNull(row)) {
      ARROW_RETURN_NOT_OK(pages_.AddNull());
      continue;
    }
    const std::string_view text = rows.View(row);
    const auto length = static_cast<uint32_t>(text.size());
    std::memcpy(out, &length, kLengthBytes);
    out += kLengthBytes;
    if (length > 0) std::memcpy(out, text.data(), length);
    range_.Add(text, PrefixOf(out, length));
    out += length;
    pages_.AddPresent();
  }
  plain_.UnsafeAdvance(out - plain_.mutable_data() - plain_.length());
  return Status::OK();
}

Status TextPages::Know(const std::shared_ptr<arrow::ArrayData>& dictionary) {
  if (!codes_ || dictionary == known_) return Status::OK();
  known_.reset();
  code_of_.bytes_builder()->Rewind(0);
  ARROW_RETURN_NOT_OK(code_of_.Reserve(dictionary->length));
  code_of_.UnsafeAppend(dictionary->length, kUnknown);
  known_ = dictionary;
  return Status::OK();
}

bool TextPages::PageIsFull() const {
  return pages_.IsFull(codes_ ? present_.length() * IndexBits(codes_->size()) / 8 : plain_.length());
}

Status TextPages::EndPage() {
  ARROW_RETURN_NOT_OK(codes_ ? pages_.EndIndices(present_.data(), present_.length(), codes_->size())
                             : pages_.EndPlain(plain_.data(), plain_.length()));
  present_.bytes_builder()->Rewind(0);
  plain_.Rewind(0);
  return Status::OK();
}

Status TextPages::EndDictionary() {
  if (!codes_) return Status::OK();
  ARROW_RETURN_NOT_OK(EndPage());
  pages_.WriteDictionary(codes_->plain(), codes_->size());
  for (uint32_t code = 0; code < codes_->size(); ++code) range_.Add(codes_->At(code));
  codes_.reset();
  known_.reset();
  code_of_.Reset();
  present_.Reset();
  return Status::OK();
}

}  // namespace partita
