// The inner loops of the resizer, in the best instruction set of the machine. All variants do the same
// integer arithmetic and so give the same bytes. Internal to resize.cc.
#pragma once

#include <cstdint>

namespace partita {

struct FilterTaps;

// Box average. Weights of a pixel sum to 2^16; a column sum is kept with 8 fraction bits (8.8 in 32 bits).
inline constexpr int kAreaWeightBits = 16;
// Other filters. Weights sum to 2^14; rows between the passes keep 6 fraction bits.
inline constexpr int kFilterWeightBits = 14;
inline constexpr int kFilterFractionBits = 6;

struct ResizeKernels {
  // sums[i] = weight * row[i]
  void (*start_row)(const uint8_t* row, uint32_t weight, int64_t n, uint32_t* sums);
  // sums[i] += weight * row[i]
  void (*add_row)(const uint8_t* row, uint32_t weight, int64_t n, uint32_t* sums);
  // One output row from column sums. `sums` must have 16 readable elements behind the last.
  void (*finish_area_row)(uint32_t* sums, int64_t n, const FilterTaps& x, int channels, uint8_t* out);
  // One source row to one row of 6 fraction bits, of x.first.size() pixels. `row` has 4 readable bytes behind
  // the last, `out` 4 writable elements.
  void (*filter_row)(const uint8_t* row, const FilterTaps& x, int channels, int32_t* out);
  // out[i] = sum of weights[t] * rows[t][i], rounded and clamped.
  void (*mix_rows)(const int32_t* const* rows, const int32_t* weights, int count, int64_t n, int32_t* sums,
                   uint8_t* out);
};

const ResizeKernels& BestResizeKernels();
const ResizeKernels& PortableResizeKernels();

}  // namespace partita
