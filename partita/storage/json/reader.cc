#include "partita/storage/json/reader.h"

#include <arrow/buffer.h>
#include <arrow/memory_pool.h>

#include <string>

namespace partita {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Four hex digits, or -1.
int32_t HexUnit(std::string_view digits) {
  if (digits.size() < 4) return -1;
  int32_t value = 0;
  for (size_t i = 0; i < 4; ++i) {
    const int digit = HexDigit(digits[i]);
    if (digit < 0) return -1;
    value = value * 16 + digit;
  }
  return value;
}

char* PutUtf8(int32_t code, char* out) {
  const auto put = [&](int32_t byte) { *out++ = static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 63));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | ((code >> 6) & 63));
    put(0x80 | (code & 63));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | ((code >> 12) & 63));
    put(0x80 | ((code >> 6) & 63));
    put(0x80 | (code & 63));
  }
  return out;
}

}  // namespace

JsonReader::JsonReader(arrow::MemoryPool* pool) : pool_(pool) {}
JsonReader::~JsonReader() = default;

Status JsonReader::Error(std::string_view what) const {
  return DataError("this is no JSON: " + std::string(what) + " at character " + std::to_string(at_ + 1));
}

void JsonReader::SkipSpace() {
  while (at_ < text_.size() &&
         (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r' || text_[at_] == '\n'))
    ++at_;
}

Result<JsonKind> JsonReader::Peek() {
  SkipSpace();
  if (at_ == text_.size()) return Error("the line ends inside a value");
  switch (text_[at_]) {
    case 'n':
      return JsonKind::kNull;
    case 't':
      return JsonKind::kTrue;
    case 'f':
      return JsonKind::kFalse;
    case '"':
      return JsonKind::kString;
    case '[':
      return JsonKind::kArray;
    case '{':
      return JsonKind::kObject;
    default:
      if (IsDigit(text_[at_]) || text_[at_] == '-' || text_[at_] == 'N' || text_[at_] == 'I')
        return JsonKind::kNumber;
      return Error("an unexpected character");
  }
}

Status JsonReader::TakeLiteral(JsonKind kind) {
  const std::string_view word = kind == JsonKind::kNull ? "null" : kind == JsonKind::kTrue ? "true" : "false";
  if (text_.substr(at_, word.size()) != word) return Error("an unknown word");
  at_ += word.size();
  return Status::OK();
}

Result<std::string_view> JsonReader::TakeNumber() {
  const size_t begin = at_;
  for (const std::string_view word : {"NaN", "Infinity", "-Infinity"}) {
    if (text_.substr(at_, word.size()) == word) {
      at_ += word.size();
      return word;
    }
  }
  const auto digits = [&] {
    const size_t from = at_;
    while (at_ < text_.size() && IsDigit(text_[at_])) ++at_;
    return at_ > from;
  };
  if (at_ < text_.size() && text_[at_] == '-') ++at_;
  const bool zero = at_ < text_.size() && text_[at_] == '0';
  if (!digits()) return Error("a number without digits");
  if (zero && text_[begin + (text_[begin] == '-')] == '0' && at_ - begin - (text_[begin] == '-') > 1) {
    return Error("a number with a leading zero");
  }
  if (at_ < text_.size() && text_[at_] == '.') {
    ++at_;
    if (!digits()) return Error("a number without digits behind its point");
  }
  if (at_ < text_.size() && (text_[at_] == 'e' || text_[at_] == 'E')) {
    ++at_;
    if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
    if (!digits()) return Error("a number without digits in its exponent");
  }
  return text_.substr(begin, at_ - begin);
}

Status JsonReader::SkipString() {
  ++at_;
  while (at_ < text_.size() && text_[at_] != '"') {
    if (static_cast<unsigned char>(text_[at_]) < 0x20) return Error("a control character in a string");
    at_ += text_[at_] == '\\' ? 2 : 1;
  }
  if (at_ >= text_.size()) {
    at_ = text_.size();
    return Error("a string that is not closed");
  }
  ++at_;
  return Status::OK();
}

Result<std::string_view> JsonReader::TakeString() {
  const size_t begin = at_ + 1;
  size_t end = begin;
  while (end < text_.size() && text_[end] != '"' && text_[end] != '\\' &&
         static_cast<unsigned char>(text_[end]) >= 0x20) {
    ++end;
  }
  if (end < text_.size() && text_[end] == '"') {
    at_ = end + 1;
    return text_.substr(begin, end - begin);
  }
  ARROW_RETURN_NOT_OK(SkipString());
  return Unescape(begin, at_ - 1);
}

Result<std::string_view> JsonReader::Unescape(size_t begin, size_t end) {
  const auto size = static_cast<int64_t>(end - begin);  // unescaped text is never longer
  if (scratch_ == nullptr) {
    ARROW_ASSIGN_OR_RAISE(scratch_, arrow::AllocateResizableBuffer(size, pool_));
  } else if (scratch_->size() < size) {
    ARROW_RETURN_NOT_OK(scratch_->Resize(size, /*shrink_to_fit=*/false));
  }
  char* const start = reinterpret_cast<char*>(scratch_->mutable_data());
  char* out = start;
  for (size_t i = begin; i < end; ++i) {
    if (text_[i] != '\\') {
      *out++ = text_[i];
      continue;
    }
    switch (text_[++i]) {
      case 'n':
        *out++ = '\n';
        break;
      case 't':
        *out++ = '\t';
        break;
      case 'r':
        *out++ = '\r';
        break;
      case 'b':
        *out++ = '\b';
        break;
      case 'f':
        *out++ = '\f';
        break;
      case '"':
      case '\\':
      case '/':
        *out++ = text_[i];
        break;
      case 'u': {
        int32_t code = HexUnit(text_.substr(i + 1, end - i - 1));
        if (code < 0) return Error("a bad \\u escape in the string");
        i += 4;
        if (code >= 0xD800 && code <= 0xDBFF && text_.substr(i + 1, 2) == "\\u" && i + 6 < end) {
          const int32_t low = HexUnit(text_.substr(i + 3, end - i - 3));
          if (low >= 0xDC00 && low <= 0xDFFF) {
            code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            i += 6;
          }
        }
        // Half a surrogate pair is no character; Python and browsers replace it when they encode.
        if (code >= 0xD800 && code <= 0xDFFF) code = 0xFFFD;
        out = PutUtf8(code, out);
        break;
      }
      default:
        return Error("an unknown escape in the string");
    }
  }
  return std::string_view(start, static_cast<size_t>(out - start));
}

Status JsonReader::Enter(char open) {
  SkipSpace();
  if (at_ == text_.size() || text_[at_] != open) {
    return Error(open == '{' ? "an object was expected" : "a list was expected");
  }
  ++at_;
  first_ = true;
  return Status::OK();
}

Result<bool> JsonReader::More(char close) {
  SkipSpace();
  if (at_ == text_.size())
    return Error(close == ']' ? "a list that is not closed" : "an object that is not closed");
  if (text_[at_] == close) {
    ++at_;
    first_ = false;
    return false;
  }
  if (!first_) {
    if (text_[at_] != ',') return Error("a comma is missing");
    ++at_;
  }
  first_ = false;
  return true;
}

Result<std::string_view> JsonReader::TakeKey() {
  SkipSpace();
  if (at_ == text_.size() || text_[at_] != '"') return Error("a name in quotes was expected");
  ARROW_ASSIGN_OR_RAISE(const std::string_view key, TakeString());
  SkipSpace();
  if (at_ == text_.size() || text_[at_] != ':') return Error("a colon is missing");
  ++at_;
  return key;
}

Result<std::string_view> JsonReader::TakeRaw(int depth) {
  if (depth > kMaxJsonDepth) return Error("values nest too deep");
  ARROW_ASSIGN_OR_RAISE(const JsonKind kind, Peek());
  const size_t begin = at_;
  switch (kind) {
    case JsonKind::kNull:
    case JsonKind::kTrue:
    case JsonKind::kFalse:
      ARROW_RETURN_NOT_OK(TakeLiteral(kind));
      break;
    case JsonKind::kNumber:
      ARROW_RETURN_NOT_OK(TakeNumber());
      break;
    case JsonKind::kString:
      ARROW_RETURN_NOT_OK(SkipString());
      break;
    case JsonKind::kArray:
    case JsonKind::kObject: {
      const bool object = kind == JsonKind::kObject;
      ARROW_RETURN_NOT_OK(Enter(object ? '{' : '['));
      while (true) {
        ARROW_ASSIGN_OR_RAISE(const bool more, More(object ? '}' : ']'));
        if (!more) break;
        if (object) ARROW_RETURN_NOT_OK(TakeKey());
        ARROW_RETURN_NOT_OK(TakeRaw(depth + 1));
      }
      break;
    }
  }
  return text_.substr(begin, at_ - begin);
}

Status JsonReader::End() {
  SkipSpace();
  return at_ == text_.size() ? Status::OK() : Error("more text follows the value");
}

}  // namespace partita
