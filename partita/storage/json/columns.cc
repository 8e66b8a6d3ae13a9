#include "partita/storage/json/columns.h"

#include <arrow/array.h>
#include <arrow/buffer_builder.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <cstring>
#include <limits>

#include "partita/block/schema.h"
#include "partita/storage/text/cell_parser.h"
#include "partita/storage/text/record_reader.h"

namespace partita {
namespace {

constexpr int kMaxTypeDepth = 64;

Status WrongKind(JsonReader* reader, int depth, const arrow::DataType& type) {
  ARROW_ASSIGN_OR_RAISE(const std::string_view raw, reader->TakeRaw(depth));
  return DataError(QuoteForError(raw) + " is no " + TypeToString(type));
}

int Base64Digit(char c) {
  if (c >= 'A' && c <= 'Z') return c - 'A';
  if (c >= 'a' && c <= 'z') return c - 'a' + 26;
  if (c >= '0' && c <= '9') return c - '0' + 52;
  if (c == '+' || c == '-') return 62;
  if (c == '/' || c == '_') return 63;
  return -1;
}

// Standard or URL alphabet, padded or not. Returns the decoded length, or -1.
int64_t DecodeBase64(std::string_view text, uint8_t* out) {
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  uint32_t group = 0;
  int bits = 0;
  uint8_t* const begin = out;
  for (const char c : text) {
    const int digit = Base64Digit(c);
    if (digit < 0) return -1;
    group = group << 6 | static_cast<uint32_t>(digit);
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      *out++ = static_cast<uint8_t>(group >> bits);
    }
  }
  return text.size() % 4 == 1 ? -1 : out - begin;
}

class ScalarColumn final : public JsonColumn {
 public:
  ScalarColumn(std::shared_ptr<arrow::DataType> type, std::unique_ptr<CellParser> parser,
               arrow::MemoryPool* pool)
      : type_(std::move(type)), parser_(std::move(parser)), pool_(pool) {
    const arrow::Type::type id = type_->id();
    if (arrow::is_string(id) || id == arrow::Type::STRING_VIEW) {
      takes_ = Takes::kAnything;
    } else if (arrow::is_base_binary_like(id) || id == arrow::Type::BINARY_VIEW ||
               id == arrow::Type::FIXED_SIZE_BINARY) {
      takes_ = Takes::kBase64;
    } else if (arrow::is_decimal(id)) {
      takes_ = Takes::kNumberOrString;
    } else if (arrow::is_floating(id)) {
      takes_ = Takes::kFloat;
    } else if (arrow::is_integer(id) || id == arrow::Type::DURATION) {
      takes_ = Takes::kNumber;
    } else if (id == arrow::Type::BOOL) {
      takes_ = Takes::kBool;
    } else {
      takes_ = Takes::kString;  // dates, times, timestamps
    }
  }

  Status Append(JsonReader* reader, int depth) override {
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
    switch (kind) {
      case JsonKind::kNull:
        ARROW_RETURN_NOT_OK(reader->TakeLiteral(kind));
        return parser_->AppendNull();
      case JsonKind::kTrue:
      case JsonKind::kFalse:
        if (takes_ != Takes::kBool) break;
        ARROW_RETURN_NOT_OK(reader->TakeLiteral(kind));
        return parser_->Append(kind == JsonKind::kTrue ? "true" : "false");
      case JsonKind::kNumber: {
        if (takes_ != Takes::kNumber && takes_ != Takes::kNumberOrString && takes_ != Takes::kFloat) break;
        ARROW_ASSIGN_OR_RAISE(const std::string_view text, reader->TakeNumber());
        return parser_->Append(text);
      }
      case JsonKind::kString:
        return AppendString(reader, depth);
      case JsonKind::kArray:
      case JsonKind::kObject:
        break;
    }
    if (takes_ != Takes::kAnything) return WrongKind(reader, depth, *type_);
    ARROW_ASSIGN_OR_RAISE(const std::string_view raw, reader->TakeRaw(depth));
    return parser_->Append(raw);
  }
  Status AppendNull() override { return parser_->AppendNull(); }
  void Reset() override { parser_->Reset(); }
  Result<std::shared_ptr<arrow::Array>> Finish() override { return parser_->Finish(); }

