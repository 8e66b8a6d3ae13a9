#include "partita/exchange/group_keys.h"

#include <arrow/api.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "partita/base/digest.h"

namespace partita {
namespace {

using Uint128 = unsigned __int128;

constexpr int64_t kPrefixBytes = sizeof(KeyPrefix);
constexpr uint8_t kPresent = 1, kNull = 2;

uint64_t Mix(uint64_t x) {  // as in runs/row_key.cc
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

template <size_t kBytes>
struct UnsignedOf;
template <>
struct UnsignedOf<1> {
  using Type = uint8_t;
};
template <>
struct UnsignedOf<2> {
  using Type = uint16_t;
};
template <>
struct UnsignedOf<4> {
  using Type = uint32_t;
};
template <>
struct UnsignedOf<8> {
  using Type = uint64_t;
};

// Values of a fixed width, as unsigned integers that compare like them.
template <typename T>
struct Numbers {
  using Bits = typename UnsignedOf<sizeof(T)>::Type;
  static constexpr int64_t kWidth = sizeof(T);
  const T* values;

  Bits Get(int64_t row) const {
    constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(T) - 1));
    T value = values[row];
    if constexpr (std::is_floating_point_v<T>) {
      if (value == 0) value = 0;  // -0 is 0
      if (std::isnan(value)) value = std::numeric_limits<T>::quiet_NaN();
      const auto bits = std::bit_cast<Bits>(value);
      return static_cast<Bits>((bits & kSign) ? ~bits : (bits | kSign));
    } else if constexpr (std::is_signed_v<T>) {
      return static_cast<Bits>(static_cast<Bits>(value) ^ kSign);
    } else {
      return value;
    }
  }
};

struct Booleans {
  using Bits = uint8_t;
  static constexpr int64_t kWidth = 1;
  const uint8_t* bits;
  int64_t offset;
  Bits Get(int64_t row) const { return arrow::bit_util::GetBit(bits, offset + row) ? 1 : 0; }
};

template <typename Offset>
struct Texts {
  static constexpr int64_t kWidth = -1;
  const Offset* offsets;
  const uint8_t* bytes;
  int64_t bytes_end;  // how many there are
  bool has_zeros;     // which are escaped

