// An image as hostile bytes, through probing, EXIF, decoding, resizing and encoding. The first byte chooses
// the options.
#include <cstdint>
#include <cstdlib>

#include <arrow/buffer.h>

#include "components/image/image.h"
#include "components/image/resize_images.h"
#include "partita/memory/budget.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t choice = data[0];
  partita::ResizeOptions options;
  options.mode = static_cast<partita::ResizeMode>(choice % 6);
  options.width = 48;
  options.height = choice & 64 ? 48 : 31;
  options.downscale = choice & 8 ? partita::Interpolation::kArea : partita::Interpolation::kLanczos;
  options.apply_exif_orientation = (choice & 16) != 0;
  options.extract_exif = true;
  options.skip_reencode = (choice & 32) != 0;
  options.max_image_pixels = 1 << 20;
  const auto pool = partita::Budget::Make(64 << 20)->root();
  {
    const auto made = partita::ResizeImage(data + 1, static_cast<int64_t>(size - 1), options, pool.get());
    if (made.ok() && !partita::ProbeImage(made->bytes->data(), made->bytes->size()).ok()) std::abort();
    if (!made.ok() && partita::KindOf(made.status()) != partita::ErrorKind::kData &&
        !made.status().IsOutOfMemory()) {
      std::abort();
    }
  }
  if (pool->bytes_allocated() != 0) std::abort();
  return 0;
}
