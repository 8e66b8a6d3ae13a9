// Numbers and times of up to 128 bits as unsigned integers that compare like them. Private to the aggregates.
#pragma once

#include <arrow/type.h>

#include <cstdint>
#include <type_traits>

namespace partita {

// Values as unsigned integers of the same order, and back.
template <typename T>
struct IntegerOrder {
  using Value = T;
  using Key = std::make_unsigned_t<T>;
  static constexpr Key kSign = std::is_signed_v<T> ? Key{1} << (8 * sizeof(T) - 1) : Key{0};
  static Key ToKey(Value value) { return static_cast<Key>(static_cast<Key>(value) ^ kSign); }
  static Value ToValue(Key key) { return static_cast<Value>(static_cast<Key>(key ^ kSign)); }
};

// Bits of floats: -0 below 0, all NaN one value above infinity.
template <typename T, T kInfinity, T kNaN>
struct FloatOrder {
  using Value = T;
  using Key = T;
  static constexpr Key kSign = static_cast<Key>(Key{1} << (8 * sizeof(T) - 1));
  static Key ToKey(Value bits) {
    if (static_cast<Key>(bits & ~kSign) > kInfinity) bits = kNaN;
    return static_cast<Key>(bits & kSign ? ~bits : bits | kSign);
  }
  static Value ToValue(Key key) { return static_cast<Value>(key & kSign ? key ^ kSign : ~key); }
};
using HalfOrder = FloatOrder<uint16_t, 0x7c00, 0x7e00>;
using SingleOrder = FloatOrder<uint32_t, 0x7f800000, 0x7fc00000>;
using DoubleOrder = FloatOrder<uint64_t, 0x7ff0000000000000, 0x7ff8000000000000>;

struct DecimalOrder {
  struct Value {
    uint64_t low, high;
  };
  using Key = unsigned __int128;
  static constexpr uint64_t kSign = uint64_t{1} << 63;
  static Key ToKey(Value value) { return static_cast<Key>(value.high ^ kSign) << 64 | value.low; }
  static Value ToValue(Key key) {
    return {static_cast<uint64_t>(key), static_cast<uint64_t>(key >> 64) ^ kSign};
  }
};

// What make(order) gives for the order of a type; `none` for types that have none of these.
template <typename Made, typename Make>
Made WithOrder(arrow::Type::type type, Made none, Make make) {
  switch (type) {
    case arrow::Type::INT8:
      return make(IntegerOrder<int8_t>());
    case arrow::Type::UINT8:
      return make(IntegerOrder<uint8_t>());
    case arrow::Type::INT16:
      return make(IntegerOrder<int16_t>());
    case arrow::Type::UINT16:
      return make(IntegerOrder<uint16_t>());
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
    case arrow::Type::INTERVAL_MONTHS:
    case arrow::Type::DECIMAL32:
      return make(IntegerOrder<int32_t>());
    case arrow::Type::UINT32:
      return make(IntegerOrder<uint32_t>());
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
    case arrow::Type::DECIMAL64:
      return make(IntegerOrder<int64_t>());
    case arrow::Type::UINT64:
      return make(IntegerOrder<uint64_t>());
    case arrow::Type::HALF_FLOAT:
      return make(HalfOrder());
    case arrow::Type::FLOAT:
      return make(SingleOrder());
    case arrow::Type::DOUBLE:
      return make(DoubleOrder());
    case arrow::Type::DECIMAL128:
      return make(DecimalOrder());
    default:
      return none;
  }
}

}  // namespace partita
