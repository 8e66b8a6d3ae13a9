#include "partita/runs/row_key.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include "partita/base/digest.h"
#include "partita/pipeline/keys.h"

namespace partita {
namespace {

constexpr uint8_t kPresent = 1;

uint64_t BigEndian(uint64_t value) { return __builtin_bswap64(value); }

KeyPrefix PrefixOf(const uint8_t* bytes, int64_t size) {
  uint8_t padded[16] = {};
  std::memcpy(padded, bytes, static_cast<size_t>(std::min<int64_t>(size, 16)));
  KeyPrefix prefix;
  std::memcpy(&prefix.hi, padded, 8);
  std::memcpy(&prefix.lo, padded + 8, 8);
  prefix.hi = BigEndian(prefix.hi);
  prefix.lo = BigEndian(prefix.lo);
  return prefix;
}

// Unsigned integers that compare like the values.
template <typename T>
auto Ordered(T value) {
  if constexpr (std::is_floating_point_v<T>) {
    using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
    constexpr Bits kSign = Bits{1} << (sizeof(T) * 8 - 1);
    if (value == 0) value = 0;  // -0 is 0
    if (std::isnan(value)) value = std::numeric_limits<T>::quiet_NaN();
    const auto bits = std::bit_cast<Bits>(value);
    return static_cast<Bits>((bits & kSign) ? ~bits : (bits | kSign));
  } else if constexpr (std::is_signed_v<T>) {
    using Bits = std::make_unsigned_t<T>;
    return static_cast<Bits>(static_cast<Bits>(value) ^ (Bits{1} << (sizeof(T) * 8 - 1)));
  } else {
    return value;
  }
}

uint16_t OrderedHalf(uint16_t bits) {
  if ((bits & 0x7fff) == 0) bits = 0;
  if ((bits & 0x7fff) > 0x7c00) bits = 0x7e00;
  return (bits & 0x8000) ? static_cast<uint16_t>(~bits) : static_cast<uint16_t>(bits | 0x8000);
}

template <typename Bits>
void PutBigEndian(Bits value, uint8_t* out) {
  for (size_t i = 0; i < sizeof(Bits); ++i)
    out[i] = static_cast<uint8_t>(value >> (8 * (sizeof(Bits) - 1 - i)));
}

// How one column is written. Lengths first, then bytes: both go down the column.
struct ColumnWriter {
  int64_t width = -1;                                        // of a present value; -1: varies
  std::function<int64_t(int64_t row)> length;                // of varying ones
  std::function<uint8_t*(int64_t row, uint8_t* out)> write;  // returns the end
};

template <typename Get>
ColumnWriter FixedWriter(int64_t width, Get put) {
  ColumnWriter writer;
  writer.width = width;
  writer.write = [put, width](int64_t row, uint8_t* out) {
    put(row, out);
    return out + width;
  };
  return writer;
}

template <typename T>
ColumnWriter NumberWriter(const arrow::ArrayData& data) {
  const T* values = data.GetValues<T>(1);
  return FixedWriter(sizeof(T),
                     [values](int64_t row, uint8_t* out) { PutBigEndian(Ordered(values[row]), out); });
}

ColumnWriter DecimalWriter(const arrow::ArrayData& data, int64_t width) {
  const uint8_t* values = data.buffers[1]->data() + data.offset * width;
  return FixedWriter(width, [values, width](int64_t row, uint8_t* out) {
    const uint8_t* value = values + row * width;
    for (int64_t i = 0; i < width; ++i) out[i] = value[width - 1 - i];
    out[0] ^= 0x80;
  });
}

ColumnWriter TextWriter(std::function<std::string_view(int64_t)> view) {
  ColumnWriter writer;
  writer.length = [view](int64_t row) {
    const auto text = view(row);
    return static_cast<int64_t>(text.size()) + std::count(text.begin(), text.end(), '\0') + 2;
  };
  writer.write = [view](int64_t row, uint8_t* out) {
    const auto text = view(row);
    if (std::memchr(text.data(), 0, text.size()) == nullptr) {
      if (!text.empty()) std::memcpy(out, text.data(), text.size());
      out += text.size();
    } else {
      for (char c : text) {
        *out++ = static_cast<uint8_t>(c);
        if (c == '\0') *out++ = 0xff;
      }
    }
    *out++ = 0;
    *out++ = 0;
    return out;
  };
  return writer;
}

template <typename ArrayType>
ColumnWriter TextWriterOf(const arrow::Array& array) {
  const auto* typed = static_cast<const ArrayType*>(&array);
  return TextWriter([typed](int64_t row) { return std::string_view(typed->GetView(row)); });
}

Result<ColumnWriter> WriterOf(const arrow::Array& array);

// Each value of the dictionary is encoded once.
Result<ColumnWriter> DictionaryWriter(const arrow::DictionaryArray& array) {
  const auto& dictionary = *array.dictionary();
  ARROW_ASSIGN_OR_RAISE(auto inner, WriterOf(dictionary));
  const auto* indices = &array;
  ColumnWriter writer;
  writer.width = inner.width;
  if (inner.length) {
    writer.length = [indices, length = inner.length](int64_t row) {
      return length(indices->GetValueIndex(row));
    };
  }
  writer.write = [indices, write = inner.write](int64_t row, uint8_t* out) {
    return write(indices->GetValueIndex(row), out);
  };
  return writer;
}

Result<ColumnWriter> WriterOf(const arrow::Array& array) {
  const auto& data = *array.data();
  switch (array.type_id()) {
    case arrow::Type::NA:
      return FixedWriter(0, [](int64_t, uint8_t*) {});
    case arrow::Type::BOOL: {
      const auto* typed = static_cast<const arrow::BooleanArray*>(&array);
      return FixedWriter(1, [typed](int64_t row, uint8_t* out) { *out = typed->Value(row) ? 1 : 0; });
    }
    case arrow::Type::INT8:
      return NumberWriter<int8_t>(data);
    case arrow::Type::UINT8:
      return NumberWriter<uint8_t>(data);
    case arrow::Type::INT16:
      return NumberWriter<int16_t>(data);
    case arrow::Type::UINT16:
      return NumberWriter<uint16_t>(data);
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
    case arrow::Type::INTERVAL_MONTHS:
      return NumberWriter<int32_t>(data);
    case arrow::Type::UINT32:
      return NumberWriter<uint32_t>(data);
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
      return NumberWriter<int64_t>(data);
    case arrow::Type::UINT64:
      return NumberWriter<uint64_t>(data);
    case arrow::Type::FLOAT:
      return NumberWriter<float>(data);
    case arrow::Type::DOUBLE:
      return NumberWriter<double>(data);
    case arrow::Type::HALF_FLOAT: {
      const auto* values = data.GetValues<uint16_t>(1);
      return FixedWriter(
          2, [values](int64_t row, uint8_t* out) { PutBigEndian(OrderedHalf(values[row]), out); });
    }
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
      return DecimalWriter(data, static_cast<const arrow::DecimalType&>(*array.type()).byte_width());
    case arrow::Type::FIXED_SIZE_BINARY: {
      const int64_t width = static_cast<const arrow::FixedSizeBinaryType&>(*array.type()).byte_width();
      const uint8_t* values = data.buffers[1] ? data.buffers[1]->data() + data.offset * width : nullptr;
      return FixedWriter(width, [values, width](int64_t row, uint8_t* out) {
        if (width > 0) std::memcpy(out, values + row * width, static_cast<size_t>(width));
      });
    }
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return TextWriterOf<arrow::BinaryArray>(array);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return TextWriterOf<arrow::LargeBinaryArray>(array);
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return TextWriterOf<arrow::BinaryViewArray>(array);
    case arrow::Type::DICTIONARY:
      return DictionaryWriter(static_cast<const arrow::DictionaryArray&>(array));
    case arrow::Type::EXTENSION:
      return WriterOf(*static_cast<const arrow::ExtensionArray&>(array).storage());
    default:
      return UserError("a column of type " + array.type()->ToString() + " cannot be a key",
                       "use a column of numbers, times or text");
  }
}

// A null of a dictionary may stand in the index or in the dictionary.
bool IsNull(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return true;
  if (array.type_id() == arrow::Type::NA) return true;
  if (array.type_id() == arrow::Type::DICTIONARY) {
    const auto& typed = static_cast<const arrow::DictionaryArray&>(array);
    return typed.dictionary()->IsNull(typed.GetValueIndex(row));
  }
  return false;
}

bool MayHaveNulls(const arrow::Array& array) {
  return array.null_count() > 0 || array.type_id() == arrow::Type::NA ||
         array.type_id() == arrow::Type::DICTIONARY;
}

Result<std::shared_ptr<arrow::Buffer>> NewBuffer(int64_t size, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(size, pool));
  return buffer;
}

struct EncodedColumn {
  std::shared_ptr<arrow::Array> array;
  ColumnWriter writer;
  bool nulls = false;
  uint8_t null_marker = 2;
  uint8_t invert = 0;
};

uint8_t* Put(const EncodedColumn& column, int64_t row, uint8_t* out) {
  if (column.nulls && IsNull(*column.array, row)) {
    *out++ = column.null_marker;
    return out;
  }
  *out++ = kPresent;
  uint8_t* end = column.writer.write(row, out);
  if (column.invert != 0) {
    for (; out < end; ++out) *out = static_cast<uint8_t>(~*out);
  }
  return end;
}

int64_t LengthOf(const EncodedColumn& column, int64_t row) {
  if (column.nulls && IsNull(*column.array, row)) return 1;
  return 1 + (column.writer.width >= 0 ? column.writer.width : column.writer.length(row));
}

uint64_t Mix(uint64_t x) {  // the finaliser of splitmix64 (Steele, Lea, Flood 2014)
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
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
  std::vector<EncodedColumn> columns;
  int64_t fixed = 0;  // bytes of a row when nothing varies
  for (const auto& key : columns_) {
    EncodedColumn column;
    column.array = batch.column(key.index);
    ARROW_ASSIGN_OR_RAISE(column.writer, WriterOf(*column.array));
    column.nulls = MayHaveNulls(*column.array);
    column.null_marker = key.nulls_first ? 0 : 2;
    column.invert = key.descending ? 1 : 0;
    fixed = fixed < 0 || column.nulls || column.writer.width < 0 ? -1 : fixed + 1 + column.writer.width;
    columns.push_back(std::move(column));
  }
  RowKeys keys;
  keys.rows = rows;
  ARROW_ASSIGN_OR_RAISE(keys.prefixes, NewBuffer(rows * static_cast<int64_t>(sizeof(KeyPrefix)), pool));
  auto* prefixes = reinterpret_cast<KeyPrefix*>(keys.prefixes->mutable_data());
  if (fixed >= 0 && fixed <= 16) {
    for (int64_t row = 0; row < rows; ++row) {
      uint8_t bytes[16];
      uint8_t* out = bytes;
      for (const auto& column : columns) out = Put(column, row, out);
      prefixes[row] = PrefixOf(bytes, fixed);
    }
    return keys;
  }
  ARROW_ASSIGN_OR_RAISE(auto offset_buffer, NewBuffer((rows + 1) * 8, pool));
  auto* offsets = reinterpret_cast<int64_t*>(offset_buffer->mutable_data());
  int64_t longest = 0, at = 0;
  for (int64_t row = 0; row < rows; ++row) {
    offsets[row] = at;
    int64_t length = 0;
    for (const auto& column : columns) length += LengthOf(column, row);
    longest = std::max(longest, length);
    at += length;
  }
  offsets[rows] = at;
  ARROW_ASSIGN_OR_RAISE(auto bytes, NewBuffer(at, pool));
  for (int64_t row = 0; row < rows; ++row) {
    uint8_t* out = bytes->mutable_data() + offsets[row];
    for (const auto& column : columns) out = Put(column, row, out);
    prefixes[row] = PrefixOf(bytes->data() + offsets[row], offsets[row + 1] - offsets[row]);
  }
  if (longest > 16) {
    keys.offsets = std::move(offset_buffer);
    keys.bytes = std::move(bytes);
  }
  return keys;
}

Result<RowKeys> HashKeys(const RowKeys& keys, arrow::MemoryPool* pool) {
  RowKeys hashed;
  hashed.rows = keys.rows;
  ARROW_ASSIGN_OR_RAISE(hashed.prefixes,
                        NewBuffer(keys.rows * static_cast<int64_t>(sizeof(KeyPrefix)), pool));
  auto* out = reinterpret_cast<KeyPrefix*>(hashed.prefixes->mutable_data());
  for (int64_t row = 0; row < keys.rows; ++row) {
    // An encoding hashes the same whether its batch has longer ones or not.
    const auto whole = keys.whole(row);
    const auto& prefix = keys.prefix(row);
    uint64_t hash = 0;
    if (whole.size() > 16) {
      hash = Checksum64(whole.data(), static_cast<int64_t>(whole.size()));
    } else {
      hash = Mix(prefix.hi + 0x9e3779b97f4a7c15ULL);
      hash = Mix(hash ^ Mix(prefix.lo + 0xd1b54a32d192ed03ULL));
    }
    out[row] = {hash, 0};
  }
  return hashed;
}

uint64_t ShuffleKey(uint64_t seed, int64_t input, int64_t partition, int64_t ordinal) {
  uint64_t key = Mix(seed + 0x9e3779b97f4a7c15ULL);
  key = Mix(key ^ Mix((static_cast<uint64_t>(input) << 48) ^ static_cast<uint64_t>(partition)));
  return Mix(key + static_cast<uint64_t>(ordinal) * 0x9e3779b97f4a7c15ULL);
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
