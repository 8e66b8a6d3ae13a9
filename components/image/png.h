// PNG by libpng: all colour types, bit depths and interlacing become 8-bit gray, RGB or RGBA. A wrong
// checksum, a missing end, or any damage is an error. Chunks that are not needed for pixels are not read.
#pragma once

#include <cstdint>
#include <memory>

#include "components/image/image.h"
#include "components/image/image_reader.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

Result<std::unique_ptr<ImageReader>> OpenPng(const uint8_t* data, int64_t size, AlphaMode alpha,
                                             BudgetPool* pool);

// level: zlib's 0 (none) .. 9 (smallest). Gray, RGB or RGBA. No time, no text: the same pixels give the same
// bytes.
Result<std::shared_ptr<arrow::Buffer>> EncodePng(const ImageView& image, int level, BudgetPool* pool);

}  // namespace partita
