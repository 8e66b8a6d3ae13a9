#include "partita/runs/key_writer.h"

#include <arrow/api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>
#include <type_traits>
#include <utility>

namespace partita {
namespace {

constexpr uint8_t kPresent = 1;

using Uint128 = unsigned __int128;

// The bytes at `at` as the leading ones of 16.
Uint128 LoadLeading(const uint8_t* at, size_t size) {
  uint64_t words[2] = {0, 0};
  std::memcpy(words, at, size);
  return Uint128{__builtin_bswap64(words[0])} << 64 | __builtin_bswap64(words[1]);
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

// `Values` has width(), Length(row), Put(row, out), and Leading(row, size): what Put writes, where that is up
// to 15 bytes, as the leading ones of 16. All of values that are not null.
template <typename Values>
class KeyWriterOf final : public KeyWriter {
 public:
  explicit KeyWriterOf(Values values) : values_(std::move(values)) {}

  void AddLengths(int64_t begin, int64_t end, int64_t* lengths) const override {
    for (int64_t row = begin; row < end; ++row, ++lengths) {
      *lengths += nulls_ && IsNull(*array_, row) ? 1 : 1 + values_.Length(row);
    }
  }

  void Write(int64_t begin, int64_t end, uint8_t** out) const override {
    for (int64_t row = begin; row < end; ++row, ++out) {
      uint8_t* at = *out;
      if (nulls_ && IsNull(*array_, row)) {
        *at = null_marker_;
        *out = at + 1;
        continue;
      }
      *at++ = kPresent;
      *out = values_.Put(row, at);
      if (invert_) {
        for (; at < *out; ++at) *at = static_cast<uint8_t>(~*at);
      }
    }
  }

  void AddToPrefixes(int64_t begin, int64_t end, uint8_t* sizes, KeyPrefix* prefixes) const override {
    for (int64_t row = begin; row < end; ++row, ++sizes, ++prefixes) {
      Uint128 bytes = Uint128{null_marker_} << 120;
      size_t size = 0;
      if (!nulls_ || !IsNull(*array_, row)) {
        Uint128 value = values_.Leading(row, &size);
        if (invert_ && size > 0) value ^= ~Uint128{0} << (128 - 8 * size);
        bytes = Uint128{kPresent} << 120 | value >> 8;
      }
      bytes >>= 8 * *sizes;
      prefixes->hi |= static_cast<uint64_t>(bytes >> 64);
      prefixes->lo |= static_cast<uint64_t>(bytes);
      *sizes = static_cast<uint8_t>(*sizes + 1 + size);
    }
  }

  int64_t value_width() const override { return values_.width(); }
  int64_t LengthOf(int64_t row) const override { return values_.Length(row); }
  uint8_t* Put(int64_t row, uint8_t* out) const override { return values_.Put(row, out); }

 private:
  Values values_;
};

// Values of one width; `put(row, out)` writes one.
template <typename PutOne>
struct FixedValues {
  int64_t bytes;
  PutOne put;
  int64_t width() const { return bytes; }
  int64_t Length(int64_t) const { return bytes; }
  uint8_t* Put(int64_t row, uint8_t* out) const {
    put(row, out);
    return out + bytes;
  }
  Uint128 Leading(int64_t row, size_t* size) const {
    uint8_t written[16];
    put(row, written);
    *size = static_cast<size_t>(bytes);
    return LoadLeading(written, *size);
  }
};

template <typename T>
struct NumberValues {
  const T* values;
  int64_t width() const { return sizeof(T); }
  int64_t Length(int64_t) const { return sizeof(T); }
  uint8_t* Put(int64_t row, uint8_t* out) const {
    PutBigEndian(Ordered(values[row]), out);
    return out + sizeof(T);
  }
  Uint128 Leading(int64_t row, size_t* size) const {
    *size = sizeof(T);
    return Uint128{Ordered(values[row])} << (128 - 8 * sizeof(T));
  }
};

template <typename ArrayType>
struct TextValues {
  const ArrayType* array;
  bool zeros = true;             // may there be any? They are escaped.
  const uint8_t* end = nullptr;  // of the bytes that may be read

  int64_t width() const { return -1; }
  int64_t Length(int64_t row) const {
    const std::string_view text = array->GetView(row);
    const auto escapes = zeros ? std::count(text.begin(), text.end(), '\0') : 0;
    return static_cast<int64_t>(text.size()) + escapes + 2;
  }
  uint8_t* Put(int64_t row, uint8_t* out) const {
    const std::string_view text = array->GetView(row);
    if (!zeros || std::memchr(text.data(), 0, text.size()) == nullptr) {
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
  }
  Uint128 Leading(int64_t row, size_t* size) const {
    const std::string_view text = array->GetView(row);
    const auto* at = reinterpret_cast<const uint8_t*>(text.data());
    if (zeros || end - at < 16) {
      uint8_t written[16];
      *size = static_cast<size_t>(Put(row, written) - written);
      return LoadLeading(written, *size);
    }
    *size = text.size() + 2;
    return LoadLeading(at, 16) & ~(~Uint128{0} >> (8 * text.size()));
  }
};

// The values that the indices stand for.
struct DictionaryValues {
  const arrow::DictionaryArray* array;
  std::shared_ptr<KeyWriter> values;
  int64_t width() const { return values->value_width(); }
  int64_t Length(int64_t row) const { return values->LengthOf(array->GetValueIndex(row)); }
  uint8_t* Put(int64_t row, uint8_t* out) const { return values->Put(array->GetValueIndex(row), out); }
  Uint128 Leading(int64_t row, size_t* size) const {
    uint8_t written[16];
    *size = static_cast<size_t>(Put(row, written) - written);
    return LoadLeading(written, *size);
  }
};

using KeyWriterPtr = std::shared_ptr<KeyWriter>;

template <typename PutOne>
KeyWriterPtr FixedWriter(int64_t width, PutOne put) {
  return std::make_shared<KeyWriterOf<FixedValues<PutOne>>>(FixedValues<PutOne>{width, std::move(put)});
}

template <typename T>
KeyWriterPtr NumberWriter(const arrow::ArrayData& data) {
  return std::make_shared<KeyWriterOf<NumberValues<T>>>(NumberValues<T>{data.GetValues<T>(1)});
}

KeyWriterPtr DecimalWriter(const arrow::ArrayData& data, int64_t width) {
  const uint8_t* values = data.buffers[1]->data() + data.offset * width;
  return FixedWriter(width, [values, width](int64_t row, uint8_t* out) {
    const uint8_t* value = values + row * width;
    for (int64_t i = 0; i < width; ++i) out[i] = value[width - 1 - i];
    out[0] ^= 0x80;
  });
}

template <typename ArrayType>
KeyWriterPtr TextWriter(const arrow::Array& array) {
  TextValues<ArrayType> values{static_cast<const ArrayType*>(&array)};
  if constexpr (!std::is_same_v<ArrayType, arrow::BinaryViewArray>) {  // the texts stand in one piece
    const auto& text = *values.array;
    const auto begin = array.length() == 0 ? 0 : text.value_offset(0);
    const auto size = array.length() == 0 ? 0 : text.value_offset(array.length()) - begin;
    values.zeros = size > 0 && std::memchr(text.raw_data() + begin, 0, static_cast<size_t>(size)) != nullptr;
    if (text.value_data()) values.end = text.value_data()->data() + text.value_data()->size();
  }
  return std::make_shared<KeyWriterOf<TextValues<ArrayType>>>(values);
}

Result<KeyWriterPtr> WriterOf(const arrow::Array& array) {
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
      return TextWriter<arrow::BinaryArray>(array);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return TextWriter<arrow::LargeBinaryArray>(array);
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return TextWriter<arrow::BinaryViewArray>(array);
    case arrow::Type::DICTIONARY: {
      const auto& typed = static_cast<const arrow::DictionaryArray&>(array);
      ARROW_ASSIGN_OR_RAISE(auto values, WriterOf(*typed.dictionary()));
      return std::make_shared<KeyWriterOf<DictionaryValues>>(DictionaryValues{&typed, std::move(values)});
    }
    case arrow::Type::EXTENSION:
      return WriterOf(*static_cast<const arrow::ExtensionArray&>(array).storage());
    default:
      return UserError("a column of type " + array.type()->ToString() + " cannot be a key",
                       "use a column of numbers, times or text");
  }
}

}  // namespace

void KeyWriter::SetOrder(std::shared_ptr<arrow::Array> array, const KeyColumn& key) {
  nulls_ = MayHaveNulls(*array);
  null_marker_ = key.nulls_first ? 0 : 2;
  invert_ = key.descending;
  array_ = std::move(array);
}

Result<std::shared_ptr<KeyWriter>> MakeKeyWriter(std::shared_ptr<arrow::Array> array, const KeyColumn& key) {
  ARROW_ASSIGN_OR_RAISE(auto writer, WriterOf(*array));
  writer->SetOrder(std::move(array), key);
  return writer;
}

}  // namespace partita