  std::string_view Get(int64_t row) const {
    return {reinterpret_cast<const char*>(bytes) + offsets[row],
            static_cast<size_t>(offsets[row + 1] - offsets[row])};
  }
  // The size of the value's encoding, with its terminator.
  int64_t Size(int64_t row) const {
    const auto text = Get(row);
    const int64_t escapes = has_zeros ? std::count(text.begin(), text.end(), '\0') : 0;
    return static_cast<int64_t>(text.size()) + escapes + 2;
  }
  // The first 16 bytes of a value of up to 13 bytes without zeros.
  Uint128 Leading(int64_t row) const {
    const auto size = static_cast<size_t>(offsets[row + 1] - offsets[row]);
    if (size == 0) return 0;
    const uint8_t* at = bytes + offsets[row];
    uint64_t words[2] = {0, 0};
    if (offsets[row] + kPrefixBytes <= bytes_end) {
      std::memcpy(words, at, sizeof words);
    } else {
      std::memcpy(words, at, size);
    }
    const Uint128 value = Uint128{__builtin_bswap64(words[0])} << 64 | __builtin_bswap64(words[1]);
    return value & ~(~Uint128{0} >> (8 * size));
  }
};

template <typename Offset>
Texts<Offset> TextsOf(const arrow::ArrayData& data) {
  Texts<Offset> texts{data.GetValues<Offset>(1), nullptr, 0, false};
  if (data.length == 0 || !data.buffers[2]) return texts;
  texts.bytes = data.buffers[2]->data();
  texts.bytes_end = data.buffers[2]->size();
  const auto begin = texts.offsets[0], end = texts.offsets[data.length];
  texts.has_zeros =
      end > begin && std::memchr(texts.bytes + begin, 0, static_cast<size_t>(end - begin)) != nullptr;
  return texts;
}

bool IsPlain(arrow::Type::type id) {
  switch (id) {
    case arrow::Type::NA:
    case arrow::Type::HALF_FLOAT:
    case arrow::Type::INTERVAL_MONTHS:
    case arrow::Type::DECIMAL32:
    case arrow::Type::DECIMAL64:
    case arrow::Type::DECIMAL128:
    case arrow::Type::DECIMAL256:
    case arrow::Type::FIXED_SIZE_BINARY:
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::DICTIONARY:
    case arrow::Type::EXTENSION:
      return false;
    default:
      return true;
  }
}

// Calls visit with the values of a plain column.
template <typename Visit>
void VisitValues(const arrow::ArrayData& data, Visit visit) {
  switch (data.type->id()) {
    case arrow::Type::BOOL:
      return visit(Booleans{data.buffers[1]->data(), data.offset});
    case arrow::Type::INT8:
      return visit(Numbers<int8_t>{data.GetValues<int8_t>(1)});
    case arrow::Type::UINT8:
      return visit(Numbers<uint8_t>{data.GetValues<uint8_t>(1)});
    case arrow::Type::INT16:
      return visit(Numbers<int16_t>{data.GetValues<int16_t>(1)});
    case arrow::Type::UINT16:
      return visit(Numbers<uint16_t>{data.GetValues<uint16_t>(1)});
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
      return visit(Numbers<int32_t>{data.GetValues<int32_t>(1)});
    case arrow::Type::UINT32:
      return visit(Numbers<uint32_t>{data.GetValues<uint32_t>(1)});
    case arrow::Type::UINT64:
      return visit(Numbers<uint64_t>{data.GetValues<uint64_t>(1)});
    case arrow::Type::FLOAT:
      return visit(Numbers<float>{data.GetValues<float>(1)});
    case arrow::Type::DOUBLE:
      return visit(Numbers<double>{data.GetValues<double>(1)});
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return visit(TextsOf<int32_t>(data));
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return visit(TextsOf<int64_t>(data));
    default:
      return visit(Numbers<int64_t>{data.GetValues<int64_t>(1)});
  }
}

// Calls rows(is_null) where is_null(row) costs nothing for a column that has none.
template <typename Rows>
void WithNullsOf(const arrow::ArrayData& data, Rows rows) {
  if (data.GetNullCount() == 0) {
    rows([](int64_t) { return false; });
  } else {
    const uint8_t* bits = data.buffers[0]->data();
    rows([bits, offset = data.offset](int64_t row) { return !arrow::bit_util::GetBit(bits, offset + row); });
  }
}

// Adds the encoded size of each row of a column to `sizes`; the greatest so far.
void AddSizes(const arrow::ArrayData& data, int64_t* sizes) {
  VisitValues(data, [&](const auto& values) {
    WithNullsOf(data, [&](auto is_null) {
      using Values = std::decay_t<decltype(values)>;
      for (int64_t row = 0; row < data.length; ++row) {
        if constexpr (Values::kWidth >= 0) {
          sizes[row] += is_null(row) ? 1 : 1 + Values::kWidth;
        } else {
          sizes[row] += is_null(row) ? 1 : 1 + values.Size(row);
        }
      }
    });
  });
}

// Adds a column to encodings of up to 16 bytes. place(row): how much of the row stands already.
template <typename Place>
void AddToPrefixes(const arrow::ArrayData& data, Place place, KeyPrefix* prefixes) {
  VisitValues(data, [&](const auto& values) {
    WithNullsOf(data, [&](auto is_null) {
      using Values = std::decay_t<decltype(values)>;
      for (int64_t row = 0; row < data.length; ++row) {
        Uint128 bytes = 0;
        if (is_null(row)) {
          bytes = Uint128{kNull} << 120;
        } else if constexpr (Values::kWidth >= 0) {
          bytes = Uint128{kPresent} << 120 | Uint128{values.Get(row)} << (120 - 8 * Values::kWidth);
        } else {
          bytes = Uint128{kPresent} << 120 | values.Leading(row) >> 8;
        }
        bytes >>= 8 * place(row);
        prefixes[row].hi |= static_cast<uint64_t>(bytes >> 64);
        prefixes[row].lo |= static_cast<uint64_t>(bytes);
      }
    });
  });
}

template <typename Bits>
uint8_t* PutBigEndian(Bits value, uint8_t* out) {
  for (size_t i = 0; i < sizeof(Bits); ++i)
    out[i] = static_cast<uint8_t>(value >> (8 * (sizeof(Bits) - 1 - i)));
  return out + sizeof(Bits);
}

uint8_t* PutText(std::string_view text, bool has_zeros, uint8_t* out) {
  if (!has_zeros) {
    std::memcpy(out, text.data(), text.size());
    out += text.size();
  } else {
    for (const char c : text) {
      *out++ = static_cast<uint8_t>(c);
      if (c == '\0') *out++ = 0xff;
    }
  }
  *out++ = 0;
  *out++ = 0;
  return out;
}

// Appends a column to the rows' encodings, at `places`.
void AppendBytes(const arrow::ArrayData& data, uint8_t* bytes, int64_t* places) {
  VisitValues(data, [&](const auto& values) {
    WithNullsOf(data, [&](auto is_null) {
      using Values = std::decay_t<decltype(values)>;
      for (int64_t row = 0; row < data.length; ++row) {
        uint8_t* out = bytes + places[row];
        if (is_null(row)) {
          *out++ = kNull;
        } else {
          *out++ = kPresent;
          if constexpr (Values::kWidth >= 0) {
            out = PutBigEndian(values.Get(row), out);
          } else {
            out = PutText(values.Get(row), values.has_zeros, out);
          }
        }
        places[row] = out - bytes;
      }
    });
  });
}

// The size of a row where all columns are of fixed width and without nulls.
std::optional<int64_t> FixedSize(const std::vector<const arrow::ArrayData*>& columns) {
  int64_t size = 0;
  for (const auto* data : columns) {
    if (data->GetNullCount() > 0) return std::nullopt;
    int64_t width = -1;
    VisitValues(*data, [&](const auto& values) { width = std::decay_t<decltype(values)>::kWidth; });
    if (width < 0) return std::nullopt;
    size += 1 + width;
  }
  return size;
}

bool HasEscapes(const std::vector<const arrow::ArrayData*>& columns) {
  bool found = false;
  for (const auto* data : columns) {
    VisitValues(*data, [&](const auto& values) {
      if constexpr (std::decay_t<decltype(values)>::kWidth < 0) found |= values.has_zeros;
    });
  }
  return found;
}

}  // namespace

