// Is it UTF-8? Arrow's check accepts everything until its tables are made, which is easily forgotten: this one makes them.
// Thread-safe.
#pragma once

#include <arrow/util/utf8.h>

#include <string_view>

namespace partita {

inline bool IsUtf8(std::string_view text) {
  arrow::util::InitializeUTF8();  // once; afterwards a load
  return arrow::util::ValidateUTF8(text);
}

}  // namespace partita
