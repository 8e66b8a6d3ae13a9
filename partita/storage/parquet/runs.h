// Levels and dictionary indices as pages have them: runs that repeat a value, and runs of bit-packed groups
// of eight. Internal to the room. Pure.
//
// Of lists of one length without nulls all levels are known beforehand: they are compared, not decoded.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

inline constexpr int kMostRunBits = 32;

struct Run {
  int64_t count = 0;
  const uint8_t* packed = nullptr;  // null: `value`, count times
  int64_t first = 0;                // of the values in `packed`
  uint32_t value = 0;
};

// Walks over runs; `bytes` outlive it.
class RunReader {
 public:
  RunReader() = default;
  // `bit_width` from 1 to kMostRunBits.
  RunReader(std::string_view bytes, int bit_width) : bytes_(bytes), bit_width_(bit_width) {}

  // The next run, or at most `most` (> 0) values of it. A packed run comes with what pads its last group.
  Result<Run> Take(int64_t most);
  // Values of a packed run, one after the other.
  void Unpack(const Run& run, uint32_t* out) const;

 private:
  Status Open();

  std::string_view bytes_;
  int bit_width_ = 1;
  size_t at_ = 0;
  Run open_;
};

// Whether the first `count` values are all `value`. False also where the bytes are no runs.
bool IsConstant(std::string_view runs, int bit_width, int64_t count, uint32_t value);

// Whether the first `count` values, of one bit, are the repetition levels of lists of `length`, of which
// `position` elements came before: 0 where a list begins and 1 everywhere else.
bool AreListStarts(std::string_view runs, int64_t count, int64_t position, int64_t length);

// Those levels, from the start of a list on, and `count` times `value` (of at most eight bits).
std::string ListStarts(int64_t lists, int64_t length);
std::string ConstantRun(int64_t count, uint8_t value);
// What comes before `groups` bit-packed groups of eight.
std::string PackedHead(int64_t groups);

// The runs of `count` values of `bit_width` bits: repeats of eight and more, and bit-packed groups between
// them. `out` has room for MostRunBytes; how many bytes they are.
int64_t MostRunBytes(int64_t count, int bit_width);
int64_t EncodeRuns(const uint32_t* values, int64_t count, int bit_width, uint8_t* out);

}  // namespace partita