GroupKeys::GroupKeys(KeyEncoder encoder, std::vector<int> columns, std::shared_ptr<BudgetPool> pool)
    : pool_(pool),
      encoder_(std::move(encoder)),
      columns_(std::move(columns)),
      prefixes_(pool),
      offsets_(pool),
      bytes_(pool),
      places_(pool),
      hashes_(pool) {}

Result<GroupKeys> GroupKeys::Make(const arrow::Schema& schema, std::vector<int> columns,
                                  std::shared_ptr<BudgetPool> pool) {
  std::vector<KeyColumn> keys;
  for (const int column : columns) keys.push_back({column, false, false});
  ARROW_ASSIGN_OR_RAISE(auto encoder, KeyEncoder::Make(schema, std::move(keys)));
  return GroupKeys(std::move(encoder), std::move(columns), std::move(pool));
}

Status GroupKeys::Encode(const arrow::RecordBatch& batch) {
  rows_ = 0;
  offset_at_ = nullptr;
  encoded_ = {};
  std::vector<const arrow::ArrayData*> columns;
  for (const int index : columns_) {
    columns.push_back(batch.column_data(index).get());
    if (!IsPlain(columns.back()->type->id())) return EncodeSlowly(batch);
  }
  const auto rows = static_cast<size_t>(batch.num_rows());
  ARROW_RETURN_NOT_OK(prefixes_.Reserve(rows));
  ARROW_RETURN_NOT_OK(hashes_.Reserve(rows));
  prefixes_.SetSize(0);
  ARROW_RETURN_NOT_OK(prefixes_.Resize(rows));
  rows_ = batch.num_rows();
  prefix_at_ = prefixes_.begin();
  const auto fixed = FixedSize(columns);
  if (fixed && *fixed <= kPrefixBytes) {
    int64_t at = 0;
    for (const auto* data : columns) {
      AddToPrefixes(
          *data, [at](int64_t) { return at; }, prefixes_.begin());
      VisitValues(*data, [&](const auto& values) { at += 1 + std::decay_t<decltype(values)>::kWidth; });
    }
    return Hash();
  }
  places_.SetSize(0);
  ARROW_RETURN_NOT_OK(places_.Resize(rows + 1));
  for (const auto* data : columns) AddSizes(*data, places_.begin());
  const int64_t longest = *std::max_element(places_.begin(), places_.end());
  if (longest <= kPrefixBytes && !HasEscapes(columns)) {
    std::fill(places_.begin(), places_.end(), 0);
    for (const auto* data : columns) {
      AddToPrefixes(
          *data, [&](int64_t row) { return places_[static_cast<size_t>(row)]; }, prefixes_.begin());
      if (data != columns.back()) AddSizes(*data, places_.begin());
    }
    return Hash();
  }
  ARROW_RETURN_NOT_OK(offsets_.Reserve(rows + 1));
  offsets_.SetSize(rows + 1);
  int64_t at = 0;
  for (size_t row = 0; row <= rows; ++row) {
    offsets_[row] = at;
    at += places_[row];
    places_[row] = offsets_[row];
  }
  ARROW_RETURN_NOT_OK(bytes_.Reserve(static_cast<size_t>(at) + sizeof(KeyPrefix)));
  bytes_.SetSize(static_cast<size_t>(at) + sizeof(KeyPrefix));  // a prefix may be read past a short key
  for (const auto* data : columns) AppendBytes(*data, bytes_.begin(), places_.begin());
  for (size_t row = 0; row < rows; ++row) {
    uint64_t words[2];
    std::memcpy(words, bytes_.begin() + offsets_[row], sizeof words);
    Uint128 prefix = Uint128{__builtin_bswap64(words[0])} << 64 | __builtin_bswap64(words[1]);
    const int64_t size = offsets_[row + 1] - offsets_[row];
    if (size < kPrefixBytes) prefix &= ~(~Uint128{0} >> (8 * size));
    prefixes_[row] = {static_cast<uint64_t>(prefix >> 64), static_cast<uint64_t>(prefix)};
  }
  offset_at_ = offsets_.begin();
  byte_at_ = bytes_.begin();
  return Hash();
}

