// Statistics pruning: interval reasoning that is never wrong in the "none" direction. What it does not know
// may satisfy.
#include <arrow/scalar.h>
#include <arrow/type.h>
#include <arrow/util/decimal.h>

#include <algorithm>
#include <cmath>
#include <compare>
#include <optional>
#include <string_view>
#include <utility>

#include "partita/expression/functions.h"
#include "partita/expression/literal.h"
#include "partita/expression/node.h"

namespace partita {
namespace {

using Call = Expression::Node::Call;

std::optional<double> FloatValue(const arrow::Scalar& value) {
  double number = 0;
  if (value.type->id() == arrow::Type::DOUBLE) {
    number = static_cast<const arrow::DoubleScalar&>(value).value;
  } else if (value.type->id() == arrow::Type::FLOAT) {
    number = static_cast<const arrow::FloatScalar&>(value).value;
  } else {
    return std::nullopt;
  }
  return std::isnan(number) ? std::nullopt : std::optional(number);
}

// Signed view of integers and temporals; uint64 beyond int64 has none.
std::optional<int64_t> IntegerValue(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case arrow::Type::BOOL:
      return static_cast<const arrow::BooleanScalar&>(value).value;
    case arrow::Type::INT8:
      return static_cast<const arrow::Int8Scalar&>(value).value;
    case arrow::Type::INT16:
      return static_cast<const arrow::Int16Scalar&>(value).value;
    case arrow::Type::INT32:
      return static_cast<const arrow::Int32Scalar&>(value).value;
    case arrow::Type::INT64:
      return static_cast<const arrow::Int64Scalar&>(value).value;
    case arrow::Type::UINT8:
      return static_cast<const arrow::UInt8Scalar&>(value).value;
    case arrow::Type::UINT16:
      return static_cast<const arrow::UInt16Scalar&>(value).value;
    case arrow::Type::UINT32:
      return static_cast<const arrow::UInt32Scalar&>(value).value;
    case arrow::Type::UINT64: {
      const uint64_t number = static_cast<const arrow::UInt64Scalar&>(value).value;
      if (number > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
      return static_cast<int64_t>(number);
    }
    case arrow::Type::DATE32:
      return static_cast<const arrow::Date32Scalar&>(value).value;
    case arrow::Type::DATE64:
      return static_cast<const arrow::Date64Scalar&>(value).value;
    case arrow::Type::TIME32:
      return static_cast<const arrow::Time32Scalar&>(value).value;
    case arrow::Type::TIME64:
      return static_cast<const arrow::Time64Scalar&>(value).value;
    case arrow::Type::TIMESTAMP:
      return static_cast<const arrow::TimestampScalar&>(value).value;
    case arrow::Type::DURATION:
      return static_cast<const arrow::DurationScalar&>(value).value;
    default:
      return std::nullopt;
  }
}

bool IsBytes(arrow::Type::type id) {
  return arrow::is_base_binary_like(id) || arrow::is_binary_view_like(id);
}

template <typename T>
std::optional<std::strong_ordering> Order(const T& a, const T& b) {
  if (a < b) return std::strong_ordering::less;
  return b < a ? std::strong_ordering::greater : std::strong_ordering::equal;
}

// Order of two valid values of one type (or of two floats); nothing where it is not known.
std::optional<std::strong_ordering> Compare(const arrow::Scalar& a, const arrow::Scalar& b) {
  if (!a.is_valid || !b.is_valid) return std::nullopt;
  if (const auto x = FloatValue(a), y = FloatValue(b); x && y) return Order(*x, *y);
  if (IsBytes(a.type->id()) && IsBytes(b.type->id())) {
    return Order(static_cast<const arrow::BaseBinaryScalar&>(a).view(),
                 static_cast<const arrow::BaseBinaryScalar&>(b).view());
  }
  if (!a.type->Equals(*b.type)) return std::nullopt;
  if (a.type->id() == arrow::Type::DECIMAL128) {
    return Order(static_cast<const arrow::Decimal128Scalar&>(a).value,
                 static_cast<const arrow::Decimal128Scalar&>(b).value);
  }
  if (const auto x = IntegerValue(a), y = IntegerValue(b); x && y) return Order(*x, *y);
  return std::nullopt;
}

const arrow::DataType& ValueType(const arrow::DataType& type) {
  return type.id() == arrow::Type::DICTIONARY ? *static_cast<const arrow::DictionaryType&>(type).value_type()
                                              : type;
}

// The literal as evaluation will compare it with the column; null where that is not exact.
std::shared_ptr<arrow::Scalar> LiteralFor(const arrow::DataType& column,
                                          const std::shared_ptr<arrow::Scalar>& literal) {
  const auto from = literal->type->id();
  constexpr double kExactIntegers =
      4503599627370496.0;  // 2^52: rounding an int64 to float64 never crosses it
  if (literal->type->Equals(column)) return literal;
  if (IsBytes(from) && IsBytes(column.id())) return literal;
  if (arrow::is_floating(column.id())) {
    if (FloatValue(*literal)) return literal;
    const auto number = IntegerValue(*literal);
    if (from != arrow::Type::INT64 || !number || std::abs(static_cast<double>(*number)) > kExactIntegers)
      return nullptr;
    return arrow::MakeScalar(static_cast<double>(*number));
  }
  if (arrow::is_integer(column.id()) && from == arrow::Type::DOUBLE) {
    const auto number = FloatValue(*literal);
    if (!number || std::abs(*number) > kExactIntegers || *number != std::trunc(*number)) return nullptr;
    return FoldCast(arrow::MakeScalar(static_cast<int64_t>(*number)), column.GetSharedPtr()).ValueOr(nullptr);
  }
  const bool folds = (arrow::is_integer(column.id()) && from == arrow::Type::INT64) ||
                     (arrow::is_temporal(column.id()) && from == arrow::Type::STRING);
  return folds ? FoldCast(literal, column.GetSharedPtr()).ValueOr(nullptr) : nullptr;
}

class Prover {
 public:
  Prover(const arrow::Schema& schema, const std::vector<ColumnRange>& ranges)
      : schema_(schema), ranges_(ranges) {}

