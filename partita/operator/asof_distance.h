// Which of two values is nearer to a third, where all are numbers that compare like values (OrdersOf, in
// join_table.h). Of integers and times distances are those of their numbers; floats must be decoded.
#pragma once

#include <arrow/type_fwd.h>

#include <bit>
#include <cstdint>

namespace partita {

class AsofDistance {
 public:
  explicit AsofDistance(arrow::Type::type type) : type_(type) {}
  // Is a, not after x, at least as near to x as b, not before it?
  bool BackIsNearer(uint64_t a, uint64_t x, uint64_t b) const {
    if (type_ != arrow::Type::FLOAT && type_ != arrow::Type::DOUBLE) return x - a <= b - x;
    return Value(x) - Value(a) <= Value(b) - Value(x);
  }

 private:
  double Value(uint64_t order) const {
    if (type_ == arrow::Type::DOUBLE) {
      constexpr uint64_t kSign = uint64_t{1} << 63;
      return std::bit_cast<double>((order & kSign) ? order ^ kSign : ~order);
    }
    constexpr uint32_t kSign = uint32_t{1} << 31;
    const auto bits = static_cast<uint32_t>(order >> 32);
    return std::bit_cast<float>((bits & kSign) ? bits ^ kSign : ~bits);
  }

  arrow::Type::type type_;
};

}  // namespace partita
