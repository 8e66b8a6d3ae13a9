// The texts of a column chunk, numbered in the order in which they come: a dictionary page and what indices
// stand for. Internal to the room. One thread at a time.
#pragma once

#include <arrow/buffer_builder.h>

#include <cstdint>
#include <cstring>
#include <string_view>

#include "partita/base/digest.h"
#include "partita/base/error.h"

namespace partita {

class TextCodes {
 public:
  explicit TextCodes(arrow::MemoryPool* pool) : pool_(pool), slots_(pool), begins_(pool), plain_(pool) {}

  // The number of `text`; a new one where it was not there before.
  Status CodeOf(std::string_view text, uint32_t* code) {
    const uint64_t hash = Checksum64(text.data(), static_cast<int64_t>(text.size()));
    if (2 * static_cast<int64_t>(size()) >= slots_.length()) ARROW_RETURN_NOT_OK(Grow());
    Slot* slot = HomeOf(hash);
    for (; slot->number != 0; slot = NextOf(slot)) {
      if (slot->mark != MarkOf(hash) || At(slot->number - 1) != text) continue;
      *code = slot->number - 1;
      return Status::OK();
    }
    ARROW_RETURN_NOT_OK(Append(text));
    *slot = {MarkOf(hash), size()};
    *code = size() - 1;
    return Status::OK();
  }

  uint32_t size() const { return static_cast<uint32_t>(begins_.length()); }
  std::string_view At(uint32_t code) const {
    const char* at = reinterpret_cast<const char*>(plain_.data()) + begins_.data()[code];
    uint32_t length = 0;
    std::memcpy(&length, at, sizeof(length));
    return {at + sizeof(length), length};
  }
  // As a page has them: each behind its length, of four bytes.
  std::string_view plain() const {
    return {reinterpret_cast<const char*>(plain_.data()), static_cast<size_t>(plain_.length())};
  }

 private:
  struct Slot {
    uint32_t mark = 0;    // of the hash
    uint32_t number = 0;  // the code and 1; 0: free
  };

  static uint32_t MarkOf(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
  Slot* HomeOf(uint64_t hash) {
    return slots_.mutable_data() + (hash & (static_cast<uint64_t>(slots_.length()) - 1));
  }
  Slot* NextOf(Slot* slot) {
    return slot + 1 == slots_.mutable_data() + slots_.length() ? slots_.mutable_data() : slot + 1;
  }
  Status Append(std::string_view text);
  Status Grow();

  arrow::MemoryPool* pool_;
  arrow::TypedBufferBuilder<Slot> slots_;  // a power of two of them, at most half in use
  arrow::TypedBufferBuilder<uint32_t> begins_;
  arrow::BufferBuilder plain_;
};

}  // namespace partita
