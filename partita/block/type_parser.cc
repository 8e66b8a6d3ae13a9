// Text -> types: a recursive parser, one function a family of types. Depth is bounded; all errors are user
// errors.
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/dictionary.h>
#include <arrow/ipc/reader.h>
#include <arrow/type.h>
#include <arrow/util/base64.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <utility>

#include "partita/block/schema.h"
#include "partita/block/type_names.h"

namespace partita {
namespace {

using arrow::DataType;
using arrow::TimeUnit;
using TypePtr = std::shared_ptr<DataType>;

constexpr int kMaxDepth = 64;

const std::vector<std::string>& TypeNames() {
  static const auto* names = [] {
    auto* result = new std::vector<std::string>{"timestamp",       "time32",
                                                "time64",          "duration",
                                                "decimal32",       "decimal64",
                                                "decimal128",      "decimal256",
                                                "decimal",         "list",
                                                "large_list",      "list_view",
                                                "struct",          "map",
                                                "dictionary",      "fixed_size_list",
                                                "large_list_view", "fixed_size_binary",
                                                "run_end_encoded"};
    for (const auto& [name, type] : PlainTypes()) result->push_back(name);
    return result;
  }();
  return *names;
}

class TypeParser {
 public:
  explicit TypeParser(std::string_view text) : text_(text) {}

  Result<TypePtr> ParseAll() {
    ARROW_ASSIGN_OR_RAISE(auto type, ParseOne());
    SkipSpaces();
    if (position_ != text_.size()) return Fail("the end of the type");
    return type;
  }

 private:
  Status Fail(const std::string& expected) const {
    const std::string found =
        position_ < text_.size() ? "'" + std::string(text_.substr(position_, 20)) + "'" : "the end";
    return UserError("type '" + std::string(text_.substr(0, 200)) + "': expected " + expected +
                         " at character " + std::to_string(position_ + 1) + ", found " + found,
                     "write types as in int64, string, list<float32>, struct<x: int32, y: int32>");
  }

  void SkipSpaces() {
    while (position_ < text_.size() && (text_[position_] == ' ' || text_[position_] == '\t')) ++position_;
  }

  bool Accept(std::string_view token) {
    SkipSpaces();
    if (text_.substr(position_, token.size()) != token) return false;
    // A word ends where an identifier ends.
    const size_t end = position_ + token.size();
    if (IsIdentifierPart(token.back()) && end < text_.size() && IsIdentifierPart(text_[end])) return false;
    position_ = end;
    return true;
  }

  Status Expect(std::string_view token) {
    return Accept(token) ? Status::OK() : Fail("'" + std::string(token) + "'");
  }

  std::string_view Word(const std::function<bool(char)>& is_part) {
    SkipSpaces();
    const size_t begin = position_;
    while (position_ < text_.size() && is_part(text_[position_])) ++position_;
    return text_.substr(begin, position_ - begin);
  }

  Result<std::string> Quoted() {
    std::string name;
    for (++position_; position_ < text_.size(); ++position_) {
      if (text_[position_] != '"') {
        name += text_[position_];
      } else if (text_.substr(position_, 2) == "\"\"") {
        name += '"';
        ++position_;
      } else {
        ++position_;
        return name;
      }
    }
    return Fail("a closing '\"'");
  }

  Result<std::string> FieldName() {
    SkipSpaces();
    if (position_ < text_.size() && text_[position_] == '"') return Quoted();
    const auto word = Word(IsIdentifierPart);
    if (word.empty()) return Fail("a field name");
    return std::string(word);
  }

  Result<int32_t> Number() {
    SkipSpaces();
    int32_t value = 0;
    const char* begin = text_.data() + position_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc()) return Fail("a number");
    position_ += static_cast<size_t>(end - begin);
    return value;
  }

  Result<int32_t> Size() {
    ARROW_RETURN_NOT_OK(Expect("["));
    ARROW_ASSIGN_OR_RAISE(int32_t size, Number());
    if (size < 0) return Fail("a size of at least 0");
    ARROW_RETURN_NOT_OK(Expect("]"));
    return size;
  }

  Result<TimeUnit::type> Unit() {
    for (auto unit : TimeUnit::values()) {
      if (Accept(UnitName(unit))) return unit;
    }
    return Fail("a unit: s, ms, us or ns");
  }

