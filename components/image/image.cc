#include "components/image/image.h"

#include <arrow/buffer.h>
#include <webp/decode.h>

#include <cstring>
#include <string>

#include "partita/base/units.h"

namespace partita {

namespace {

bool StartsWith(const uint8_t* data, int64_t size, std::string_view magic, int64_t offset = 0) {
  const auto length = static_cast<int64_t>(magic.size());
  return size >= offset + length && std::memcmp(data + offset, magic.data(), magic.size()) == 0;
}

uint32_t Big32(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | uint32_t{p[3]};
}
int Big16(const uint8_t* p) { return p[0] << 8 | p[1]; }

// The name of a format that is recognised only to say that it is not supported.
std::string_view UnsupportedFormatName(const uint8_t* data, int64_t size) {
  using namespace std::string_view_literals;
  if (StartsWith(data, size, "GIF8")) return "GIF";
  if (StartsWith(data, size, "II*\0"sv) || StartsWith(data, size, "MM\0*"sv)) return "TIFF";
  if (StartsWith(data, size, "BM")) return "BMP";
  if (StartsWith(data, size, "\0\0\1\0"sv)) return "ICO";
  if (StartsWith(data, size, "ftypavif", 4) || StartsWith(data, size, "ftypavis", 4)) return "AVIF";
  if (StartsWith(data, size, "ftyphei", 4) || StartsWith(data, size, "ftypmif1", 4)) return "HEIC";
  if (StartsWith(data, size, "\xFF\x0A") || StartsWith(data, size, "\0\0\0\x0CJXL "sv)) return "JPEG XL";
  if (StartsWith(data, size, "\0\0\0\x0CjP  "sv) || StartsWith(data, size, "\xFF\x4F\xFF\x51"))
    return "JPEG 2000";
  if (StartsWith(data, size, "8BPS")) return "PSD";
  if (StartsWith(data, size, "<svg") || StartsWith(data, size, "<?xml")) return "SVG or XML";
  if (StartsWith(data, size, "<!DOCTYPE") || StartsWith(data, size, "<!doctype") ||
      StartsWith(data, size, "<html") || StartsWith(data, size, "<HTML")) {
    return "HTML";
  }
  return {};
}

// Walks the segments to the frame header. Every step moves forward, so it ends.
Result<ImageInfo> ProbeJpeg(const uint8_t* data, int64_t size) {
  int64_t at = 2;
  while (at + 4 <= size) {
    if (data[at] != 0xFF) return DataError("broken JPEG: no marker where a segment must start");
    const uint8_t marker = data[at + 1];
    if (marker == 0xFF) {  // a fill byte
      ++at;
      continue;
    }
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {  // no length
      at += 2;
      continue;
    }
    if (marker == 0xD9 || marker == 0xDA) break;
    const int length = Big16(data + at + 2);
    if (length < 2) return DataError("broken JPEG: a segment shorter than its length field");
    const bool is_frame =
        marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
    if (is_frame) {
      if (length < 8 || at + 10 > size) break;
      ImageInfo info;
      info.format = ImageFormat::kJpeg;
      info.height = Big16(data + at + 5);
      info.width = Big16(data + at + 7);
      info.channels = data[at + 9];
      if (info.height == 0) return DataError("broken JPEG: its header has no height");
      return info;
    }
    at += 2 + length;
  }
  return DataError("broken JPEG: it ends before its frame header");
}

Result<ImageInfo> ProbePng(const uint8_t* data, int64_t size) {
  if (size < 33 || !StartsWith(data, size, "IHDR", 12) || Big32(data + 8) != 13) {
    return DataError("broken PNG: it ends before its header");
  }
  const uint32_t width = Big32(data + 16);
  const uint32_t height = Big32(data + 20);
  if (width > INT32_MAX || height > INT32_MAX)
    return DataError("broken PNG: its header has an impossible size");
  ImageInfo info;
  info.format = ImageFormat::kPng;
  info.width = static_cast<int>(width);
  info.height = static_cast<int>(height);
  switch (data[25]) {
    case 0:
      info.channels = 1;
      break;
    case 2:
      info.channels = 3;
      break;
    case 3:
      info.channels = 3;
      break;
    case 4:
      info.channels = 2;
      break;
    case 6:
      info.channels = 4;
      break;
    default:
      return DataError("broken PNG: its header has an unknown colour type");
  }
  return info;
}

Result<ImageInfo> ProbeWebp(const uint8_t* data, int64_t size) {
  WebPBitstreamFeatures features;
  const VP8StatusCode code = WebPGetFeatures(data, static_cast<size_t>(size), &features);
  if (code == VP8_STATUS_NOT_ENOUGH_DATA) return DataError("broken WebP: it ends before its header");
  if (code != VP8_STATUS_OK) return DataError("broken WebP: its header cannot be read");
  ImageInfo info;
  info.format = ImageFormat::kWebp;
  info.width = features.width;
  info.height = features.height;
  info.channels = features.has_alpha ? 4 : 3;
  return info;
}

}  // namespace

std::string_view ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "jpg";
    case ImageFormat::kPng:
      return "png";
    case ImageFormat::kWebp:
      return "webp";
    case ImageFormat::kUnknown:
      break;
  }
  return "";
}