 private:
  enum class Takes { kAnything, kBase64, kNumber, kNumberOrString, kFloat, kBool, kString };

  Status AppendString(JsonReader* reader, int depth) {
    if (takes_ == Takes::kNumber || takes_ == Takes::kBool) return WrongKind(reader, depth, *type_);
    ARROW_ASSIGN_OR_RAISE(const std::string_view text, reader->TakeString());
    if (takes_ == Takes::kFloat && text != "NaN" && text != "Infinity" && text != "-Infinity") {
      return DataError("the string " + QuoteForError(text) + " is no " + TypeToString(*type_));
    }
    if (takes_ != Takes::kBase64) return parser_->Append(text);
    const auto room = static_cast<int64_t>(text.size()) / 4 * 3 + 3;
    if (scratch_ == nullptr) {
      ARROW_ASSIGN_OR_RAISE(scratch_, arrow::AllocateResizableBuffer(room, pool_));
    } else if (scratch_->size() < room) {
      ARROW_RETURN_NOT_OK(scratch_->Resize(room, /*shrink_to_fit=*/false));
    }
    const int64_t size = DecodeBase64(text, scratch_->mutable_data());
    if (size < 0)
      return DataError("the string " + QuoteForError(text) + " is no base64", "read the column as string");
    return parser_->Append({reinterpret_cast<const char*>(scratch_->data()), static_cast<size_t>(size)});
  }

  std::shared_ptr<arrow::DataType> type_;
  std::unique_ptr<CellParser> parser_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::ResizableBuffer> scratch_;
  Takes takes_;
};

// Validity of a nested column.
class Validity {
 public:
  explicit Validity(arrow::MemoryPool* pool) : bits_(pool) {}
  Status Append(bool valid) { return bits_.Append(valid); }
  void Reset() { bits_.Reset(); }
  int64_t length() const { return bits_.length(); }
  Result<std::shared_ptr<arrow::Array>> Finish(const std::shared_ptr<arrow::DataType>& type,
                                               std::vector<std::shared_ptr<arrow::Buffer>> buffers,
                                               std::vector<std::shared_ptr<arrow::ArrayData>> children) {
    const int64_t length = bits_.length(), nulls = bits_.false_count();
    ARROW_ASSIGN_OR_RAISE(auto bits, bits_.Finish());
    buffers.insert(buffers.begin(), nulls > 0 ? std::move(bits) : nullptr);
    return arrow::MakeArray(
        arrow::ArrayData::Make(type, length, std::move(buffers), std::move(children), nulls));
  }

 private:
  arrow::TypedBufferBuilder<bool> bits_;
};

template <typename Offset>
class ListColumn final : public JsonColumn {
 public:
  ListColumn(std::shared_ptr<arrow::DataType> type, std::unique_ptr<JsonColumn> values,
             arrow::MemoryPool* pool)
      : type_(std::move(type)), validity_(pool), offsets_(pool), values_(std::move(values)) {}
  Status Append(JsonReader* reader, int depth) override {
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
    if (kind == JsonKind::kNull) {
      ARROW_RETURN_NOT_OK(reader->TakeLiteral(kind));
      return AppendNull();
    }
    if (kind != JsonKind::kArray) return WrongKind(reader, depth, *type_);
    ARROW_RETURN_NOT_OK(Begin(true));
    ARROW_RETURN_NOT_OK(reader->Enter('['));
    while (true) {
      ARROW_ASSIGN_OR_RAISE(const bool more, reader->More(']'));
      if (!more) return Status::OK();
      if (count_ == std::numeric_limits<Offset>::max())
        return DataError("a list with too many elements", "declare it as large_list");
      ARROW_RETURN_NOT_OK(values_->Append(reader, depth + 1));
      ++count_;
    }
  }
  Status AppendNull() override { return Begin(false); }
  void Reset() override {
    validity_.Reset();
    offsets_.Reset();
    values_->Reset();
    count_ = 0;
  }
  Result<std::shared_ptr<arrow::Array>> Finish() override {
    ARROW_RETURN_NOT_OK(offsets_.Append(count_));
    ARROW_ASSIGN_OR_RAISE(auto offsets, offsets_.Finish());
    ARROW_ASSIGN_OR_RAISE(auto values, values_->Finish());
    count_ = 0;
    return validity_.Finish(type_, {std::move(offsets)}, {values->data()});
  }

