// Writes tar archives whose bytes depend on names and contents alone: mode 0644, owner 0 without names, time
// 0. ustar headers; a pax header before a member whose name is longer than 100 bytes or whose size is 8 GiB
// or more. Internal to storage/.
#pragma once

#include <cstdint>
#include <string_view>

#include "partita/base/error.h"
#include "partita/storage/text/text_sink.h"

namespace partita {

class TarWriter {
 public:
  explicit TarWriter(TextSink* out) : out_(out) {}

  // `name`: a safe relative path. Exactly size_bytes must be appended to the sink between Begin and End.
  void Begin(std::string_view name, int64_t size_bytes);
  void End();
  // The end mark: two blocks of zeros, padded to a record of 10240 bytes.
  void Finish();

 private:
  void Header(std::string_view name, int64_t size_bytes, char type);
  void Pad(int64_t multiple);
  TextSink* out_;
  int64_t written_ = 0, member_bytes_ = 0;
};

}  // namespace partita
