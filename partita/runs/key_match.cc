#include "partita/runs/key_match.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <cstring>

#include "partita/base/digest.h"

namespace partita {
namespace {

enum class Layout { kFixed, kText, kLargeText, kOther };

Layout LayoutOf(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return Layout::kText;
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return Layout::kLargeText;
    case arrow::Type::BOOL:
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DICTIONARY:
    case arrow::Type::EXTENSION:
      return Layout::kOther;
    default:
      return arrow::is_fixed_width(type.id()) ? Layout::kFixed : Layout::kOther;
  }
}

bool IsNullAt(const arrow::Array& column, int64_t row) {
  if (column.type_id() == arrow::Type::NA || column.IsNull(row)) return true;
  if (column.type_id() != arrow::Type::DICTIONARY) return false;
  const auto& typed = static_cast<const arrow::DictionaryArray&>(column);
  return typed.dictionary()->IsNull(typed.GetValueIndex(row));
}

void AddNulls(const arrow::Array& column, std::vector<bool>* nulls) {
  const bool may = column.null_count() > 0 || column.type_id() == arrow::Type::NA ||
                   column.type_id() == arrow::Type::DICTIONARY;
  if (!may) return;
  nulls->resize(static_cast<size_t>(column.length()));
  for (int64_t row = 0; row < column.length(); ++row) {
    if (IsNullAt(column, row)) (*nulls)[static_cast<size_t>(row)] = true;
  }
}

MatchKeys::Column ViewOf(const arrow::ArrayData& data) {
  MatchKeys::Column column;
  if (data.GetNullCount() > 0) column.validity = data.buffers[0]->data();
  column.offset = data.offset;
  const auto bytes_of = [&](size_t i) { return data.buffers[i] ? data.buffers[i]->data() : nullptr; };
  switch (LayoutOf(*data.type)) {
    case Layout::kText:
      column.offsets = data.GetValues<int32_t>(1);
      column.values = bytes_of(2);
      break;
    case Layout::kLargeText:
      column.large_offsets = data.GetValues<int64_t>(1);
      column.values = bytes_of(2);
      break;
    default:
      column.width = static_cast<const arrow::FixedWidthType&>(*data.type).bit_width() / 8;
      column.values = bytes_of(1) == nullptr ? nullptr : bytes_of(1) + data.offset * column.width;
      break;
  }
  return column;
}

bool IsNullAt(const MatchKeys::Column& column, int64_t row) {
  return column.validity != nullptr && !arrow::bit_util::GetBit(column.validity, column.offset + row);
}

template <typename Offset>
bool SameText(const Offset* a, const uint8_t* a_bytes, int64_t i, const Offset* b, const uint8_t* b_bytes,
              int64_t j) {
  const auto size = a[i + 1] - a[i];
  if (size != b[j + 1] - b[j]) return false;
  return size == 0 || std::memcmp(a_bytes + a[i], b_bytes + b[j], static_cast<size_t>(size)) == 0;
}

bool Same(const MatchKeys::Column& a, int64_t i, const MatchKeys::Column& b, int64_t j) {
  if (a.offsets != nullptr) return SameText(a.offsets, a.values, i, b.offsets, b.values, j);
  if (a.large_offsets != nullptr) return SameText(a.large_offsets, a.values, i, b.large_offsets, b.values, j);
  if (a.width == 8) {
    uint64_t x = 0, y = 0;
    std::memcpy(&x, a.values + i * 8, 8);
    std::memcpy(&y, b.values + j * 8, 8);
    return x == y;
  }
  return a.width == 0 ||
         std::memcmp(a.values + i * a.width, b.values + j * b.width, static_cast<size_t>(a.width)) == 0;
}

template <typename Offset>
uint64_t HashText(const Offset* offsets, const uint8_t* bytes, int64_t row) {
  return Checksum64(bytes + offsets[row], static_cast<int64_t>(offsets[row + 1] - offsets[row]));
}

uint64_t HashNumber(uint64_t value) { return MixBits(value + 0x9e3779b97f4a7c15ULL); }

uint64_t HashOf(const MatchKeys::Column& column, int64_t row) {
  if (column.offsets != nullptr) return HashText(column.offsets, column.values, row);
  if (column.large_offsets != nullptr) return HashText(column.large_offsets, column.values, row);
  uint64_t value = 0;
  if (column.width > 8) return Checksum64(column.values + row * column.width, column.width);
  std::memcpy(&value, column.values + row * column.width, static_cast<size_t>(column.width));
  return HashNumber(value);
}

// Keys of one column of numbers.
template <typename Number>
void HashNumbers(const MatchKeys::Column& column, int64_t begin, std::span<uint64_t> hashes) {
  const uint8_t* from = column.values + begin * static_cast<int64_t>(sizeof(Number));
  for (size_t i = 0; i < hashes.size(); ++i) {
    Number value;
    std::memcpy(&value, from + i * sizeof(Number), sizeof(Number));
    hashes[i] = MixBits(0) ^ HashNumber(value);
  }
}

}  // namespace

