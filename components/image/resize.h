// Streaming resize: source rows go in one by one, finished rows appear in the output. A decoded image is
// never held.
//
// Fixed-point integer arithmetic throughout: the same bytes on every machine and with every instruction set.
// Separable filters. Downscaling widens the kernel with the ratio (antialiasing, like Pillow); upscaling uses
// OpenCV's kernels (cubic a = -0.75, Lanczos of 8 taps). `area` is the exact box average of the pixels
// covered when an axis shrinks, and `linear` when it grows. `nearest` takes the pixel at floor(x * source /
// output).
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class Buffer;
}

namespace partita {

class BudgetPool;

enum class Interpolation { kNearest, kLinear, kCubic, kArea, kLanczos };

// nearest, linear/bilinear, cubic/bicubic, area, lanczos/lanczos4; anything else is a user error.
Result<Interpolation> ParseInterpolation(std::string_view name);

// One axis of a resize.
struct ResizeAxis {
  int source = 0;  // pixels the decoder delivers
  // Length of the picture in eighths of a delivered pixel. 8 * source, but for a JPEG decoded at n/8 whose
  // length is no multiple: its last pixel lies partly outside of the picture.
  int64_t extent_eighths = 0;
  int output = 0;      // length of the whole resized axis
  int crop_begin = 0;  // the part of it that is wanted
  int crop_count = 0;

  static ResizeAxis Whole(int source, int output) { return {source, int64_t{8} * source, output, 0, output}; }
};

// Which source pixels make an output pixel: output i = sum of weights[i * stride + t] * source[first[i] + t].
struct FilterTaps {
  std::vector<int32_t> first;
  std::vector<int32_t> count;
  std::vector<int32_t> weights;
  int stride = 0;
  int most = 0;          // largest count; weights behind a pixel's count are zero
  int source_begin = 0;  // source pixels that are needed at all
  int source_end = 0;
};

class RowResizer {
 public:
  // Writes into `out` (crop_count rows of `out_stride_bytes`), which must outlive this. Scratch comes from
  // `pool`.
  static Result<std::unique_ptr<RowResizer>> Make(const ResizeAxis& x, const ResizeAxis& y, int channels,
                                                  Interpolation interpolation, uint8_t* out,
                                                  int64_t out_stride_bytes, BudgetPool* pool);
  virtual ~RowResizer() = default;

  // Source pixels that are needed: others need not be decoded.
  virtual int row_begin() const = 0;
  virtual int row_end() const = 0;
  virtual int column_begin() const = 0;
  virtual int column_end() const = 0;

  // The next source row, from row_begin() on; `row` points to its pixel column_begin(). 16 bytes behind the
  // last needed pixel must be readable.
  virtual void Push(const uint8_t* row) = 0;
};

}  // namespace partita
