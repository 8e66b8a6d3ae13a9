#include "partita/expression/literal.h"

#include <arrow/array.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/base64.h>
#include <arrow/util/decimal.h>
#include <arrow/util/float16.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "partita/base/json.h"
#include "partita/base/utf8.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

using ScalarPtr = std::shared_ptr<arrow::Scalar>;
using TypePtr = std::shared_ptr<arrow::DataType>;

bool IsBytes(const arrow::DataType& type) {
  return arrow::is_binary(type.id()) || arrow::is_large_binary_like(type.id()) ||
         type.id() == arrow::Type::BINARY_VIEW || type.id() == arrow::Type::FIXED_SIZE_BINARY;
}

bool IsText(const arrow::DataType& type) {
  return arrow::is_string(type.id()) || type.id() == arrow::Type::STRING_VIEW;
}

bool IsPureBytes(const arrow::DataType& type) { return IsBytes(type) && !IsText(type); }

bool HasTextForm(const arrow::DataType& type) {
  return arrow::is_date(type.id()) || arrow::is_time(type.id()) || type.id() == arrow::Type::TIMESTAMP;
}

bool HasRawInteger(const arrow::DataType& type) {
  return HasTextForm(type) || type.id() == arrow::Type::DURATION;
}

std::string_view BytesOf(const arrow::Scalar& value) {
  return static_cast<const arrow::BaseBinaryScalar&>(value).view();
}

// The integer behind an integer or temporal scalar.
int64_t RawInteger(const arrow::Scalar& value) {
  const auto& primitive = static_cast<const arrow::internal::PrimitiveScalarBase&>(value);
  const auto bytes = primitive.view();
  switch (bytes.size()) {
    case 1:
      return *reinterpret_cast<const int8_t*>(bytes.data());
    case 2:
      return *reinterpret_cast<const int16_t*>(bytes.data());
    case 4:
      return *reinterpret_cast<const int32_t*>(bytes.data());
    default:
      return *reinterpret_cast<const int64_t*>(bytes.data());
  }
}

template <typename CType>
Result<ScalarPtr> IntegerScalar(const TypePtr& type, int64_t value) {
  if (value < std::numeric_limits<CType>::min() || value > std::numeric_limits<CType>::max()) {
    return DataError("literal: " + std::to_string(value) + " is no " + TypeToString(*type));
  }
  return arrow::MakeScalar(type, static_cast<CType>(value));
}

Result<ScalarPtr> FromInteger(const TypePtr& type, int64_t value) {
  switch (type->id()) {
    case arrow::Type::INT8:
      return IntegerScalar<int8_t>(type, value);
    case arrow::Type::INT16:
      return IntegerScalar<int16_t>(type, value);
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
      return IntegerScalar<int32_t>(type, value);
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
      return arrow::MakeScalar(type, value);
    case arrow::Type::UINT8:
      return IntegerScalar<uint8_t>(type, value);
    case arrow::Type::UINT16:
      return IntegerScalar<uint16_t>(type, value);
    case arrow::Type::UINT32:
      return IntegerScalar<uint32_t>(type, value);
    case arrow::Type::UINT64:
      if (value < 0) return DataError("literal: " + std::to_string(value) + " is no uint64");
      return arrow::MakeScalar(type, static_cast<uint64_t>(value));
    default:
      return DataError("literal: an integer is no " + TypeToString(*type));
  }
}

Result<ScalarPtr> FromFloat(const TypePtr& type, double value) {
  switch (type->id()) {
    case arrow::Type::HALF_FLOAT:
      return std::make_shared<arrow::HalfFloatScalar>(arrow::util::Float16::FromDouble(value).bits());
    case arrow::Type::FLOAT:
      return std::make_shared<arrow::FloatScalar>(static_cast<float>(value));
    case arrow::Type::DOUBLE:
      return std::make_shared<arrow::DoubleScalar>(value);
    default:
      return DataError("literal: a fraction is no " + TypeToString(*type));
  }
}

double FloatOf(const arrow::Scalar& value) {
  switch (value.type->id()) {
    case arrow::Type::HALF_FLOAT:
      return arrow::util::Float16::FromBits(static_cast<const arrow::HalfFloatScalar&>(value).value)
          .ToDouble();
    case arrow::Type::FLOAT:
      return static_cast<const arrow::FloatScalar&>(value).value;
    default:
      return static_cast<const arrow::DoubleScalar&>(value).value;
  }
}

