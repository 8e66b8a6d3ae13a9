// Pictures for the tests of this folder: made, never read from disk.
#pragma once

#include <arrow/buffer.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <cstdio>  // jpeglib.h needs FILE
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include <jpeglib.h>

#include "components/image/image.h"
#include "components/image/image_reader.h"
#include "components/image/resize_images.h"
#include "partita/memory/budget.h"

namespace partita::samples {

inline std::shared_ptr<BudgetPool> Pool(int64_t limit_bytes = int64_t{1} << 30) {
  return Budget::Make(limit_bytes)->root();
}

inline uint32_t Random(uint32_t* state) {
  *state = *state * 1664525u + 1013904223u;
  return *state >> 8;
}

// Something like a photo: gradients, waves, edges and noise.
inline Image Photo(int width, int height, int channels, BudgetPool* pool, uint32_t seed = 1) {
  Image image = *Image::Allocate(width, height, channels, pool);
  uint32_t state = seed;
  const int edge = static_cast<int>(Random(&state) % 40) + 20;
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool inside = (x / edge + y / (edge + 7)) % 2 == 0;
      const double wave = std::sin(x * 0.05 + seed) * std::cos(y * 0.031) * 60;
      for (int c = 0; c < channels; ++c) {
        double value = 110 + wave * (c == 1 ? 1 : 0.6) + (inside ? 40 - 20 * c : -30) + x * 30.0 / width;
        value += static_cast<int>(Random(&state) % 9) - 4;
        if (c == 3) value = inside ? 255 : 128 + wave;
        image.row(y)[x * channels + c] = static_cast<uint8_t>(std::min(255.0, std::max(0.0, value)));
      }
    }
  }
  return image;
}

struct JpegShape {
  int quality = 90;
  int h_samp = 2, v_samp = 2;
  bool progressive = false;
  int restart_interval = 0;
  bool cmyk = false;  // `image` has 4 channels: ink as it is stored
};

inline std::string Jpeg(const Image& image, JpegShape shape = {}) {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* bytes = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &bytes, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = image.channels;
  info.in_color_space = shape.cmyk ? JCS_CMYK : image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, shape.quality, TRUE);
  if (image.channels == 3) {
    info.comp_info[0].h_samp_factor = shape.h_samp;
    info.comp_info[0].v_samp_factor = shape.v_samp;
  }
  info.restart_interval = static_cast<unsigned>(shape.restart_interval);
  if (shape.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  const ImageView view = image.view();
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<JSAMPROW>(view.row(static_cast<int>(info.next_scanline)));
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  std::string result(reinterpret_cast<char*>(bytes), size);
  jpeg_destroy_compress(&info);
  std::free(bytes);
  return result;
}

inline const uint8_t* Data(const std::string& bytes) {
  return reinterpret_cast<const uint8_t*>(bytes.data());
}
inline std::string Text(const std::shared_ptr<arrow::Buffer>& buffer) { return buffer->ToString(); }

inline Result<ResizedImage> Resize(const std::string& bytes, const ResizeOptions& options, BudgetPool* pool) {
  return ResizeImage(Data(bytes), static_cast<int64_t>(bytes.size()), options, pool);
}

// All pixels, at n/8.
inline Result<Image> Decode(const std::string& bytes, BudgetPool* pool, AlphaMode alpha = AlphaMode::kOnWhite,
                            int n = 8) {
  ARROW_ASSIGN_OR_RAISE(auto reader, OpenImage(Data(bytes), static_cast<int64_t>(bytes.size()), alpha,
                                               kDefaultMaxImagePixels, pool));
  ARROW_ASSIGN_OR_RAISE(Image image, Image::Allocate(reader->ScaledWidth(n), reader->ScaledHeight(n),
                                                     reader->channels(), pool));
  ARROW_RETURN_NOT_OK(reader->Start(n, 0, image.width));
  ARROW_RETURN_NOT_OK(reader->ReadRows(image.height, image.row(0), image.stride_bytes()));
  ARROW_RETURN_NOT_OK(reader->Finish());
  return image;
}

struct Difference {
  double mean = 0;
  int worst = 0;
};

inline Difference Compare(const Image& a, const Image& b) {
  EXPECT_EQ(a.width, b.width);
  EXPECT_EQ(a.height, b.height);
  EXPECT_EQ(a.channels, b.channels);
  Difference difference;
  if (a.size_bytes() != b.size_bytes()) return {255, 255};
  int64_t sum = 0;
  for (int64_t i = 0; i < a.size_bytes(); ++i) {
    const int d = std::abs(a.buffer->data()[i] - b.buffer->data()[i]);
    sum += d;
    difference.worst = std::max(difference.worst, d);
  }
  difference.mean = static_cast<double>(sum) / static_cast<double>(a.size_bytes());
  return difference;
}

}  // namespace partita::samples