  Result<TypePtr> Timestamp() {
    if (!Accept("[")) return arrow::timestamp(TimeUnit::MICRO);  // SQL's bare timestamp
    ARROW_ASSIGN_OR_RAISE(auto unit, Unit());
    std::string zone;
    if (Accept(",")) {
      ARROW_RETURN_NOT_OK(Expect("tz"));
      ARROW_RETURN_NOT_OK(Expect("="));
      SkipSpaces();
      if (position_ < text_.size() && text_[position_] == '"') {
        ARROW_ASSIGN_OR_RAISE(zone, Quoted());
      } else {
        zone = std::string(Word(IsZoneChar));
      }
      if (zone.empty()) return Fail("a time zone");
    }
    ARROW_RETURN_NOT_OK(Expect("]"));
    return arrow::timestamp(unit, zone);
  }

  Result<TypePtr> TimeOrDuration(const std::string& name) {
    ARROW_RETURN_NOT_OK(Expect("["));
    const size_t at = position_;
    ARROW_ASSIGN_OR_RAISE(auto unit, Unit());
    ARROW_RETURN_NOT_OK(Expect("]"));
    if (name == "duration") return arrow::duration(unit);
    const bool coarse = unit == TimeUnit::SECOND || unit == TimeUnit::MILLI;
    if (coarse != (name == "time32")) {
      position_ = at;
      return Fail(name == "time32" ? "s or ms" : "us or ns");
    }
    return coarse ? arrow::time32(unit) : arrow::time64(unit);
  }

  Result<TypePtr> Decimal(const std::string& name) {
    ARROW_RETURN_NOT_OK(Expect("("));
    ARROW_ASSIGN_OR_RAISE(int32_t precision, Number());
    int32_t scale = 0;
    if (Accept(",")) {
      ARROW_ASSIGN_OR_RAISE(scale, Number());
    }
    ARROW_RETURN_NOT_OK(Expect(")"));
    Result<TypePtr> type = name == "decimal32"    ? arrow::Decimal32Type::Make(precision, scale)
                           : name == "decimal64"  ? arrow::Decimal64Type::Make(precision, scale)
                           : name == "decimal256" ? arrow::Decimal256Type::Make(precision, scale)
                                                  : arrow::Decimal128Type::Make(precision, scale);
    if (!type.ok()) return UserError("type '" + std::string(text_) + "': " + type.status().message());
    return type;
  }

  Result<std::shared_ptr<arrow::Field>> Child(std::string name) {
    ARROW_ASSIGN_OR_RAISE(auto type, ParseOne());
    bool nullable = true;
    if (Accept("not")) {
      ARROW_RETURN_NOT_OK(Expect("null"));
      nullable = false;
    }
    return arrow::field(std::move(name), std::move(type), nullable);
  }

  Result<TypePtr> List(const std::string& name) {
    ARROW_RETURN_NOT_OK(Expect("<"));
    ARROW_ASSIGN_OR_RAISE(auto item, Child("item"));
    ARROW_RETURN_NOT_OK(Expect(">"));
    if (name == "large_list") return arrow::large_list(item);
    if (name == "list_view") return arrow::list_view(item);
    if (name == "large_list_view") return arrow::large_list_view(item);
    if (name == "list") return arrow::list(item);
    ARROW_ASSIGN_OR_RAISE(int32_t size, Size());
    return arrow::fixed_size_list(item, size);
  }

  Result<TypePtr> Struct() {
    ARROW_RETURN_NOT_OK(Expect("<"));
    arrow::FieldVector fields;
    while (!Accept(">")) {
      if (!fields.empty() && !Accept(",")) return Fail("',' or '>'");
      ARROW_ASSIGN_OR_RAISE(auto name, FieldName());
      ARROW_RETURN_NOT_OK(Expect(":"));
      ARROW_ASSIGN_OR_RAISE(auto field, Child(std::move(name)));
      fields.push_back(std::move(field));
    }
    return arrow::struct_(std::move(fields));
  }

  Result<TypePtr> Map() {
    ARROW_RETURN_NOT_OK(Expect("<"));
    ARROW_ASSIGN_OR_RAISE(auto key, ParseOne());
    ARROW_RETURN_NOT_OK(Expect(","));
    ARROW_ASSIGN_OR_RAISE(auto item, Child("value"));
    bool sorted = false;
    if (Accept(",")) {
      ARROW_RETURN_NOT_OK(Expect("sorted"));
      sorted = true;
    }
    ARROW_RETURN_NOT_OK(Expect(">"));
    return arrow::map(std::move(key), std::move(item), sorted);
  }