Result<ScalarPtr> FromBytes(const TypePtr& type, std::string bytes) {
  if (type->id() == arrow::Type::FIXED_SIZE_BINARY &&
      static_cast<int64_t>(bytes.size()) != type->byte_width()) {
    return DataError("literal: " + std::to_string(bytes.size()) + " bytes are no " + TypeToString(*type));
  }
  if (IsText(*type)) {
    if (!IsUtf8(bytes)) return DataError("literal: a string is not valid UTF-8");
  }
  return arrow::MakeScalar(type, arrow::Buffer::FromString(std::move(bytes)));
}

template <typename Decimal, typename DecimalScalar>
Result<ScalarPtr> FromDecimalText(const TypePtr& type, std::string_view text) {
  const auto& decimal_type = static_cast<const arrow::DecimalType&>(*type);
  Decimal value;
  int32_t precision = 0, scale = 0;
  ARROW_RETURN_NOT_OK(Decimal::FromString(text, &value, &precision, &scale));
  if (scale != decimal_type.scale()) {
    ARROW_ASSIGN_OR_RAISE(value, value.Rescale(scale, decimal_type.scale()));
  }
  if (!value.FitsInPrecision(decimal_type.precision())) {
    return DataError("literal: " + std::string(text) + " is no " + TypeToString(*type));
  }
  return std::make_shared<DecimalScalar>(value, type);
}

// Text of a temporal, decimal, number or bool, by the parsers of Arrow's casts.
Result<ScalarPtr> FromText(const TypePtr& type, std::string_view text) {
  switch (type->id()) {
    case arrow::Type::DECIMAL32:
      return FromDecimalText<arrow::Decimal32, arrow::Decimal32Scalar>(type, text);
    case arrow::Type::DECIMAL64:
      return FromDecimalText<arrow::Decimal64, arrow::Decimal64Scalar>(type, text);
    case arrow::Type::DECIMAL128:
      return FromDecimalText<arrow::Decimal128, arrow::Decimal128Scalar>(type, text);
    case arrow::Type::DECIMAL256:
      return FromDecimalText<arrow::Decimal256, arrow::Decimal256Scalar>(type, text);
    case arrow::Type::HALF_FLOAT: {
      ARROW_ASSIGN_OR_RAISE(auto value, arrow::Scalar::Parse(arrow::float64(), text));
      return FromFloat(type, FloatOf(*value));
    }
    default:
      break;
  }
  if (!arrow::is_primitive(type->id())) {
    return DataError("literal: text is no " + TypeToString(*type));
  }
  return arrow::Scalar::Parse(type, text);
}

// The text if it reads back as the same value: Arrow's formatter has no form for far years.
std::string ExactText(const arrow::Scalar& value) {
  const std::string text = value.ToString();
  const auto parsed = FromText(value.type, text);
  return parsed.ok() && (*parsed)->Equals(value) ? text : "";
}

std::string ToIpcText(const arrow::Scalar& value) {
  auto encode = [&]() -> Result<std::string> {
    ARROW_ASSIGN_OR_RAISE(auto array, arrow::MakeArrayFromScalar(value, 1));
    const auto schema = arrow::schema({arrow::field("", value.type)});
    ARROW_ASSIGN_OR_RAISE(auto sink, arrow::io::BufferOutputStream::Create());
    ARROW_ASSIGN_OR_RAISE(auto writer, arrow::ipc::MakeStreamWriter(sink, schema));
    ARROW_RETURN_NOT_OK(writer->WriteRecordBatch(*arrow::RecordBatch::Make(schema, 1, {array})));
    ARROW_RETURN_NOT_OK(writer->Close());
    ARROW_ASSIGN_OR_RAISE(auto buffer, sink->Finish());
    return arrow::util::base64_encode(std::string_view(*buffer));
  };
  // A value that Arrow cannot serialise becomes a text that FromJson refuses: Bind still evaluates it in this
  // process.
  return encode().ValueOr("");
}

// The JSON of a valid value; `*ipc` tells that it is IPC text.
Json ValueToJson(const arrow::Scalar& value, bool* ipc) {
  const arrow::DataType& type = *value.type;
  if (type.id() == arrow::Type::BOOL) return static_cast<const arrow::BooleanScalar&>(value).value;
  if (type.id() == arrow::Type::UINT64) return static_cast<const arrow::UInt64Scalar&>(value).value;
  if (arrow::is_unsigned_integer(type.id())) {
    const int64_t mask = (int64_t{1} << type.bit_width()) - 1;
    return RawInteger(value) & mask;
  }
  if (arrow::is_integer(type.id())) return RawInteger(value);
  if (arrow::is_floating(type.id())) {
    const double number = FloatOf(value);
    if (std::isnan(number)) return "NaN";
    if (std::isinf(number)) return number > 0 ? "inf" : "-inf";
    return number;
  }
  if (IsText(type)) return std::string(BytesOf(value));
  if (IsPureBytes(type)) return arrow::util::base64_encode(BytesOf(value));
  if (HasTextForm(type) || arrow::is_decimal(type.id())) {
    if (auto text = ExactText(value); !text.empty()) return text;
  }
  if (HasRawInteger(type)) return RawInteger(value);
  *ipc = true;
  return ToIpcText(value);
}

