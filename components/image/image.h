// Images in memory, their formats, and what may be decoded: shared by the codecs and the resizer.
//
// Input is hostile: ProbeImage reads only headers, and CheckLimits runs before any pixel is allocated.
// All functions are thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "partita/base/error.h"

namespace arrow {
class Buffer;
class MemoryPool;
}  // namespace arrow

namespace partita {

enum class ImageFormat { kUnknown, kJpeg, kPng, kWebp };

// "jpg", "png", "webp": the word of `encode_format` and of file extensions. "" for kUnknown.
std::string_view ImageFormatName(ImageFormat format);
// "jpg"/"jpeg", "png", "webp"; anything else is a user error.
Result<ImageFormat> ParseImageFormat(std::string_view name);
// By the first bytes, never by a name or a content type.
ImageFormat DetectImageFormat(const uint8_t* data, int64_t size);

struct ImageInfo {
  ImageFormat format = ImageFormat::kUnknown;
  int width = 0;  // as stored, before EXIF orientation
  int height = 0;
  int channels = 0;  // as stored: 1 gray, 2 gray + alpha, 3 colour, 4 colour + alpha or CMYK
};

// Reads the header. Data errors name the format where it is a known one that is not supported (GIF, TIFF,
// ...), or say that the bytes are no image.
Result<ImageInfo> ProbeImage(const uint8_t* data, int64_t size);

// Twice 89,478,485 pixels (1 GiB / 4 / 3), the size from which Pillow refuses an image as a decompression
// bomb.
inline constexpr int64_t kDefaultMaxImagePixels = 2 * 89'478'485LL;

// Data error when width * height is zero or over `max_image_pixels`.
Status CheckLimits(int64_t width, int64_t height, int64_t max_image_pixels);

// 8-bit interleaved pixels that somebody else owns: gray, RGB or RGBA.
struct ImageView {
  const uint8_t* pixels = nullptr;
  int width = 0;
  int height = 0;
  int channels = 0;  // 1, 3 or 4
  int64_t stride_bytes = 0;

  const uint8_t* row(int y) const { return pixels + y * stride_bytes; }
};

// Pixels in a buffer of the given pool. Rows are dense: stride = width * channels. The buffer has kRowPadding
// bytes behind the last pixel, so that kernels may load whole vectors.
struct Image {
  std::shared_ptr<arrow::Buffer> buffer;
  int width = 0;
  int height = 0;
  int channels = 0;

  static constexpr int kRowPadding = 16;

  static Result<Image> Allocate(int width, int height, int channels, arrow::MemoryPool* pool);
  int64_t stride_bytes() const { return static_cast<int64_t>(width) * channels; }
  int64_t size_bytes() const { return stride_bytes() * height; }
  uint8_t* row(int y);
  ImageView view() const;
};

// Lays RGBA pixels on white, as img2dataset does: rint(alpha / 255 * colour + 255 - alpha).
void CompositeOnWhite(const uint8_t* rgba, int64_t pixels, uint8_t* rgb);

}  // namespace partita