bool MatchKeys::HasNullAt(int64_t row) const {
  if (!nulls.empty()) return nulls[static_cast<size_t>(row)];
  return std::any_of(columns.begin(), columns.end(),
                     [&](const Column& column) { return IsNullAt(column, row); });
}

Result<KeyMatcher> KeyMatcher::Make(const arrow::Schema& schema, std::vector<int> columns) {
  KeyMatcher matcher;
  std::vector<KeyColumn> keys;
  matcher.by_bytes_ = true;
  for (int column : columns) {
    keys.push_back({column, false, false});
    if (LayoutOf(*schema.field(column)->type()) == Layout::kOther) matcher.by_bytes_ = false;
  }
  ARROW_ASSIGN_OR_RAISE(auto encoder, KeyEncoder::Make(schema, std::move(keys)));
  matcher.encoder_ = std::make_shared<const KeyEncoder>(std::move(encoder));
  matcher.columns_ = std::move(columns);
  return matcher;
}

Result<MatchKeys> KeyMatcher::Prepare(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) const {
  MatchKeys keys;
  if (by_bytes_) {
    for (int column : columns_) {
      keys.columns.push_back(ViewOf(*batch.column_data(column)));
      keys.may_have_nulls = keys.may_have_nulls || keys.columns.back().validity != nullptr;
    }
    return keys;
  }
  ARROW_ASSIGN_OR_RAISE(keys.encoded, encoder_->Encode(batch, pool));
  for (int column : columns_) AddNulls(*batch.column(column), &keys.nulls);
  keys.may_have_nulls = !keys.nulls.empty();
  return keys;
}

bool AllKeysMatch(const MatchKeys& a, int64_t i, const MatchKeys& b, int64_t j) {
  if (a.encoded.prefixes != nullptr) return CompareKeys(a.encoded, i, b.encoded, j) == 0;
  for (size_t c = 0; c < a.columns.size(); ++c) {
    if (!Same(a.columns[c], i, b.columns[c], j)) return false;
  }
  return true;
}

bool SameKeys(const MatchKeys& a, int64_t i, const MatchKeys& b, int64_t j) {
  if (!a.columns.empty() && (a.may_have_nulls || b.may_have_nulls)) {
    for (size_t c = 0; c < a.columns.size(); ++c) {
      const bool is_null = IsNullAt(a.columns[c], i);
      if (is_null != IsNullAt(b.columns[c], j)) return false;
      if (!is_null && !Same(a.columns[c], i, b.columns[c], j)) return false;
    }
    return true;
  }
  return KeysMatch(a, i, b, j);
}

uint64_t MatchHash(const MatchKeys& keys, int64_t row) {
  if (keys.encoded.prefixes != nullptr) {
    const auto whole = keys.encoded.whole(row);
    if (whole.size() > 16) return Checksum64(whole.data(), static_cast<int64_t>(whole.size()));
    const auto& prefix = keys.encoded.prefix(row);
    return MixBits(MixBits(prefix.hi + 0x9e3779b97f4a7c15ULL) ^ prefix.lo);
  }
  uint64_t hash = 0;
  for (const auto& column : keys.columns) hash = MixBits(hash) ^ HashOf(column, row);
  return hash;
}

void MatchHashes(const MatchKeys& keys, int64_t begin, std::span<uint64_t> hashes) {
  const bool is_one = keys.encoded.prefixes == nullptr && keys.columns.size() == 1 && !keys.may_have_nulls;
  if (is_one && keys.columns[0].width == 8) return HashNumbers<uint64_t>(keys.columns[0], begin, hashes);
  if (is_one && keys.columns[0].width == 4) return HashNumbers<uint32_t>(keys.columns[0], begin, hashes);
  for (size_t i = 0; i < hashes.size(); ++i) {
    const int64_t row = begin + static_cast<int64_t>(i);
    hashes[i] = keys.HasNull(row) ? 0 : MatchHash(keys, row);
  }
}

}  // namespace partita
