#include "cli/cell_text.h"

#include <arrow/api.h>

#include <charconv>
#include <cmath>

#include "partita/base/units.h"

namespace partita::cli {
namespace {

constexpr int kMaxDepth = 16;

class Writer {
 public:
  explicit Writer(size_t max_bytes) : max_bytes_(max_bytes) {}

  void Write(const arrow::Array& array, int64_t row, int depth) {
    if (full()) return;
    if (depth > kMaxDepth) return Put("…");
    if (array.IsNull(row)) return Put("null");
    switch (array.type_id()) {
      case arrow::Type::STRING:
        return Text(static_cast<const arrow::StringArray&>(array).GetView(row), depth);
      case arrow::Type::LARGE_STRING:
        return Text(static_cast<const arrow::LargeStringArray&>(array).GetView(row), depth);
      case arrow::Type::STRING_VIEW:
        return Text(static_cast<const arrow::StringViewArray&>(array).GetView(row), depth);
      case arrow::Type::BINARY:
        return Binary(static_cast<const arrow::BinaryArray&>(array).GetView(row).size());
      case arrow::Type::LARGE_BINARY:
        return Binary(static_cast<const arrow::LargeBinaryArray&>(array).GetView(row).size());
      case arrow::Type::BINARY_VIEW:
        return Binary(static_cast<const arrow::BinaryViewArray&>(array).GetView(row).size());
      case arrow::Type::FIXED_SIZE_BINARY:
        return Binary(
            static_cast<size_t>(static_cast<const arrow::FixedSizeBinaryArray&>(array).byte_width()));
      case arrow::Type::FLOAT:
        return Number(static_cast<const arrow::FloatArray&>(array).Value(row));
      case arrow::Type::DOUBLE:
        return Number(static_cast<const arrow::DoubleArray&>(array).Value(row));
      case arrow::Type::LIST:
        return List(static_cast<const arrow::ListArray&>(array), row, depth);
      case arrow::Type::LARGE_LIST:
        return List(static_cast<const arrow::LargeListArray&>(array), row, depth);
      case arrow::Type::FIXED_SIZE_LIST:
        return List(static_cast<const arrow::FixedSizeListArray&>(array), row, depth);
      case arrow::Type::MAP:
        return Map(static_cast<const arrow::MapArray&>(array), row, depth);
      case arrow::Type::STRUCT:
        return Struct(static_cast<const arrow::StructArray&>(array), row, depth);
      case arrow::Type::DICTIONARY: {
        const auto& dictionary = static_cast<const arrow::DictionaryArray&>(array);
        return Write(*dictionary.dictionary(), dictionary.GetValueIndex(row), depth);
      }
      case arrow::Type::EXTENSION:
        return Write(*static_cast<const arrow::ExtensionArray&>(array).storage(), row, depth);
      default: {
        auto scalar = array.GetScalar(row);
        return scalar.ok() ? Text((*scalar)->ToString(), 0) : Put("?");
      }
    }
  }

  std::string Take() { return std::move(out_); }

 private:
  bool full() const { return out_.size() >= max_bytes_; }
  void Put(std::string_view text) { out_ += text; }
  void Binary(size_t size) { Put("<binary " + FormatBytes(static_cast<int64_t>(size)) + ">"); }

  template <typename T>
  void Number(T value) {
    if (std::isnan(value)) return Put("NaN");
    char buffer[64];
    const auto [end, ec] = std::to_chars(buffer, buffer + sizeof(buffer), value);
    Put({buffer, static_cast<size_t>(end - buffer)});
  }

  // Quoted inside lists and structs, where a comma may follow.
  void Text(std::string_view text, int depth) {
    if (depth > 0) Put("\"");
    for (char c : text) {
      if (full()) {
        while (!out_.empty() && (static_cast<unsigned char>(out_.back()) & 0xC0) == 0x80) out_.pop_back();
        if (!out_.empty() && static_cast<unsigned char>(out_.back()) >= 0xC0)
          out_.pop_back();  // not half a character
        return Put("…");
      }
      Character(c);
    }
    if (depth > 0) Put("\"");
  }

  // A terminal must not act on what is in the data.
  void Character(char c) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') return Put("\\n");
    if (c == '\t') return Put("\\t");
    if (c == '\r') return Put("\\r");
    if (byte >= 0x20 && byte != 0x7F) return out_.push_back(c);
    constexpr char kHex[] = "0123456789abcdef";
    Put("\\x");
    out_.push_back(kHex[byte >> 4]);
    out_.push_back(kHex[byte & 15]);
  }

  template <typename ListType>
  void List(const ListType& list, int64_t row, int depth) {
    Put("[");
    const int64_t begin = list.value_offset(row), count = list.value_length(row);
    for (int64_t i = 0; i < count; ++i) {
      if (full()) return Put(", …]");
      if (i > 0) Put(", ");
      Write(*list.values(), begin + i, depth + 1);
    }
    Put("]");
  }

  void Map(const arrow::MapArray& map, int64_t row, int depth) {
    Put("{");
    const int64_t begin = map.value_offset(row), count = map.value_length(row);
    for (int64_t i = 0; i < count; ++i) {
      if (full()) return Put(", …}");
      if (i > 0) Put(", ");
      Write(*map.keys(), begin + i, depth + 1);
      Put(": ");
      Write(*map.items(), begin + i, depth + 1);
    }
    Put("}");
  }

  void Struct(const arrow::StructArray& row_of, int64_t row, int depth) {
    Put("{");
    for (int i = 0; i < row_of.num_fields(); ++i) {
      if (full()) return Put(", …}");
      if (i > 0) Put(", ");
      Put(row_of.type()->field(i)->name());
      Put(": ");
      Write(*row_of.field(i), row, depth + 1);
    }
    Put("}");
  }

  const size_t max_bytes_;
  std::string out_;
};

}  // namespace

std::string CellText(const arrow::Array& array, int64_t row, size_t max_bytes) {
  Writer writer(max_bytes);
  writer.Write(array, row, 0);
  return writer.Take();
}

bool IsNumberColumn(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) || arrow::is_floating(type.id()) || arrow::is_decimal(type.id());
}

}  // namespace partita::cli