 private:
  Status Begin(bool valid) {
    ARROW_RETURN_NOT_OK(validity_.Append(valid));
    return offsets_.Append(count_);
  }
  std::shared_ptr<arrow::DataType> type_;
  Validity validity_;
  arrow::TypedBufferBuilder<Offset> offsets_;
  std::unique_ptr<JsonColumn> values_;
  Offset count_ = 0;
};

class FixedListColumn final : public JsonColumn {
 public:
  FixedListColumn(std::shared_ptr<arrow::DataType> type, std::unique_ptr<JsonColumn> values,
                  arrow::MemoryPool* pool)
      : type_(std::move(type)),
        size_(static_cast<const arrow::FixedSizeListType&>(*type_).list_size()),
        validity_(pool),
        values_(std::move(values)) {}
  Status Append(JsonReader* reader, int depth) override {
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
    if (kind == JsonKind::kNull) {
      ARROW_RETURN_NOT_OK(reader->TakeLiteral(kind));
      return AppendNull();
    }
    if (kind != JsonKind::kArray) return WrongKind(reader, depth, *type_);
    ARROW_RETURN_NOT_OK(validity_.Append(true));
    ARROW_RETURN_NOT_OK(reader->Enter('['));
    int64_t count = 0;
    while (true) {
      ARROW_ASSIGN_OR_RAISE(const bool more, reader->More(']'));
      if (!more) break;
      if (++count > size_) break;
      ARROW_RETURN_NOT_OK(values_->Append(reader, depth + 1));
    }
    if (count == size_) return Status::OK();
    return DataError("the list has not the " + std::to_string(size_) + " elements of " +
                     TypeToString(*type_));
  }
  Status AppendNull() override {
    ARROW_RETURN_NOT_OK(validity_.Append(false));
    for (int64_t i = 0; i < size_; ++i) ARROW_RETURN_NOT_OK(values_->AppendNull());
    return Status::OK();
  }
  void Reset() override {
    validity_.Reset();
    values_->Reset();
  }
  Result<std::shared_ptr<arrow::Array>> Finish() override {
    ARROW_ASSIGN_OR_RAISE(auto values, values_->Finish());
    return validity_.Finish(type_, {}, {values->data()});
  }

 private:
  std::shared_ptr<arrow::DataType> type_;
  int64_t size_;
  Validity validity_;
  std::unique_ptr<JsonColumn> values_;
};

class StructColumn final : public JsonColumn {
 public:
  StructColumn(std::shared_ptr<arrow::DataType> type, std::unique_ptr<JsonFields> fields,
               arrow::MemoryPool* pool)
      : type_(std::move(type)), validity_(pool), fields_(std::move(fields)) {}
  Status Append(JsonReader* reader, int depth) override {
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
    if (kind == JsonKind::kNull) {
      ARROW_RETURN_NOT_OK(reader->TakeLiteral(kind));
      return AppendNull();
    }
    if (kind != JsonKind::kObject) return WrongKind(reader, depth, *type_);
    ARROW_RETURN_NOT_OK(validity_.Append(true));
    return fields_->Append(reader, depth);
  }
  Status AppendNull() override {
    ARROW_RETURN_NOT_OK(validity_.Append(false));
    return fields_->AppendNulls();
  }
  void Reset() override {
    validity_.Reset();
    fields_->Reset();
  }
  Result<std::shared_ptr<arrow::Array>> Finish() override {
    ARROW_ASSIGN_OR_RAISE(const auto arrays, fields_->Finish());
    std::vector<std::shared_ptr<arrow::ArrayData>> children;
    for (const auto& array : arrays) children.push_back(array->data());
    return validity_.Finish(type_, {}, std::move(children));
  }