Status GroupKeys::EncodeSlowly(const arrow::RecordBatch& batch) {
  ARROW_ASSIGN_OR_RAISE(encoded_, encoder_.Encode(batch, pool_.get()));
  ARROW_RETURN_NOT_OK(hashes_.Reserve(static_cast<size_t>(encoded_.rows)));
  rows_ = encoded_.rows;
  prefix_at_ = reinterpret_cast<const KeyPrefix*>(encoded_.prefixes->data());
  if (encoded_.offsets != nullptr) {
    offset_at_ = reinterpret_cast<const int64_t*>(encoded_.offsets->data());
    byte_at_ = encoded_.bytes->data();
  }
  return Hash();
}

// The hash of HashKeys (runs/row_key.h).
Status GroupKeys::Hash() {
  hashes_.SetSize(static_cast<size_t>(rows_));
  for (int64_t row = 0; row < rows_; ++row) {
    const auto whole = long_key(row);
    if (whole.empty()) {
      const uint64_t hash = Mix(prefix(row).hi + 0x9e3779b97f4a7c15ULL);
      hashes_[static_cast<size_t>(row)] = Mix(hash ^ Mix(prefix(row).lo + 0xd1b54a32d192ed03ULL));
    } else {
      hashes_[static_cast<size_t>(row)] = Checksum64(whole.data(), static_cast<int64_t>(whole.size()));
    }
  }
  return Status::OK();
}

}  // namespace partita
