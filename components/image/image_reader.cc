#include "components/image/image_reader.h"

#include "components/image/jpeg.h"
#include "components/image/png.h"
#include "components/image/webp.h"

namespace partita {

Result<std::unique_ptr<ImageReader>> OpenImage(const uint8_t* data, int64_t size, AlphaMode alpha,
                                               int64_t max_image_pixels, BudgetPool* pool) {
  ARROW_ASSIGN_OR_RAISE(const ImageInfo info, ProbeImage(data, size));
  ARROW_RETURN_NOT_OK(CheckLimits(info.width, info.height, max_image_pixels));
  switch (info.format) {
    case ImageFormat::kJpeg:
      return OpenJpeg(data, size, pool);
    case ImageFormat::kPng:
      return OpenPng(data, size, alpha, pool);
    case ImageFormat::kWebp:
      return OpenWebp(data, size, alpha, pool);
    case ImageFormat::kUnknown:
      break;
  }
  return BugError("an image of no format");
}

}  // namespace partita