  Result<TypePtr> Dictionary() {
    ARROW_RETURN_NOT_OK(Expect("<"));
    const size_t at = position_;
    ARROW_ASSIGN_OR_RAISE(auto index, ParseOne());
    if (!arrow::is_integer(index->id())) {
      position_ = at;
      return Fail("an integer type as dictionary index");
    }
    ARROW_RETURN_NOT_OK(Expect(","));
    ARROW_ASSIGN_OR_RAISE(auto value, ParseOne());
    bool ordered = false;
    if (Accept(",")) {
      ARROW_RETURN_NOT_OK(Expect("ordered"));
      ordered = true;
    }
    ARROW_RETURN_NOT_OK(Expect(">"));
    return arrow::dictionary(std::move(index), std::move(value), ordered);
  }

  Result<TypePtr> RunEndEncoded() {
    ARROW_RETURN_NOT_OK(Expect("<"));
    const size_t at = position_;
    ARROW_ASSIGN_OR_RAISE(auto run_end, ParseOne());
    if (!arrow::RunEndEncodedType::RunEndTypeValid(*run_end)) {
      position_ = at;
      return Fail("int16, int32 or int64 as run end type");
    }
    ARROW_RETURN_NOT_OK(Expect(","));
    ARROW_ASSIGN_OR_RAISE(auto value, ParseOne());
    ARROW_RETURN_NOT_OK(Expect(">"));
    return arrow::run_end_encoded(std::move(run_end), std::move(value));
  }

  Result<TypePtr> Ipc() {
    const auto encoded = Word([](char c) { return IsIdentifierPart(c) || c == '+' || c == '/' || c == '='; });
    auto bytes = arrow::util::base64_decode(encoded);
    if (!bytes.ok() || bytes->empty()) return Fail("the base64 of an Arrow IPC schema");
    arrow::io::BufferReader reader(arrow::Buffer::FromString(*std::move(bytes)));
    arrow::ipc::DictionaryMemo memo;
    auto schema = arrow::ipc::ReadSchema(&reader, &memo);
    if (!schema.ok() || (*schema)->num_fields() != 1) return Fail("an Arrow IPC schema of one field");
    return (*schema)->field(0)->type();
  }

  Result<TypePtr> ParseOne() {
    if (depth_ >= kMaxDepth) return UserError("a type is nested deeper than " + std::to_string(kMaxDepth));
    ++depth_;
    auto type = ParseNamed();
    --depth_;
    return type;
  }

  Result<TypePtr> ParseNamed() {
    SkipSpaces();
    const size_t at = position_;
    std::string name(Word(IsIdentifierPart));
    std::transform(name.begin(), name.end(), name.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    if (name == "ipc" && Accept(":")) return Ipc();
    if (name == "timestamp") return Timestamp();
    if (name == "time32" || name == "time64" || name == "duration") return TimeOrDuration(name);
    if (name == "decimal" || name == "decimal32" || name == "decimal64" || name == "decimal128" ||
        name == "decimal256") {
      return Decimal(name);
    }
    if (name == "list" || name == "large_list" || name == "list_view" || name == "large_list_view" ||
        name == "fixed_size_list") {
      return List(name);
    }
    if (name == "struct") return Struct();
    if (name == "map") return Map();
    if (name == "dictionary") return Dictionary();
    if (name == "run_end_encoded") return RunEndEncoded();
    if (name == "fixed_size_binary") {
      ARROW_ASSIGN_OR_RAISE(int32_t size, Size());
      return arrow::fixed_size_binary(size);
    }
    for (const auto& [known, type] : PlainTypes()) {
      if (known == name) return type;
    }
    position_ = at;
    const auto nearest = NearestName(name, TypeNames());
    return Fail(nearest.empty() ? "a type" : "a type (did you mean '" + nearest + "'?)");
  }

  std::string_view text_;
  size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace

Result<std::shared_ptr<DataType>> ParseType(std::string_view text) { return TypeParser(text).ParseAll(); }

}  // namespace partita