  // Can the expression be true in any row?
  bool MayBeTrue(const Expression& expression) const {
    if (!expression.valid()) return true;
    const auto* node = expression.node();
    if (const auto* literal = node->literal()) return MayLiteral(*literal->value);
    if (node->column()) return MayCompare("equal", expression, arrow::MakeScalar(true));
    const auto& call = *node->call();
    const auto& args = call.args;
    if (call.function == "and_kleene") {
      return std::all_of(args.begin(), args.end(), [&](const auto& arg) { return MayBeTrue(arg); });
    }
    if (call.function == "or_kleene") {
      return args.empty() ||
             std::any_of(args.begin(), args.end(), [&](const auto& arg) { return MayBeTrue(arg); });
    }
    if (args.empty()) return true;
    if (call.function == "is_in") return MayBeIn(call);
    if (call.function == "starts_with") return MayStartWith(call);
    if (args.size() == 1 && call.options.empty()) {
      const ColumnRange* range = RangeOf(args[0]);
      if (call.function == "is_null") return !range || range->has_nulls || range->all_null;
      if (call.function == "is_valid") return !range || !range->all_null;
    }
    if (args.size() == 2 && call.options.empty()) return MayCompareEither(call.function, args[0], args[1]);
    return true;
  }

 private:
  static bool MayLiteral(const arrow::Scalar& value) {
    if (!value.is_valid) return false;
    return value.type->id() != arrow::Type::BOOL || static_cast<const arrow::BooleanScalar&>(value).value;
  }

  const ColumnRange* RangeOf(const Expression& expression) const {
    const auto* column = expression.valid() ? expression.node()->column() : nullptr;
    if (!column || schema_.GetAllFieldIndices(column->name).size() != 1) return nullptr;
    const auto found = std::find_if(ranges_.begin(), ranges_.end(),
                                    [&](const ColumnRange& range) { return range.column == column->name; });
    return found == ranges_.end() ? nullptr : &*found;
  }