Result<ScalarPtr> FromTypedJson(const Json& value, const TypePtr& type) {
  if (value.is_null()) return arrow::MakeNullScalar(type);
  if (value.is_boolean() && type->id() == arrow::Type::BOOL) return arrow::MakeScalar(value.get<bool>());
  if (value.is_number_unsigned() && type->id() == arrow::Type::UINT64) {
    return arrow::MakeScalar(value.get<uint64_t>());
  }
  if (value.is_number() && arrow::is_floating(type->id())) return FromFloat(type, value.get<double>());
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return DataError("literal: " + value.dump() + " is no " + TypeToString(*type));
  }
  if (value.is_number_integer()) return FromInteger(type, value.get<int64_t>());
  if (value.is_string()) {
    const auto& text = value.get_ref<const std::string&>();
    if (IsText(*type)) return FromBytes(type, text);
    if (IsPureBytes(*type)) {
      auto bytes = arrow::util::base64_decode(text);
      if (!bytes.ok()) return DataError("literal: a binary value is not base64");
      return FromBytes(type, *std::move(bytes));
    }
    if (arrow::is_floating(type->id()) || HasTextForm(*type) || arrow::is_decimal(type->id())) {
      auto scalar = FromText(type, text);
      if (!scalar.ok()) return DataError("literal: '" + text + "' is no " + TypeToString(*type));
      return scalar;
    }
  }
  return DataError("literal: JSON " + std::string(value.type_name()) + " is no " + TypeToString(*type));
}

std::string HexText(std::string_view bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text = "x'";
  for (unsigned char c : bytes) {
    text += kDigits[c >> 4];
    text += kDigits[c & 15];
  }
  return text + "'";
}

std::string FloatText(double value) {
  if (std::isnan(value)) return "cast('nan' as float64)";
  if (std::isinf(value)) return value > 0 ? "cast('inf' as float64)" : "cast('-inf' as float64)";
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof(buffer), value).ptr;
  std::string text(buffer, end);
  // A digit string alone would read back as an integer.
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string CastText(std::string value, const arrow::DataType& type) {
  return "cast(" + std::move(value) + " as " + TypeToString(type) + ")";
}

}  // namespace

Json LiteralToJson(const arrow::Scalar& value) {
  Json object{{"type", TypeToString(*value.type)}, {"literal", nullptr}};
  if (!value.is_valid) return object;
  bool ipc = false;
  object["literal"] = ValueToJson(value, &ipc);
  if (ipc) object["encoding"] = "ipc";
  return object;
}

Result<ScalarPtr> ScalarFromIpcText(std::string_view base64) {
  constexpr int64_t kMaxLiteralBytes = 16 << 20;
  if (static_cast<int64_t>(base64.size()) > kMaxLiteralBytes) return DataError("literal: larger than 16 MiB");
  auto decode = [&]() -> Result<ScalarPtr> {
    ARROW_ASSIGN_OR_RAISE(auto bytes, arrow::util::base64_decode(base64));
    // A literal lives as long as its expression, outside any run; the cap stops text that claims to
    // decompress to more. The pool must outlive the value.
    static auto* pool = new arrow::CappedMemoryPool(arrow::default_memory_pool(), 64 * kMaxLiteralBytes);
    auto options = arrow::ipc::IpcReadOptions::Defaults();
    options.memory_pool = pool;
    options.use_threads = false;
    auto source = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(std::move(bytes)));
    ARROW_ASSIGN_OR_RAISE(auto reader, arrow::ipc::RecordBatchStreamReader::Open(source, options));
    std::shared_ptr<arrow::RecordBatch> batch;
    ARROW_RETURN_NOT_OK(reader->ReadNext(&batch));
    if (!batch || batch->num_columns() != 1 || batch->num_rows() != 1) {
      return Status::Invalid("not one value");
    }
    ARROW_RETURN_NOT_OK(batch->ValidateFull());
    return batch->column(0)->GetScalar(0);
  };
  auto scalar = decode();
  if (!scalar.ok()) return DataError("literal: not one value of Arrow IPC: " + scalar.status().message());
  return scalar;
}