 private:
  std::shared_ptr<arrow::DataType> type_;
  Validity validity_;
  std::unique_ptr<JsonFields> fields_;
};

// A map: an object when its keys are strings, or a list of [key, value].
class MapColumn final : public JsonColumn {
 public:
  MapColumn(std::shared_ptr<arrow::DataType> type, std::unique_ptr<JsonColumn> keys,
            std::unique_ptr<CellParser> text_keys, std::unique_ptr<JsonColumn> values,
            arrow::MemoryPool* pool)
      : type_(std::move(type)),
        validity_(pool),
        offsets_(pool),
        keys_(std::move(keys)),
        text_keys_(std::move(text_keys)),
        values_(std::move(values)) {}

  Status Append(JsonReader* reader, int depth) override {
    ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
    if (kind == JsonKind::kNull) {
      ARROW_RETURN_NOT_OK(reader->TakeLiteral(kind));
      return AppendNull();
    }
    const bool object = kind == JsonKind::kObject;
    if (object != (text_keys_ != nullptr) || (!object && kind != JsonKind::kArray))
      return WrongKind(reader, depth, *type_);
    ARROW_RETURN_NOT_OK(Begin(true));
    ARROW_RETURN_NOT_OK(reader->Enter(object ? '{' : '['));
    while (true) {
      ARROW_ASSIGN_OR_RAISE(const bool more, reader->More(object ? '}' : ']'));
      if (!more) return Status::OK();
      if (count_ == std::numeric_limits<int32_t>::max()) return DataError("a map with too many entries");
      ARROW_RETURN_NOT_OK(object ? ObjectEntry(reader, depth) : PairEntry(reader, depth));
      ++count_;
    }
  }
  Status AppendNull() override { return Begin(false); }
  void Reset() override {
    validity_.Reset();
    offsets_.Reset();
    if (keys_) keys_->Reset();
    if (text_keys_) text_keys_->Reset();
    values_->Reset();
    count_ = 0;
  }
  Result<std::shared_ptr<arrow::Array>> Finish() override {
    ARROW_RETURN_NOT_OK(offsets_.Append(count_));
    ARROW_ASSIGN_OR_RAISE(auto offsets, offsets_.Finish());
    ARROW_ASSIGN_OR_RAISE(auto keys, text_keys_ ? text_keys_->Finish() : keys_->Finish());
    ARROW_ASSIGN_OR_RAISE(auto values, values_->Finish());
    const auto& entry_type = static_cast<const arrow::MapType&>(*type_).value_type();
    auto entries = arrow::ArrayData::Make(entry_type, count_, {nullptr}, {keys->data(), values->data()}, 0);
    count_ = 0;
    return validity_.Finish(type_, {std::move(offsets)}, {std::move(entries)});
  }

