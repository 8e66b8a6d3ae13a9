// Types in which keys of two types are compared.
#include <arrow/type.h>

#include <algorithm>

#include "partita/pipeline/join.h"

namespace partita {
namespace {

using Type = arrow::Type;
using TypePtr = std::shared_ptr<arrow::DataType>;

TypePtr CommonInteger(const arrow::DataType& a, const arrow::DataType& b) {
  int bits = std::max(a.bit_width(), b.bit_width());
  const bool is_signed = arrow::is_signed_integer(a.id()) || arrow::is_signed_integer(b.id());
  if (arrow::is_signed_integer(a.id()) != arrow::is_signed_integer(b.id())) {
    // All values of the unsigned one need a sign bit more.
    const auto& without_sign = arrow::is_signed_integer(a.id()) ? b : a;
    bits = std::max(bits, 2 * without_sign.bit_width());
  }
  switch (bits) {
    case 8:
      return is_signed ? arrow::int8() : arrow::uint8();
    case 16:
      return is_signed ? arrow::int16() : arrow::uint16();
    case 32:
      return is_signed ? arrow::int32() : arrow::uint32();
    case 64:
      return is_signed ? arrow::int64() : arrow::uint64();
    default:
      return nullptr;
  }
}

// The integers that a float holds exactly decide which float it must be.
TypePtr CommonNumber(const arrow::DataType& a, const arrow::DataType& b) {
  if (arrow::is_integer(a.id()) && arrow::is_integer(b.id())) return CommonInteger(a, b);
  int bits = 16;
  for (const auto* type : {&a, &b}) {
    const int own = type->bit_width();
    bits = std::max(bits, arrow::is_integer(type->id()) ? (own == 8 ? 16 : own == 16 ? 32 : 64) : own);
    if (arrow::is_integer(type->id()) && own == 64) bits = 64;  // a value beyond 2^53 is a bad row
  }
  return bits == 16 ? arrow::float16() : bits == 32 ? arrow::float32() : arrow::float64();
}

bool IsText(Type::type id) { return id == Type::STRING || id == Type::LARGE_STRING; }
bool IsBytes(Type::type id) { return id == Type::BINARY || id == Type::LARGE_BINARY; }
bool IsNumber(Type::type id) { return arrow::is_integer(id) || arrow::is_floating(id); }

}  // namespace

TypePtr CommonKeyType(const TypePtr& a, const TypePtr& b) {
  if (a->Equals(*b)) return a;
  if (a->id() == Type::DICTIONARY)
    return CommonKeyType(static_cast<const arrow::DictionaryType&>(*a).value_type(), b);
  if (b->id() == Type::DICTIONARY)
    return CommonKeyType(a, static_cast<const arrow::DictionaryType&>(*b).value_type());
  if (IsNumber(a->id()) && IsNumber(b->id())) return CommonNumber(*a, *b);
  if (IsText(a->id()) && IsText(b->id())) return arrow::large_utf8();
  if (IsBytes(a->id()) && IsBytes(b->id())) return arrow::large_binary();
  if (a->id() == Type::TIMESTAMP && b->id() == Type::TIMESTAMP) {
    const auto& x = static_cast<const arrow::TimestampType&>(*a);
    const auto& y = static_cast<const arrow::TimestampType&>(*b);
    return x.timezone() == y.timezone() ? arrow::timestamp(std::max(x.unit(), y.unit()), x.timezone())
                                        : nullptr;
  }
  return nullptr;
}

}  // namespace partita