  bool MayCompareEither(std::string_view function, const Expression& left, const Expression& right) const {
    if (const auto* literal = right.valid() ? right.node()->literal() : nullptr) {
      return MayCompare(function, left, literal->value);
    }
    if (const auto* literal = left.valid() ? left.node()->literal() : nullptr) {
      const std::string_view flipped = function == "less"            ? "greater"
                                       : function == "less_equal"    ? "greater_equal"
                                       : function == "greater"       ? "less"
                                       : function == "greater_equal" ? "less_equal"
                                                                     : function;
      return MayCompare(flipped, right, literal->value);
    }
    return true;
  }

  bool MayCompare(std::string_view function, const Expression& column,
                  const std::shared_ptr<arrow::Scalar>& literal) const {
    const bool equal = function == "equal", not_equal = function == "not_equal";
    const bool less = function == "less", less_equal = function == "less_equal";
    const bool greater = function == "greater", greater_equal = function == "greater_equal";
    if (!(equal || not_equal || less || less_equal || greater || greater_equal)) return true;
    const ColumnRange* range = RangeOf(column);
    if (!range) return true;
    if (range->all_null || !literal->is_valid) return false;  // a comparison with null is never true
    const auto& type = ValueType(*schema_.GetFieldByName(range->column)->type());
    const auto value = LiteralFor(type, literal);
    if (!value) return true;
    const auto low = Known(type, range->min) ? Compare(*range->min, *value) : std::nullopt;
    const auto high = Known(type, range->max) ? Compare(*range->max, *value) : std::nullopt;
    if ((equal || less_equal) && low && *low > 0) return false;
    if (less && low && *low >= 0) return false;
    if ((equal || greater_equal) && high && *high < 0) return false;
    if (greater && high && *high <= 0) return false;
    // NaN is outside the range and unequal to all; the bounds of text may be shortened.
    const bool exact = IntegerValue(*value).has_value();
    return !(not_equal && exact && low && high && *low == 0 && *high == 0);
  }

  static bool Known(const arrow::DataType& type, const std::shared_ptr<arrow::Scalar>& bound) {
    if (!bound || !bound->is_valid) return false;
    return bound->type->Equals(type) || (IsBytes(bound->type->id()) && IsBytes(type.id()));
  }

  bool MayBeIn(const Call& call) const {
    if (!call.options.empty()) return true;
    std::shared_ptr<arrow::DataType> common;
    for (size_t i = 1; i < call.args.size(); ++i) {
      const auto* literal = call.args[i].valid() ? call.args[i].node()->literal() : nullptr;
      if (!literal) return true;
      if (!literal->value->is_valid) continue;
      // In a list of mixed types each value is compared after a common cast, which may round.
      if (common && !common->Equals(*literal->value->type)) return true;
      common = literal->value->type;
      if (MayCompare("equal", call.args[0], literal->value)) return true;
    }
    return false;
  }

  // Texts with a prefix p lie between p and the last text with p.
  bool MayStartWith(const Call& call) const {
    const ColumnRange* range = call.args.size() == 1 ? RangeOf(call.args[0]) : nullptr;
    if (!range) return true;
    if (range->all_null) return false;
    const auto& type = ValueType(*schema_.GetFieldByName(range->column)->type());
    if (call.options.size() != 1 || !call.options.contains("pattern") ||
        !call.options["pattern"].is_string() || !IsBytes(type.id())) {
      return true;
    }
    const std::string_view prefix = call.options["pattern"].get_ref<const std::string&>();
    auto view = [](const arrow::Scalar& value) {
      return static_cast<const arrow::BaseBinaryScalar&>(value).view();
    };
    if (Known(type, range->max) && view(*range->max) < prefix) return false;
    return !(Known(type, range->min) && view(*range->min).substr(0, prefix.size()) > prefix);
  }

  const arrow::Schema& schema_;
  const std::vector<ColumnRange>& ranges_;
};

}  // namespace

bool MaySatisfy(const Expression& predicate, const arrow::Schema& schema,
                const std::vector<ColumnRange>& ranges) {
  return Prover(schema, ranges).MayBeTrue(predicate);
}

}  // namespace partita