 private:
  Status Begin(bool valid) {
    ARROW_RETURN_NOT_OK(validity_.Append(valid));
    return offsets_.Append(count_);
  }
  Status ObjectEntry(JsonReader* reader, int depth) {
    ARROW_ASSIGN_OR_RAISE(const std::string_view key, reader->TakeKey());
    ARROW_RETURN_NOT_OK(text_keys_->Append(key));
    return values_->Append(reader, depth + 1);
  }
  Status PairEntry(JsonReader* reader, int depth) {
    ARROW_RETURN_NOT_OK(reader->Enter('['));
    for (JsonColumn* column : {keys_.get(), values_.get()}) {
      ARROW_ASSIGN_OR_RAISE(const bool more, reader->More(']'));
      if (!more) return DataError("an entry of a map must be [key, value]");
      if (column == keys_.get()) {
        ARROW_ASSIGN_OR_RAISE(const JsonKind kind, reader->Peek());
        if (kind == JsonKind::kNull) return DataError("a key of a map is null");
      }
      ARROW_RETURN_NOT_OK(column->Append(reader, depth + 2));
    }
    ARROW_ASSIGN_OR_RAISE(const bool more, reader->More(']'));
    return more ? DataError("an entry of a map must be [key, value]") : Status::OK();
  }

  std::shared_ptr<arrow::DataType> type_;
  Validity validity_;
  arrow::TypedBufferBuilder<int32_t> offsets_;
  std::unique_ptr<JsonColumn> keys_;
  std::unique_ptr<CellParser> text_keys_;
  std::unique_ptr<JsonColumn> values_;
  int32_t count_ = 0;
};

Result<std::unique_ptr<JsonColumn>> MakeMap(const std::shared_ptr<arrow::DataType>& type,
                                            arrow::MemoryPool* pool, int depth) {
  const auto& map = static_cast<const arrow::MapType&>(*type);
  const arrow::Type::type key = map.key_type()->id();
  std::unique_ptr<JsonColumn> keys;
  std::unique_ptr<CellParser> text_keys;
  if (arrow::is_string(key) || key == arrow::Type::STRING_VIEW) {
    ARROW_ASSIGN_OR_RAISE(text_keys, CellParser::Make(map.key_type(), pool));
  } else {
    ARROW_ASSIGN_OR_RAISE(keys, JsonColumn::Make(map.key_type(), pool, depth + 1));
  }
  ARROW_ASSIGN_OR_RAISE(auto values, JsonColumn::Make(map.item_type(), pool, depth + 1));
  return std::make_unique<MapColumn>(type, std::move(keys), std::move(text_keys), std::move(values), pool);
}

}  // namespace

Result<std::unique_ptr<JsonColumn>> JsonColumn::Make(const std::shared_ptr<arrow::DataType>& type,
                                                     arrow::MemoryPool* pool, int depth) {
  if (depth > kMaxTypeDepth) return UserError("a column's type nests more than 64 levels deep");
  switch (type->id()) {
    case arrow::Type::LIST: {
      ARROW_ASSIGN_OR_RAISE(auto values, Make(type->field(0)->type(), pool, depth + 1));
      return std::make_unique<ListColumn<int32_t>>(type, std::move(values), pool);
    }
    case arrow::Type::LARGE_LIST: {
      ARROW_ASSIGN_OR_RAISE(auto values, Make(type->field(0)->type(), pool, depth + 1));
      return std::make_unique<ListColumn<int64_t>>(type, std::move(values), pool);
    }
    case arrow::Type::FIXED_SIZE_LIST: {
      ARROW_ASSIGN_OR_RAISE(auto values, Make(type->field(0)->type(), pool, depth + 1));
      return std::make_unique<FixedListColumn>(type, std::move(values), pool);
    }
    case arrow::Type::MAP:
      return MakeMap(type, pool, depth);
    case arrow::Type::STRUCT: {
      ARROW_ASSIGN_OR_RAISE(auto fields, JsonFields::Make(type->fields(), pool, depth + 1));
      return std::make_unique<StructColumn>(type, std::move(fields), pool);
    }
    default: {
      ARROW_ASSIGN_OR_RAISE(auto parser, CellParser::Make(type, pool));
      return std::make_unique<ScalarColumn>(type, std::move(parser), pool);
    }
  }
}

}  // namespace partita
