// Pulls JSON tokens from one text. Internal to storage/.
//
// Strict JSON, with two liberties that Python's writers need: NaN, Infinity and -Infinity are numbers.
// Nesting is bounded.
#pragma once

#include <memory>
#include <string_view>

#include "partita/base/error.h"

namespace arrow {
class MemoryPool;
class ResizableBuffer;
}  // namespace arrow

namespace partita {

enum class JsonKind { kNull, kTrue, kFalse, kNumber, kString, kArray, kObject };

inline constexpr int kMaxJsonDepth = 128;

class JsonReader {
 public:
  explicit JsonReader(arrow::MemoryPool* pool);
  ~JsonReader();
  void Start(std::string_view text) { text_ = text, at_ = 0; }
  size_t position() const { return at_; }

  // Kind of the value that comes next, without taking it.
  Result<JsonKind> Peek();
  // Takes a null, true or false that Peek saw.
  Status TakeLiteral(JsonKind kind);
  // A number's text.
  Result<std::string_view> TakeNumber();
  // A string's value. Valid until the next string with escapes is taken.
  Result<std::string_view> TakeString();
  // Takes any value and returns its text.
  Result<std::string_view> TakeRaw(int depth);

  // Arrays: Enter('['), then More(']') before each element: false at the end.
  // Objects: Enter('{'), then More('}') before each TakeKey, then the value.
  Status Enter(char open);
  Result<bool> More(char close);
  Result<std::string_view> TakeKey();
  // Nothing but space may follow.
  Status End();
  Status Error(std::string_view what) const;

 private:
  void SkipSpace();
  Status SkipString();
  Result<std::string_view> Unescape(size_t begin, size_t end);

  std::string_view text_;
  size_t at_ = 0;
  bool first_ = false;  // just entered an array or object
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::ResizableBuffer> scratch_;
};

}  // namespace partita
