#include "partita/storage/text/cell_parser.h"

#include <arrow/builder.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>
#include <arrow/util/decimal.h>
#include <arrow/util/float16.h>
#include <arrow/util/value_parsing.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "partita/base/utf8.h"
#include "partita/block/schema.h"
#include "partita/storage/text/record_reader.h"

namespace partita {

std::string_view TrimSpaces(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

namespace {

// Unlike from_chars, takes a leading '+'.
template <typename Number>
bool ParseNumber(std::string_view text, Number* out) {
  if (text.size() > 1 && text[0] == '+' && text[1] != '-') text.remove_prefix(1);
  const char* end = text.data() + text.size();
  const auto result = std::from_chars(text.data(), end, *out);
  if constexpr (std::is_floating_point_v<Number>) {
    if (result.ec == std::errc::result_out_of_range && result.ptr == end) {
      // What strtod gives: infinity, or a denormal or zero.
      double wide = 0;
      const auto again = std::from_chars(text.data(), end, wide);
      if (again.ec == std::errc()) {
        *out = static_cast<Number>(wide);
        return true;
      }
      const bool tiny =
          text.find("e-") != std::string_view::npos || text.find("E-") != std::string_view::npos;
      *out = tiny ? 0 : std::numeric_limits<Number>::infinity();
      if (text[0] == '-') *out = -*out;
      return true;
    }
  }
  return result.ec == std::errc() && result.ptr == end && !text.empty();
}

Status CannotRead(std::string_view text, const arrow::DataType& type) {
  return DataError(QuoteForError(text) + " is no " + TypeToString(type));
}

template <typename Type, typename Enable = void>
struct Convert;

template <typename Type>
struct Convert<Type, arrow::enable_if_integer<Type>> {
  static bool Text(std::string_view text, const Type&, typename Type::c_type* out) {
    return ParseNumber(text, out);
  }
};
template <typename Type>
struct Convert<Type, std::enable_if_t<std::is_same_v<Type, arrow::FloatType> ||
                                      std::is_same_v<Type, arrow::DoubleType>>> {
  static bool Text(std::string_view text, const Type&, typename Type::c_type* out) {
    return ParseNumber(text, out);
  }
};
template <>
struct Convert<arrow::HalfFloatType> {
  static bool Text(std::string_view text, const arrow::HalfFloatType&, uint16_t* out) {
    float value = 0;
    if (!ParseNumber(text, &value)) return false;
    *out = arrow::util::Float16::FromFloat(value).bits();
    return true;
  }
};
template <>
struct Convert<arrow::BooleanType> {
  static bool Text(std::string_view text, const arrow::BooleanType& type, bool* out) {
    return arrow::internal::StringConverter<arrow::BooleanType>().Convert(type, text.data(), text.size(),
                                                                          out);
  }
};
template <typename Type>
struct Convert<Type, std::enable_if_t<arrow::is_date_type<Type>::value || arrow::is_time_type<Type>::value>> {
  static bool Text(std::string_view text, const Type& type, typename Type::c_type* out) {
    return arrow::internal::StringConverter<Type>().Convert(type, text.data(), text.size(), out);
  }
};
template <>
struct Convert<arrow::DurationType> {
  static bool Text(std::string_view text, const arrow::DurationType&, int64_t* out) {
    return ParseNumber(text, out);
  }
};
template <>
struct Convert<arrow::TimestampType> {
  static bool Text(std::string_view text, const arrow::TimestampType& type, int64_t* out) {
    bool zoned = false;
    if (!arrow::internal::ParseTimestampISO8601(text.data(), text.size(), type.unit(), out, &zoned))
      return false;
    return !zoned || !type.timezone().empty();  // an offset would be lost in a column without a zone
  }
};
template <typename Type>
struct Convert<Type, arrow::enable_if_decimal<Type>> {
  using Value = typename arrow::TypeTraits<Type>::CType;
  static bool Text(std::string_view text, const Type& type, Value* out) {
    Value value;
    int32_t precision = 0, scale = 0;
    if (!Value::FromString(text, &value, &precision, &scale).ok()) return false;
    if (scale != type.scale()) {
      auto rescaled = value.Rescale(scale, type.scale());
      if (!rescaled.ok()) return false;
      value = *rescaled;
    }
    *out = value;
    return value.FitsInPrecision(type.precision());
  }
};

template <typename Type>
class ScalarParser final : public CellParser {
 public:
  ScalarParser(const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool)
      : type_(type), builder_(type, pool) {}
  Status Append(std::string_view text) override {
    typename Type::c_type value{};
    if (!Convert<Type>::Text(TrimSpaces(text), static_cast<const Type&>(*type_), &value)) {
      return CannotRead(text, *type_);
    }
    return builder_.Append(value);
  }
  Status AppendNull() override { return builder_.AppendNull(); }
  void Reset() override { builder_.Reset(); }
  Result<std::shared_ptr<arrow::Array>> Finish() override { return builder_.Finish(); }

 private:
  std::shared_ptr<arrow::DataType> type_;
  typename arrow::TypeTraits<Type>::BuilderType builder_;
};

template <typename Type>
class DecimalParser final : public CellParser {
 public:
  DecimalParser(const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool)
      : type_(type), builder_(type, pool) {}
  Status Append(std::string_view text) override {
    typename Convert<Type>::Value value;
    if (!Convert<Type>::Text(TrimSpaces(text), static_cast<const Type&>(*type_), &value)) {
      return CannotRead(text, *type_);
    }
    return builder_.Append(value);
  }
  Status AppendNull() override { return builder_.AppendNull(); }
  void Reset() override { builder_.Reset(); }
  Result<std::shared_ptr<arrow::Array>> Finish() override { return builder_.Finish(); }

 private:
  std::shared_ptr<arrow::DataType> type_;
  typename arrow::TypeTraits<Type>::BuilderType builder_;
};

// Strings and binary of any layout.
template <typename Builder, bool kUtf8>
class BytesParser final : public CellParser {
 public:
  BytesParser(const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool) : builder_(type, pool) {}
  Status Append(std::string_view text) override {
    if (kUtf8 && !IsUtf8(text)) {
      return DataError("the text " + QuoteForError(text) + " is not valid UTF-8",
                       "convert the file to UTF-8, or declare the column as binary");
    }
    const Status status = builder_.Append(text);
    // One value beyond what 32-bit offsets address; a full batch of smaller ones is cut by bytes long before.
    if (status.IsCapacityError())
      return DataError("a value of more than 2 GiB", "declare the column as large_string");
    return status;
  }
  Status AppendNull() override { return builder_.AppendNull(); }
  void Reset() override { builder_.Reset(); }
  Result<std::shared_ptr<arrow::Array>> Finish() override { return builder_.Finish(); }

 private:
  Builder builder_;
};

class FixedBytesParser final : public CellParser {
 public:
  FixedBytesParser(const std::shared_ptr<arrow::DataType>& type, arrow::MemoryPool* pool)
      : type_(type), builder_(type, pool) {}
  Status Append(std::string_view text) override {
    if (static_cast<int64_t>(text.size()) != builder_.byte_width()) return CannotRead(text, *type_);
    return builder_.Append(reinterpret_cast<const uint8_t*>(text.data()));
  }
  Status AppendNull() override { return builder_.AppendNull(); }
  void Reset() override { builder_.Reset(); }
  Result<std::shared_ptr<arrow::Array>> Finish() override { return builder_.Finish(); }

 private:
  std::shared_ptr<arrow::DataType> type_;
  arrow::FixedSizeBinaryBuilder builder_;
};

class NullParser final : public CellParser {
 public:
  explicit NullParser(arrow::MemoryPool* pool) : builder_(pool) {}
  Status Append(std::string_view text) override { return CannotRead(text, *arrow::null()); }
  Status AppendNull() override { return builder_.AppendNull(); }
  void Reset() override { builder_.Reset(); }
  Result<std::shared_ptr<arrow::Array>> Finish() override { return builder_.Finish(); }

 private:
  arrow::NullBuilder builder_;
};

struct MakeParser {
  const std::shared_ptr<arrow::DataType>& type;
  arrow::MemoryPool* pool;
  std::unique_ptr<CellParser> out;

  template <typename Type>
  std::enable_if_t<arrow::is_number_type<Type>::value || arrow::is_boolean_type<Type>::value ||
                       arrow::is_date_type<Type>::value || arrow::is_time_type<Type>::value ||
                       std::is_same_v<Type, arrow::TimestampType> ||
                       std::is_same_v<Type, arrow::DurationType>,
                   Status>
  Visit(const Type&) {
    out = std::make_unique<ScalarParser<Type>>(type, pool);
    return Status::OK();
  }
  template <typename Type>
  arrow::enable_if_decimal<Type, Status> Visit(const Type&) {
    out = std::make_unique<DecimalParser<Type>>(type, pool);
    return Status::OK();
  }
  template <typename Type>
  std::enable_if_t<arrow::is_base_binary_type<Type>::value || arrow::is_binary_view_like_type<Type>::value,
                   Status>
  Visit(const Type&) {
    out = std::make_unique<BytesParser<typename arrow::TypeTraits<Type>::BuilderType, Type::is_utf8>>(type,
                                                                                                      pool);
    return Status::OK();
  }
  Status Visit(const arrow::FixedSizeBinaryType&) {
    out = std::make_unique<FixedBytesParser>(type, pool);
    return Status::OK();
  }
  Status Visit(const arrow::NullType&) {
    out = std::make_unique<NullParser>(pool);
    return Status::OK();
  }
  Status Visit(const arrow::DataType& other) {
    return UserError("a column of type " + TypeToString(other) + " has no text form that could be read",
                     "read it as string and cast it");
  }
};

}  // namespace

Result<std::unique_ptr<CellParser>> CellParser::Make(const std::shared_ptr<arrow::DataType>& type,
                                                     arrow::MemoryPool* pool) {
  MakeParser make{type, pool, nullptr};
  ARROW_RETURN_NOT_OK(arrow::VisitTypeInline(*type, &make));
  return std::move(make.out);
}

CellTypeGuess::Kind CellTypeGuess::KindOfText(std::string_view text) {
  text = TrimSpaces(text);
  if (text.empty()) return Kind::kString;
  int64_t integer = 0;
  double number = 0;
  if (ParseNumber(text, &integer)) return Kind::kInt;
  // Digits beyond int64 (ids, hashes) would lose some as a double.
  const bool digits = std::all_of(text.begin() + (text[0] == '-' || text[0] == '+'), text.end(),
                                  [](char c) { return c >= '0' && c <= '9'; });
  if (!digits && ParseNumber(text, &number)) return Kind::kFloat;
  if (text == "true" || text == "false" || text == "True" || text == "False" || text == "TRUE" ||
      text == "FALSE") {
    return Kind::kBool;
  }
  int32_t day = 0;
  const arrow::Date32Type date;
  if (Convert<arrow::Date32Type>::Text(text, date, &day)) return Kind::kDate;
  int64_t instant = 0;
  bool zoned = false;
  if (arrow::internal::ParseTimestampISO8601(text.data(), text.size(), arrow::TimeUnit::MICRO, &instant,
                                             &zoned)) {
    return zoned ? Kind::kZonedTimestamp : Kind::kTimestamp;
  }
  return Kind::kString;
}

void CellTypeGuess::Add(std::string_view text) {
  if (kind_ == Kind::kString) return;
  const Kind kind = KindOfText(text);
  const auto either = [&](Kind a, Kind b) { return (kind_ == a && kind == b) || (kind_ == b && kind == a); };
  if (kind_ == Kind::kNone || kind_ == kind) {
    kind_ = kind;
  } else if (either(Kind::kInt, Kind::kFloat)) {
    kind_ = Kind::kFloat;
  } else if (either(Kind::kDate, Kind::kTimestamp)) {
    kind_ = Kind::kTimestamp;
  } else {
    kind_ = Kind::kString;
  }
}

std::shared_ptr<arrow::DataType> CellTypeGuess::type() const {
  switch (kind_) {
    case Kind::kBool:
      return arrow::boolean();
    case Kind::kInt:
      return arrow::int64();
    case Kind::kFloat:
      return arrow::float64();
    case Kind::kDate:
      return arrow::date32();
    case Kind::kTimestamp:
      return arrow::timestamp(arrow::TimeUnit::MICRO);
    case Kind::kZonedTimestamp:
      return arrow::timestamp(arrow::TimeUnit::MICRO, "UTC");
    case Kind::kNone:
    case Kind::kString:
      break;
  }
  return arrow::utf8();
}

}  // namespace partita
