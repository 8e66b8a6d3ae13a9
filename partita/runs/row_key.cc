#include "partita/runs/row_key.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "partita/pipeline/keys.h"
#include "partita/runs/key_writer.h"

namespace partita {
namespace {

uint64_t BigEndian(uint64_t value) { return __builtin_bswap64(value); }

KeyPrefix PrefixOf(const uint8_t* bytes, int64_t size) {
  uint8_t padded[16] = {};
  if (size < 16) {
    std::memcpy(padded, bytes, static_cast<size_t>(size));
    bytes = padded;
  }
  KeyPrefix prefix;
  std::memcpy(&prefix.hi, bytes, 8);
  std::memcpy(&prefix.lo, bytes + 8, 8);
  prefix.hi = BigEndian(prefix.hi);
  prefix.lo = BigEndian(prefix.lo);
  return prefix;
}

Result<std::shared_ptr<arrow::Buffer>> NewBuffer(int64_t size, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(size, pool));
  return buffer;
}

using KeyWriterPtr = std::shared_ptr<KeyWriter>;

constexpr int64_t kSliceRows = 1024;

// Calls visit(begin, end) for slices of the rows.
template <typename Visit>
void ForSlices(int64_t rows, Visit visit) {
  for (int64_t begin = 0; begin < rows; begin += kSliceRows) visit(begin, std::min(rows, begin + kSliceRows));
}

// Keys that are all at most 16 bytes long.
void EncodeNarrow(const std::vector<KeyWriterPtr>& columns, int64_t rows, KeyPrefix* prefixes) {
  std::fill(prefixes, prefixes + rows, KeyPrefix());
  ForSlices(rows, [&](int64_t begin, int64_t end) {
    std::array<uint8_t, kSliceRows> sizes{};
    for (const auto& column : columns) column->AddToPrefixes(begin, end, sizes.data(), prefixes + begin);
  });
}

// offsets[row] and offsets[rows]; returns the longest.
int64_t FillOffsets(const std::vector<KeyWriterPtr>& columns, int64_t rows, int64_t* offsets) {
  int64_t longest = 0, at = 0;
  ForSlices(rows, [&](int64_t begin, int64_t end) {
    std::fill(offsets + begin, offsets + end, 0);
    for (const auto& column : columns) column->AddLengths(begin, end, offsets + begin);
    for (int64_t row = begin; row < end; ++row) {
      const int64_t length = std::exchange(offsets[row], at);
      longest = std::max(longest, length);
      at += length;
    }
  });
  offsets[rows] = at;
  return longest;
}

}  // namespace

const KeyPrefix& RowKeys::prefix(int64_t row) const {
  return reinterpret_cast<const KeyPrefix*>(prefixes->data())[row];
}

std::string_view RowKeys::whole(int64_t row) const {
  if (offsets == nullptr) return {};
  const auto* at = reinterpret_cast<const int64_t*>(offsets->data()) + row;
  return {reinterpret_cast<const char*>(bytes->data()) + at[0], static_cast<size_t>(at[1] - at[0])};
}

int64_t RowKeys::size_bytes() const {
  return (prefixes ? prefixes->size() : 0) + (offsets ? offsets->size() + bytes->size() : 0);
}

int CompareKeys(const RowKeys& a, int64_t i, const RowKeys& b, int64_t j) {
  const auto order = a.prefix(i) <=> b.prefix(j);
  if (order != 0) return order < 0 ? -1 : 1;
  if (a.offsets == nullptr || b.offsets == nullptr) return 0;  // encodings of up to 16 bytes are decided
  const int c = a.whole(i).compare(b.whole(j));
  return c < 0 ? -1 : c > 0 ? 1 : 0;
}

Result<KeyEncoder> KeyEncoder::Make(const arrow::Schema& schema, std::vector<KeyColumn> columns) {
  for (const auto& column : columns) {
    if (column.index < 0 || column.index >= schema.num_fields())
      return BugError("a key column that there is not");
    const auto& field = *schema.field(column.index);
    if (!IsKeyType(*field.type())) {
      return UserError(
          "column '" + field.name() + "' of type " + field.type()->ToString() + " cannot be a key",
          "use a column of numbers, times or text");
    }
  }
  KeyEncoder encoder;
  encoder.columns_ = std::move(columns);
  return encoder;
}

