// Numbers as they stand in pages and as they stand in arrays: plain ones, and those that indices of a
// dictionary stand for. Internal to the room. Pure.
#pragma once

#include <cstdint>

#include "partita/storage/parquet/runs.h"

namespace partita {

struct NumberForm {
  int width = 0;         // in an array: 1, 2, 4 or 8 bytes
  int stored_width = 0;  // in the file: the same, or 4 for what is narrower there
};

// What is narrower in the array has the low bytes of what is stored.
void Convert(const NumberForm& form, const uint8_t* from, int64_t count, uint8_t* out);

struct NumberDictionary {
  const uint8_t* values = nullptr;  // as an array has them
  int64_t size = 0;
  int width = 0;
  bool is_identity = false;  // 256 bytes, each standing for itself
};

// A bit_width of 0 is that of indices which are all 0; `indices` is not looked at then. Invalid where an
// index is none of the dictionary, or there are too few.
Status LookUp(const NumberDictionary& dictionary, int bit_width, RunReader* indices, int64_t count,
              uint8_t* out);
// The indices themselves, of a dictionary of `size` values.
Status ReadIndices(int64_t size, int bit_width, RunReader* indices, int64_t count, uint32_t* out);

// `present` values stand side by side where there is room for `rows`: moves them to the rows whose bits, from
// `first_bit` on, are set, of which there are as many. The others become 0.
void Spread(int width, const uint8_t* bits, int64_t first_bit, int64_t rows, int64_t present,
            uint8_t* values);

}  // namespace partita