Result<ImageFormat> ParseImageFormat(std::string_view name) {
  if (name == "jpg" || name == "jpeg") return ImageFormat::kJpeg;
  if (name == "png") return ImageFormat::kPng;
  if (name == "webp") return ImageFormat::kWebp;
  return UserError("unknown image format '" + std::string(name) + "'", "use jpg, png or webp");
}

ImageFormat DetectImageFormat(const uint8_t* data, int64_t size) {
  if (StartsWith(data, size, "\xFF\xD8\xFF")) return ImageFormat::kJpeg;
  if (StartsWith(data, size, "\x89PNG\r\n\x1A\n")) return ImageFormat::kPng;
  if (StartsWith(data, size, "RIFF") && StartsWith(data, size, "WEBP", 8)) return ImageFormat::kWebp;
  return ImageFormat::kUnknown;
}

Result<ImageInfo> ProbeImage(const uint8_t* data, int64_t size) {
  if (size == 0) return DataError("the image is empty (0 bytes)");
  switch (DetectImageFormat(data, size)) {
    case ImageFormat::kJpeg:
      return ProbeJpeg(data, size);
    case ImageFormat::kPng:
      return ProbePng(data, size);
    case ImageFormat::kWebp:
      return ProbeWebp(data, size);
    case ImageFormat::kUnknown:
      break;
  }
  const std::string_view name = UnsupportedFormatName(data, size);
  if (name == "HTML") return DataError("not an image: the bytes are an HTML page");
  if (!name.empty()) {
    return DataError("image format " + std::string(name) + " is not supported",
                     "convert it to JPEG, PNG or WebP first");
  }
  return DataError("not an image: the bytes are no JPEG, PNG or WebP");
}

Status CheckLimits(int64_t width, int64_t height, int64_t max_image_pixels) {
  if (width <= 0 || height <= 0) return DataError("the image has no pixels");
  if (height > max_image_pixels / width) {
    return DataError("the image has " + std::to_string(width) + " x " + std::to_string(height) +
                         " pixels, over max_image_pixels=" + std::to_string(max_image_pixels),
                     "raise max_image_pixels if such images are expected");
  }
  return Status::OK();
}

Result<Image> Image::Allocate(int width, int height, int channels, arrow::MemoryPool* pool) {
  Image image;
  image.width = width;
  image.height = height;
  image.channels = channels;
  ARROW_ASSIGN_OR_RAISE(image.buffer, arrow::AllocateBuffer(image.size_bytes() + kRowPadding, pool));
  std::memset(image.buffer->mutable_data() + image.size_bytes(), 0, kRowPadding);
  return image;
}

uint8_t* Image::row(int y) { return buffer->mutable_data() + y * stride_bytes(); }

void CompositeOnWhite(const uint8_t* rgba, int64_t pixels, uint8_t* rgb) {
  for (int64_t i = 0; i < pixels; ++i) {
    const int alpha = rgba[4 * i + 3];
    for (int c = 0; c < 3; ++c) {
      rgb[3 * i + c] = static_cast<uint8_t>((rgba[4 * i + c] * alpha + 127) / 255 + 255 - alpha);
    }
  }
}

ImageView Image::view() const { return {buffer->data(), width, height, channels, stride_bytes()}; }

}  // namespace partita
