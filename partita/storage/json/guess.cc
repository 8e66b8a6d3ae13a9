// JsonTypeGuess of json_columns.h.
#include <arrow/type.h>

#include <charconv>

#include "partita/base/utf8.h"
#include "partita/storage/json/columns.h"

namespace partita {
namespace {

constexpr int kMaxGuessDepth = 16;
constexpr size_t kMaxFields = 10'000;

bool IsInt64(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

JsonTypeGuess::JsonTypeGuess() = default;
JsonTypeGuess::~JsonTypeGuess() = default;
JsonTypeGuess::JsonTypeGuess(JsonTypeGuess&&) noexcept = default;

void JsonTypeGuess::Merge(Kind kind) {
  if (kind_ == Kind::kNone || kind_ == kind) {
    kind_ = kind;
  } else if ((kind_ == Kind::kInt && kind == Kind::kFloat) || (kind_ == Kind::kFloat && kind == Kind::kInt)) {
    kind_ = Kind::kFloat;
  } else {
    kind_ = Kind::kMixed;
  }
}

Status JsonTypeGuess::Add(JsonReader* reader, int depth) {
  ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
  switch (kind) {
    case JsonKind::kNull:
      return reader->TakeLiteral(kind);
    case JsonKind::kTrue:
    case JsonKind::kFalse:
      Merge(Kind::kBool);
      return reader->TakeLiteral(kind);
    case JsonKind::kNumber: {
      ARROW_ASSIGN_OR_RAISE(const std::string_view text, reader->TakeNumber());
      const bool integer = text.find_first_of(".eENI") == std::string_view::npos;
      // Digits beyond int64 (ids, hashes) would lose some as a double: their text keeps them.
      Merge(!integer ? Kind::kFloat : IsInt64(text) ? Kind::kInt : Kind::kMixed);
      return Status::OK();
    }
    case JsonKind::kString:
      Merge(Kind::kString);
      return reader->TakeRaw(depth).status();
    case JsonKind::kArray:
    case JsonKind::kObject:
      break;
  }
  const bool object = kind == JsonKind::kObject;
  Merge(depth > kMaxGuessDepth ? Kind::kMixed : object ? Kind::kStruct : Kind::kList);
  if (kind_ == Kind::kMixed) return reader->TakeRaw(depth).status();
  ARROW_RETURN_NOT_OK(reader->Enter(object ? '{' : '['));
  size_t expected = 0;
  while (true) {
    ARROW_ASSIGN_OR_RAISE(const bool more, reader->More(object ? '}' : ']'));
    if (!more) return Status::OK();
    if (!object) {
      if (element_ == nullptr) element_ = std::make_unique<JsonTypeGuess>();
      ARROW_RETURN_NOT_OK(element_->Add(reader, depth + 1));
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const std::string_view name, reader->TakeKey());
    size_t i = expected < fields_.size() && fields_[expected].first == name ? expected : 0;
    while (i < fields_.size() && fields_[i].first != name) ++i;
    if (i == fields_.size()) {
      if (!IsUtf8(name)) return DataError("a name in an object is not valid UTF-8");
      if (i == kMaxFields) return UserError("objects have more than 10,000 different names");
      fields_.emplace_back(std::string(name), std::make_unique<JsonTypeGuess>());
    }
    expected = i + 1;
    ARROW_RETURN_NOT_OK(fields_[i].second->Add(reader, depth + 1));
  }
}

std::vector<std::shared_ptr<arrow::Field>> JsonTypeGuess::fields() const {
  std::vector<std::shared_ptr<arrow::Field>> out;
  for (const auto& [name, guess] : fields_) out.push_back(arrow::field(name, guess->type()));
  return out;
}

std::shared_ptr<arrow::DataType> JsonTypeGuess::type() const {
  switch (kind_) {
    case Kind::kBool:
      return arrow::boolean();
    case Kind::kInt:
      return arrow::int64();
    case Kind::kFloat:
      return arrow::float64();
    case Kind::kList:
      return arrow::list(element_ ? element_->type() : arrow::utf8());
    case Kind::kStruct:
      if (!fields_.empty()) return arrow::struct_(fields());
      break;
    case Kind::kNone:
    case Kind::kString:
    case Kind::kMixed:
      break;
  }
  return arrow::utf8();
}

}  // namespace partita
