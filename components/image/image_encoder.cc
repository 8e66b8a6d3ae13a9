#include "components/image/image_encoder.h"

#include <arrow/buffer.h>

#include <string>

#include "components/image/jpeg.h"
#include "components/image/png.h"
#include "components/image/webp.h"
#include "partita/memory/budget.h"

namespace partita {

int DefaultQuality(ImageFormat format) { return format == ImageFormat::kPng ? 6 : 95; }

Status CheckQuality(ImageFormat format, int64_t quality) {
  const int most = format == ImageFormat::kPng ? 9 : 100;
  if (quality >= 0 && quality <= most) return Status::OK();
  const std::string range = "0 to " + std::to_string(most);
  if (format == ImageFormat::kPng) {
    return UserError(
        "for png the quality is the compression level, " + range + ", not " + std::to_string(quality),
        "set it to 6, or leave it out");
  }
  return UserError("the quality of " + std::string(ImageFormatName(format)) + " is " + range + ", not " +
                   std::to_string(quality));
}

Result<std::shared_ptr<arrow::Buffer>> EncodeImage(const ImageView& image, ImageFormat format, int quality,
                                                   BudgetPool* pool) {
  switch (format) {
    case ImageFormat::kPng:
      return EncodePng(image, quality, pool);
    case ImageFormat::kWebp:
      return EncodeWebp(image, quality, pool);
    case ImageFormat::kJpeg: {
      if (image.channels != 4) return EncodeJpeg(image, quality, pool);
      ARROW_ASSIGN_OR_RAISE(Image opaque, Image::Allocate(image.width, image.height, 3, pool));
      for (int y = 0; y < image.height; ++y) CompositeOnWhite(image.row(y), image.width, opaque.row(y));
      return EncodeJpeg(opaque.view(), quality, pool);
    }
    case ImageFormat::kUnknown:
      break;
  }
  return BugError("encoding to no format");
}

}  // namespace partita