Result<ScalarPtr> LiteralFromJson(const Json& object) {
  const auto value = object.find("literal");
  if (value == object.end()) return DataError("expression: a literal has no 'literal'");
  ARROW_ASSIGN_OR_RAISE(auto encoding, GetStringOr(object, "encoding", ""));
  if (encoding == "ipc") {
    if (!value->is_string()) return DataError("literal: IPC that is no string");
    return ScalarFromIpcText(value->get_ref<const std::string&>());
  }
  if (!encoding.empty()) return DataError("literal: unknown encoding '" + encoding + "'");
  const auto type_text = object.find("type");
  if (type_text == object.end() || type_text->is_null()) return ScalarFromJsonValue(*value);
  if (!type_text->is_string()) return DataError("literal: 'type' is not a string");
  auto type = ParseType(type_text->get_ref<const std::string&>());
  if (!type.ok()) return DataError("literal: " + type.status().message());
  return FromTypedJson(*value, *type);
}

Result<ScalarPtr> ScalarFromJsonValue(const Json& value) {
  if (value.is_object()) return LiteralFromJson(value);
  if (value.is_null()) return arrow::MakeNullScalar(arrow::null());
  if (value.is_boolean()) return arrow::MakeScalar(value.get<bool>());
  if (value.is_string()) return FromTypedJson(value, arrow::utf8());
  if (value.is_number_float()) return arrow::MakeScalar(value.get<double>());
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return arrow::MakeScalar(value.get<uint64_t>());
  }
  if (value.is_number_integer()) return arrow::MakeScalar(value.get<int64_t>());
  return DataError("literal: a JSON " + std::string(value.type_name()) + " is no value");
}

std::string QuoteString(std::string_view text) {
  std::string quoted = "'";
  for (char c : text) {
    if (c == '\'') quoted += '\'';
    quoted += c;
  }
  return quoted + '\'';
}

std::string LiteralToText(const arrow::Scalar& value) {
  const arrow::DataType& type = *value.type;
  if (!value.is_valid) return type.id() == arrow::Type::NA ? "null" : CastText("null", type);
  bool ipc = false;
  const Json json = ValueToJson(value, &ipc);
  if (ipc) return "arrow_literal(" + QuoteString(json.get_ref<const std::string&>()) + ")";
  switch (type.id()) {
    case arrow::Type::BOOL:
      return json.get<bool>() ? "true" : "false";
    case arrow::Type::INT64:
      return json.dump();
    case arrow::Type::DOUBLE:
      return FloatText(FloatOf(value));
    case arrow::Type::STRING:
      return QuoteString(BytesOf(value));
    case arrow::Type::BINARY:
      return HexText(BytesOf(value));
    case arrow::Type::UINT64:
      // Beyond int64 the digits alone are a uint64.
      if (json.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max()))
        return json.dump();
      return CastText(json.dump(), type);
    default:
      break;
  }
  if (IsPureBytes(type)) return CastText(HexText(BytesOf(value)), type);
  if (json.is_string()) return CastText(QuoteString(json.get_ref<const std::string&>()), type);
  if (json.is_number_float()) return CastText(FloatText(FloatOf(value)), type);
  return CastText(json.dump(), type);
}

Result<ScalarPtr> FoldCast(const ScalarPtr& value, const TypePtr& type) {
  if (value->type->Equals(*type)) return value;
  if (!value->is_valid) return arrow::MakeNullScalar(type);
  constexpr int64_t kExactFloat = int64_t{1} << 53;
  const arrow::DataType& from = *value->type;
  if (from.id() == arrow::Type::INT64) {
    const int64_t number = RawInteger(*value);
    if (arrow::is_integer(type->id()) || HasRawInteger(*type)) return FromInteger(type, number);
    if (type->id() == arrow::Type::DOUBLE && number <= kExactFloat && number >= -kExactFloat) {
      return FromFloat(type, static_cast<double>(number));
    }
  }
  if (from.id() == arrow::Type::DOUBLE && arrow::is_floating(type->id()))
    return FromFloat(type, FloatOf(*value));
  if (from.id() == arrow::Type::STRING) {
    if (IsBytes(*type)) return FromBytes(type, std::string(BytesOf(*value)));
    return FromText(type, BytesOf(*value));
  }
  if (from.id() == arrow::Type::BINARY && IsPureBytes(*type))
    return FromBytes(type, std::string(BytesOf(*value)));
  return Status::NotImplemented("this cast needs a kernel");
}

}  // namespace partita
