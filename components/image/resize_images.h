// Decode, resize, encode: one image from encoded bytes to encoded bytes. The core of the step `resize_images`
// and of `download_images`. Modes, arguments and messages follow img2dataset's resizer; docs/steps/image.md
// tells the differences.
//
// Thread-safe; deterministic: the output bytes depend only on input bytes and options.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "components/image/image.h"
#include "components/image/resize.h"
#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/pipeline/step_spec.h"

namespace arrow {
class Buffer;
}

namespace partita {

class BudgetPool;

enum class ResizeMode {
  kNo,                // pixels stay
  kBorder,            // fit into the box, then pad with white to exactly the box
  kKeepRatio,         // cover the box: the shortest side becomes `size`
  kKeepRatioLargest,  // fit into the box: the longest side becomes `size`
  kCenterCrop,        // cover the box, then cut its centre
  kFixed,             // exactly the box, the ratio is lost
};

struct ResizeOptions {
  ResizeMode mode = ResizeMode::kBorder;
  int width = 256;  // the box, pixels
  int height = 256;
  bool resize_only_if_bigger = false;
  Interpolation upscale = Interpolation::kLanczos;
  Interpolation downscale = Interpolation::kArea;

  ImageFormat encode_format = ImageFormat::kJpeg;
  int encode_quality = 95;  // jpg, webp: 0..100; png: compression level 0..9
  bool skip_reencode =
      false;  // keep the original bytes where pixels and format stay (they are still checked)
  bool disable_all_reencoding = false;  // pass bytes through unseen

  int min_image_size = 0;                             // shortest side, pixels
  double max_image_area = 0;                          // pixels; 0: any
  double max_aspect_ratio = 0;                        // longest / shortest side; 0: any
  int64_t max_image_pixels = kDefaultMaxImagePixels;  // decompression bombs

  bool apply_exif_orientation = false;
  bool extract_exif = false;

  // JPEG is decoded at the DCT scale the target allows; false: always at full size. For measurements.
  bool scaled_decode = true;
};

// From normalised arguments of ResizeArgSpecs(); names that are not of this list are ignored. User errors.
Result<ResizeOptions> ResizeOptionsFromArgs(const Json& args);
// size, mode, ...: without the name of the image column.
std::vector<ArgSpec> ResizeArgSpecs();

struct ResizedImage {
  std::shared_ptr<arrow::Buffer> bytes;  // encoded
  int width = 0,
      height = 0;  // of `bytes`; 0: not known (disable_all_reencoding of something that is no image)
  int original_width = 0, original_height = 0;
  std::string exif_json;  // with extract_exif: a JSON object, "{}" where there is none
  std::string format;     // of `bytes`, seen in them: "jpg", "png", "webp"; "" where not known
};

// `data` is only read during the call. Pixels and output come from `pool`, codec scratch is reserved there.
// Errors: data (broken, unsupported, "image too small", "image area too large", "aspect ratio too large"),
// out of memory as it comes.
Result<ResizedImage> ResizeImage(const uint8_t* data, int64_t size, const ResizeOptions& options,
                                 BudgetPool* pool);

}  // namespace partita
