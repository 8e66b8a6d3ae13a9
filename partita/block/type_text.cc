// Types -> text: the grammar of schema.h. type_parser.cc reads it back.
#include <arrow/buffer.h>
#include <arrow/extension_type.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/ipc/writer.h>
#include <arrow/type.h>
#include <arrow/util/base64.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <map>
#include <utility>

#include "partita/block/schema.h"
#include "partita/block/type_names.h"

namespace partita {
namespace {

using arrow::DataType;
using arrow::TimeUnit;
using TypePtr = std::shared_ptr<DataType>;

std::string QuoteName(std::string_view name) {
  bool plain = !name.empty() && IsIdentifierStart(name.front());
  for (char c : name) plain = plain && IsIdentifierPart(c);
  if (plain) return std::string(name);
  std::string quoted = "\"";
  for (char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

std::string QuoteZone(const std::string& zone) {
  if (!zone.empty() && std::all_of(zone.begin(), zone.end(), IsZoneChar)) return zone;
  std::string quoted = "\"";
  for (char c : zone) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + '"';
}

std::string ChildToString(const arrow::Field& field) {
  return TypeToString(*field.type()) + (field.nullable() ? "" : " not null");
}

std::string DecimalToString(const DataType& type, const char* name) {
  const auto& decimal = static_cast<const arrow::DecimalType&>(type);
  return std::string(name) + "(" + std::to_string(decimal.precision()) + ", " +
         std::to_string(decimal.scale()) + ")";
}

std::string IpcToString(const DataType& type) {
  const auto schema = arrow::schema({arrow::field("", type.GetSharedPtr())});
  auto buffer = arrow::ipc::SerializeSchema(*schema);
  // Only types that Arrow itself cannot serialise come here; ParseType refuses the text.
  if (!buffer.ok()) return "ipc:";
  return "ipc:" + arrow::util::base64_encode(std::string_view(**buffer));
}

std::string NestedToString(const DataType& type) {
  switch (type.id()) {
    case arrow::Type::LIST:
      return "list<" + ChildToString(*type.field(0)) + ">";
    case arrow::Type::LARGE_LIST:
      return "large_list<" + ChildToString(*type.field(0)) + ">";
    case arrow::Type::LIST_VIEW:
      return "list_view<" + ChildToString(*type.field(0)) + ">";
    case arrow::Type::LARGE_LIST_VIEW:
      return "large_list_view<" + ChildToString(*type.field(0)) + ">";
    case arrow::Type::FIXED_SIZE_LIST:
      return "fixed_size_list<" + ChildToString(*type.field(0)) + ">[" +
             std::to_string(static_cast<const arrow::FixedSizeListType&>(type).list_size()) + "]";
    case arrow::Type::STRUCT: {
      std::string text = "struct<";
      for (int i = 0; i < type.num_fields(); ++i) {
        text += (i > 0 ? ", " : "") + QuoteName(type.field(i)->name()) + ": " + ChildToString(*type.field(i));
      }
      return text + ">";
    }
    case arrow::Type::MAP: {
      const auto& map = static_cast<const arrow::MapType&>(type);
      return "map<" + TypeToString(*map.key_type()) + ", " + ChildToString(*map.item_field()) +
             (map.keys_sorted() ? ", sorted>" : ">");
    }
    case arrow::Type::DICTIONARY: {
      const auto& dictionary = static_cast<const arrow::DictionaryType&>(type);
      return "dictionary<" + TypeToString(*dictionary.index_type()) + ", " +
             TypeToString(*dictionary.value_type()) + (dictionary.ordered() ? ", ordered>" : ">");
    }
    case arrow::Type::RUN_END_ENCODED: {
      const auto& runs = static_cast<const arrow::RunEndEncodedType&>(type);
      return "run_end_encoded<" + TypeToString(*runs.run_end_type()) + ", " + ChildToString(*runs.field(1)) +
             ">";
    }
    default:
      return IpcToString(type);
  }
}

}  // namespace

std::string UnitName(TimeUnit::type unit) {
  switch (unit) {
    case TimeUnit::SECOND:
      return "s";
    case TimeUnit::MILLI:
      return "ms";
    case TimeUnit::MICRO:
      return "us";
    default:
      return "ns";
  }
}

const std::vector<std::pair<std::string, std::shared_ptr<DataType>>>& PlainTypes() {
  static const auto* types = new std::vector<std::pair<std::string, std::shared_ptr<DataType>>>{
      {"null", arrow::null()},
      {"bool", arrow::boolean()},
      {"int8", arrow::int8()},
      {"int16", arrow::int16()},
      {"int32", arrow::int32()},
      {"int64", arrow::int64()},
      {"uint8", arrow::uint8()},
      {"uint16", arrow::uint16()},
      {"uint32", arrow::uint32()},
      {"uint64", arrow::uint64()},
      {"float16", arrow::float16()},
      {"float32", arrow::float32()},
      {"float64", arrow::float64()},
      {"string", arrow::utf8()},
      {"large_string", arrow::large_utf8()},
      {"string_view", arrow::utf8_view()},
      {"binary", arrow::binary()},
      {"large_binary", arrow::large_binary()},
      {"binary_view", arrow::binary_view()},
      {"date32", arrow::date32()},
      {"date64", arrow::date64()},
      {"month_interval", arrow::month_interval()},
      {"day_time_interval", arrow::day_time_interval()},
      {"month_day_nano_interval", arrow::month_day_nano_interval()},
      {"boolean", arrow::boolean()},
      {"tinyint", arrow::int8()},
      {"smallint", arrow::int16()},
      {"int", arrow::int32()},
      {"integer", arrow::int32()},
      {"bigint", arrow::int64()},
      {"halffloat", arrow::float16()},
      {"float", arrow::float32()},
      {"real", arrow::float32()},
      {"double", arrow::float64()},
      {"utf8", arrow::utf8()},
      {"str", arrow::utf8()},
      {"text", arrow::utf8()},
      {"varchar", arrow::utf8()},
      {"large_utf8", arrow::large_utf8()},
      {"utf8_view", arrow::utf8_view()},
      {"bytes", arrow::binary()},
      {"blob", arrow::binary()},
      {"date", arrow::date32()},
  };
  return *types;
}

std::string TypeToString(const DataType& type) {
  switch (type.id()) {
    case arrow::Type::FIXED_SIZE_BINARY:
      return "fixed_size_binary[" + std::to_string(type.byte_width()) + "]";
    case arrow::Type::TIME32:
      return "time32[" + UnitName(static_cast<const arrow::TimeType&>(type).unit()) + "]";
    case arrow::Type::TIME64:
      return "time64[" + UnitName(static_cast<const arrow::TimeType&>(type).unit()) + "]";
    case arrow::Type::DURATION:
      return "duration[" + UnitName(static_cast<const arrow::DurationType&>(type).unit()) + "]";
    case arrow::Type::TIMESTAMP: {
      const auto& timestamp = static_cast<const arrow::TimestampType&>(type);
      const auto& zone = timestamp.timezone();
      return "timestamp[" + UnitName(timestamp.unit()) + (zone.empty() ? "" : ", tz=" + QuoteZone(zone)) +
             "]";
    }
    case arrow::Type::DECIMAL32:
      return DecimalToString(type, "decimal32");
    case arrow::Type::DECIMAL64:
      return DecimalToString(type, "decimal64");
    case arrow::Type::DECIMAL128:
      return DecimalToString(type, "decimal128");
    case arrow::Type::DECIMAL256:
      return DecimalToString(type, "decimal256");
    default:
      break;
  }
  for (const auto& [name, plain] : PlainTypes()) {
    if (plain->id() == type.id()) return name;
  }
  return NestedToString(type);
}

}  // namespace partita
