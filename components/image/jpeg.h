// JPEG by libjpeg-turbo. Decoding is by rows, at full size or at n/8 of it (the inverse DCT makes the smaller
// picture directly), and of a window only. Damage of any pixel is an error, never a grey patch: a file that
// ends early, lost synchronisation, bad codes. Progressive files are limited in scans (decompression bombs).
//
// The accurate integer DCT and fancy upsampling are used, so the pixels do not depend on the machine. A
// decoder is made anew for every image: a reused one would lend its tables to a file that lacks them.
#pragma once

#include <cstdint>
#include <memory>

#include "components/image/image.h"
#include "components/image/image_reader.h"
#include "partita/base/error.h"

namespace partita {

class BudgetPool;

// The n of n/8 at which a JPEG of width x height may be decoded when a box average then makes it output_width
// x output_height: 1, 2, 4 or 8. At these scales libjpeg's inverse DCT gives the box average of the full
// decode, so what differs is only how a decoded pixel is shared by two output pixels. Where none is shared
// the result is the same up to rounding, and the smallest scale is taken; else the decode must stay larger
// than the output by a factor that was measured: docs/image_quality.md.
int JpegScaleFor(int width, int height, int output_width, int output_height);

// Rows are gray or RGB (also for CMYK). Reserves the decoder's memory when it starts.
Result<std::unique_ptr<ImageReader>> OpenJpeg(const uint8_t* data, int64_t size, BudgetPool* pool);

// quality 0..100; 4:2:0 chroma (gray stays gray), standard Huffman tables. RGB or gray only.
Result<std::shared_ptr<arrow::Buffer>> EncodeJpeg(const ImageView& image, int quality, BudgetPool* pool);

}  // namespace partita