Result<RowKeys> KeyEncoder::Encode(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) const {
  const int64_t rows = batch.num_rows();
  std::vector<KeyWriterPtr> columns;
  int64_t width = 0;  // of a row when nothing varies, else -1
  for (const auto& key : columns_) {
    ARROW_ASSIGN_OR_RAISE(auto column, MakeKeyWriter(batch.column(key.index), key));
    width = width < 0 || column->width() < 0 ? -1 : width + column->width();
    columns.push_back(std::move(column));
  }
  RowKeys keys;
  keys.rows = rows;
  ARROW_ASSIGN_OR_RAISE(keys.prefixes, NewBuffer(rows * static_cast<int64_t>(sizeof(KeyPrefix)), pool));
  auto* prefixes = reinterpret_cast<KeyPrefix*>(keys.prefixes->mutable_data());
  if (width >= 0 && width <= 16) {
    EncodeNarrow(columns, rows, prefixes);
    return keys;
  }
  ARROW_ASSIGN_OR_RAISE(auto offset_buffer, NewBuffer((rows + 1) * 8, pool));
  auto* offsets = reinterpret_cast<int64_t*>(offset_buffer->mutable_data());
  if (FillOffsets(columns, rows, offsets) <= 16) {
    EncodeNarrow(columns, rows, prefixes);
    return keys;
  }
  ARROW_ASSIGN_OR_RAISE(auto bytes, NewBuffer(offsets[rows], pool));
  std::array<uint8_t*, kSliceRows> out;
  ForSlices(rows, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      out[static_cast<size_t>(row - begin)] = bytes->mutable_data() + offsets[row];
    }
    for (const auto& column : columns) column->Write(begin, end, out.data());
    for (int64_t row = begin; row < end; ++row) {
      prefixes[row] = PrefixOf(bytes->data() + offsets[row], offsets[row + 1] - offsets[row]);
    }
  });
  keys.offsets = std::move(offset_buffer);
  keys.bytes = std::move(bytes);
  return keys;
}

Result<RowKeys> HashKeys(RowKeys keys, arrow::MemoryPool* pool) {
  std::shared_ptr<arrow::Buffer> hashes = keys.prefixes;
  if (keys.prefixes.use_count() > 2) {  // others have them, too
    ARROW_ASSIGN_OR_RAISE(hashes, NewBuffer(keys.rows * static_cast<int64_t>(sizeof(KeyPrefix)), pool));
  }
  auto* out = reinterpret_cast<KeyPrefix*>(hashes->mutable_data());
  for (int64_t row = 0; row < keys.rows; ++row) out[row] = {HashKey(keys.prefix(row), keys.whole(row)), 0};
  keys.prefixes = std::move(hashes);
  keys.offsets = keys.bytes = nullptr;
  return keys;
}

ShuffleKeys::ShuffleKeys(uint64_t seed, int64_t input, int64_t partition) {
  const uint64_t key = MixBits(seed + 0x9e3779b97f4a7c15ULL);
  partition_key_ =
      MixBits(key ^ MixBits((static_cast<uint64_t>(input) << 48) ^ static_cast<uint64_t>(partition)));
}

Result<RowKeys> NumberKeys(std::span<const uint64_t> numbers, arrow::MemoryPool* pool) {
  RowKeys keys;
  keys.rows = static_cast<int64_t>(numbers.size());
  ARROW_ASSIGN_OR_RAISE(keys.prefixes, NewBuffer(keys.rows * static_cast<int64_t>(sizeof(KeyPrefix)), pool));
  auto* out = reinterpret_cast<KeyPrefix*>(keys.prefixes->mutable_data());
  for (int64_t i = 0; i < keys.rows; ++i) out[i] = {numbers[static_cast<size_t>(i)], 0};
  return keys;
}

}  // namespace partita
