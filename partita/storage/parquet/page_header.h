// The header of a Parquet page: thrift's compact form, read without trust. Internal to the room. Pure.
//
// libparquet reads headers and pages in one go, and a page is decoded whole; who streams pages needs the
// header alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

// Thrift's numbers.
inline constexpr int kPlain = 0, kPlainDictionary = 2, kRle = 3, kBitPacked = 4, kRleDictionary = 8;

struct PageHeader {
  enum class Type : int32_t { kData = 0, kIndex = 1, kDictionary = 2, kDataV2 = 3 };

  int64_t header_bytes = 0;  // of the header itself
  int32_t type = -1;         // a Type, or one that is unknown here
  int32_t uncompressed_bytes = -1;
  int32_t compressed_bytes = -1;
  int32_t num_values = 0;
  int32_t encoding = -1;             // thrift's numbers
  int32_t definition_encoding = -1;  // version 1
  int32_t repetition_encoding = -1;  // version 1
  int32_t definition_bytes = 0;      // version 2
  int32_t repetition_bytes = 0;      // version 2
  bool compressed = true;            // version 2

  bool is(Type wanted) const { return type == static_cast<int32_t>(wanted); }
  bool is_data() const { return is(Type::kData) || is(Type::kDataV2); }
  bool is_indexed() const { return encoding == kPlainDictionary || encoding == kRleDictionary; }
  int64_t levels_bytes() const { return int64_t{definition_bytes} + repetition_bytes; }  // version 2
};

// The header at the start of `bytes`; nullopt where it goes on behind them. Sizes and counts of the result
// are not negative, and the levels of a page of version 2 lie within both of its sizes.
Result<std::optional<PageHeader>> ParsePageHeader(std::string_view bytes);

}  // namespace partita
