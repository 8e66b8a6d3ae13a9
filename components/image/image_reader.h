// An encoded image as a stream of pixel rows: what the resizer and decode_image read from. One reader, one
// image, one thread.
#pragma once

#include <cstdint>
#include <memory>

#include "components/image/image.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

enum class AlphaMode {
  kOnWhite,  // transparent pixels are laid on white: rows are gray or RGB
  kKeep,     // rows are gray, RGB or RGBA
};

class ImageReader {
 public:
  virtual ~ImageReader() = default;

  virtual int width() const = 0;  // as stored
  virtual int height() const = 0;
  virtual int channels() const = 0;                 // of the delivered rows: 1, 3 or 4
  virtual bool has_alpha() const { return false; }  // in the file

  // The n of n/8 at which the picture may be decoded when a box average then makes it so large: 8 is always
  // right.
  virtual int ScaleFor(int output_width, int output_height) const { return 8; }
  // Size after scaling by n/8: rounded up.
  int ScaledWidth(int n) const { return static_cast<int>((int64_t{width()} * n + 7) / 8); }
  int ScaledHeight(int n) const { return static_cast<int>((int64_t{height()} * n + 7) / 8); }

  // Decodes at n/8. Only the columns [column_begin, column_end) are wanted; first_column() and
  // delivered_columns() tell what ReadRows delivers, which is at least that.
  virtual Status Start(int n, int column_begin, int column_end) = 0;
  virtual int first_column() const { return 0; }
  virtual int delivered_columns() const { return width(); }

  // Passes over rows.
  virtual Status SkipRows(int count) = 0;
  // Reads `count` rows, `stride_bytes` apart.
  virtual Status ReadRows(int count, uint8_t* out, int64_t stride_bytes) = 0;
  // Reads to the end of the file, and so proves that all of it is there. Rows not read are passed over.
  virtual Status Finish() = 0;
};

// Reads the header and checks the pixel limit; no pixel is decoded yet. `data` must outlive the reader,
// memory comes from `pool`.
Result<std::unique_ptr<ImageReader>> OpenImage(const uint8_t* data, int64_t size, AlphaMode alpha,
                                               int64_t max_image_pixels, BudgetPool* pool);

}  // namespace partita
