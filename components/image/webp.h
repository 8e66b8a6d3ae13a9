// WebP by libwebp: lossy and lossless; of an animation, its first frame on its canvas.
#pragma once

#include <cstdint>
#include <memory>

#include "components/image/image.h"
#include "components/image/image_reader.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

Result<std::unique_ptr<ImageReader>> OpenWebp(const uint8_t* data, int64_t size, AlphaMode alpha,
                                              BudgetPool* pool);

// Lossy, quality 0..100. Gray, RGB or RGBA.
Result<std::shared_ptr<arrow::Buffer>> EncodeWebp(const ImageView& image, int quality, BudgetPool* pool);

}  // namespace partita
