// From pixels to encoded bytes, whatever the format.
#pragma once

#include <memory>

#include "components/image/image.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

// jpg and webp: 0..100; png: zlib level 0..9.
int DefaultQuality(ImageFormat format);
// User error where `quality` is out of the format's range.
Status CheckQuality(ImageFormat format, int64_t quality);

// RGBA is laid on white where the format has no alpha (jpg).
Result<std::shared_ptr<arrow::Buffer>> EncodeImage(const ImageView& image, ImageFormat format, int quality,
                                                   BudgetPool* pool);

}  // namespace partita
