#include "components/image/resize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "components/image/image_samples.h"
#include "components/image/resize_kernels.h"

namespace partita {
namespace {

using samples::Compare;
using samples::Photo;
using samples::Pool;

struct Window {
  int x = 0, y = 0, width = 0, height = 0;
};

Image Resized(const Image& in, int width, int height, Interpolation interpolation, Window window,
              BudgetPool* pool) {
  ResizeAxis x = ResizeAxis::Whole(in.width, width);
  ResizeAxis y = ResizeAxis::Whole(in.height, height);
  x.crop_begin = window.x;
  x.crop_count = window.width;
  y.crop_begin = window.y;
  y.crop_count = window.height;
  Image out = *Image::Allocate(window.width, window.height, in.channels, pool);
  auto resizer = *RowResizer::Make(x, y, in.channels, interpolation, out.row(0), out.stride_bytes(), pool);
  const ImageView view = in.view();
  for (int r = resizer->row_begin(); r < resizer->row_end(); ++r) {
    resizer->Push(view.row(r) + resizer->column_begin() * in.channels);
  }
  return out;
}

Image Resized(const Image& in, int width, int height, Interpolation interpolation, BudgetPool* pool) {
  return Resized(in, width, height, interpolation, {0, 0, width, height}, pool);
}

// The definition, in floating point.
double BoxAverage(const Image& in, int c, double x0, double x1, double y0, double y1) {
  double sum = 0, area = 0;
  const ImageView view = in.view();
  for (int y = static_cast<int>(y0); y < y1 && y < in.height; ++y) {
    const double h = std::min(y1, y + 1.0) - std::max(y0, static_cast<double>(y));
    for (int x = static_cast<int>(x0); x < x1 && x < in.width; ++x) {
      const double w = std::min(x1, x + 1.0) - std::max(x0, static_cast<double>(x));
      sum += w * h * view.row(y)[x * in.channels + c];
      area += w * h;
    }
  }
  return sum / area;
}

TEST(Resize, AreaIsTheBoxAverage) {
  auto pool = Pool();
  for (const int channels : {1, 3, 4}) {
    const Image in = Photo(301, 203, channels, pool.get());
    for (const auto& [width, height] :
         std::vector<std::pair<int, int>>{{100, 100}, {300, 202}, {7, 5}, {1, 1}, {301, 50}}) {
      const Image out = Resized(in, width, height, Interpolation::kArea, pool.get());
      for (int y = 0; y < height; ++y) {
        for (int i = 0; i < width * channels; ++i) {
          const int x = i / channels;
          const double exact = BoxAverage(in, i % channels, x * 301.0 / width, (x + 1) * 301.0 / width,
                                          y * 203.0 / height, (y + 1) * 203.0 / height);
          ASSERT_NEAR(out.view().row(y)[i], exact, 0.51) << width << "x" << height << " at " << x << "," << y;
        }
      }
    }
  }
}

TEST(Resize, EvenAreaOfFlatImagesIsExact) {
  auto pool = Pool();
  for (const int value : {0, 1, 127, 254, 255}) {
    Image in = *Image::Allocate(640, 480, 3, pool.get());
    std::fill(in.row(0), in.row(0) + in.size_bytes(), static_cast<uint8_t>(value));
    for (const auto interpolation : {Interpolation::kNearest, Interpolation::kLinear, Interpolation::kCubic,
                                     Interpolation::kArea, Interpolation::kLanczos}) {
      for (const int size : {1, 37, 256, 639, 640, 700, 1300}) {
        const Image out = Resized(in, size, size, interpolation, pool.get());
        for (int64_t i = 0; i < out.size_bytes(); ++i) ASSERT_EQ(out.buffer->data()[i], value);
      }
    }
  }
}

TEST(Resize, TheSameSizeIsACopy) {
  auto pool = Pool();
  const Image in = Photo(63, 41, 3, pool.get());
  for (const auto interpolation : {Interpolation::kNearest, Interpolation::kLinear, Interpolation::kCubic,
                                   Interpolation::kArea, Interpolation::kLanczos}) {
    EXPECT_EQ(Compare(in, Resized(in, 63, 41, interpolation, pool.get())).worst, 0);
  }
}

TEST(Resize, AWindowIsAPartOfTheWhole) {
  auto pool = Pool();
  const Image in = Photo(200, 150, 3, pool.get());
  for (const auto interpolation : {Interpolation::kNearest, Interpolation::kLinear, Interpolation::kCubic,
                                   Interpolation::kArea, Interpolation::kLanczos}) {
    for (const int size : {64, 190, 333}) {
      const Image whole = Resized(in, size, size, interpolation, pool.get());
      const Window window{size / 3, size / 5, size / 2, size / 4};
      const Image part = Resized(in, size, size, interpolation, window, pool.get());
      for (int y = 0; y < part.height; ++y) {
        for (int i = 0; i < part.width * 3; ++i) {
          ASSERT_EQ(part.view().row(y)[i], whole.view().row(y + window.y)[window.x * 3 + i]);
        }
      }
    }
  }
}

TEST(Resize, NearestTakesTheFloor) {
  auto pool = Pool();
  const Image in = Photo(10, 7, 1, pool.get());
  const Image out = Resized(in, 23, 3, Interpolation::kNearest, pool.get());
  for (int y = 0; y < 3; ++y) {
    for (int x = 0; x < 23; ++x) EXPECT_EQ(out.view().row(y)[x], in.view().row(y * 7 / 3)[x * 10 / 23]);
  }
}

TEST(Resize, LinearUpscaleMatchesTheDefinition) {
  auto pool = Pool();
  const Image in = Photo(20, 10, 1, pool.get());
  const Image out = Resized(in, 50, 31, Interpolation::kLinear, pool.get());
  const ImageView view = in.view();
  auto clamp = [](int v, int n) { return std::min(std::max(v, 0), n - 1); };
  for (int y = 0; y < 31; ++y) {
    for (int x = 0; x < 50; ++x) {
      const double sx = (x + 0.5) * 20 / 50 - 0.5, sy = (y + 0.5) * 10 / 31 - 0.5;
      const int x0 = static_cast<int>(std::floor(sx)), y0 = static_cast<int>(std::floor(sy));
      const double fx = sx - x0, fy = sy - y0;
      auto at = [&](int yy, int xx) { return view.row(clamp(yy, 10))[clamp(xx, 20)]; };
      const double exact = (1 - fy) * ((1 - fx) * at(y0, x0) + fx * at(y0, x0 + 1)) +
                           fy * ((1 - fx) * at(y0 + 1, x0) + fx * at(y0 + 1, x0 + 1));
      ASSERT_NEAR(out.view().row(y)[x], exact, 0.6);
    }
  }
}

TEST(Resize, ExtremeShapes) {
  auto pool = Pool();
  for (const auto& [w, h] : std::vector<std::pair<int, int>>{{1, 1}, {1, 999}, {5000, 1}, {2, 3}}) {
    const Image in = Photo(w, h, 3, pool.get());
    for (const auto interpolation : {Interpolation::kNearest, Interpolation::kLinear, Interpolation::kCubic,
                                     Interpolation::kArea, Interpolation::kLanczos}) {
      for (const int size : {1, 2, 64}) Resized(in, size, size, interpolation, pool.get());
    }
  }
}

TEST(Resize, EveryInstructionSetGivesTheSameBytes) {
  const ResizeKernels& a = PortableResizeKernels();
  const ResizeKernels& b = BestResizeKernels();
  uint32_t state = 7;
  constexpr int kPixels = 333;
  FilterTaps taps;
  taps.stride = 5;
  for (int i = 0; i < 100; ++i) {
    taps.first.push_back(i * 3);
    taps.count.push_back(1 + i % 5);
    for (int t = 0; t < 5; ++t) taps.weights.push_back(t < taps.count[i] ? 65536 / taps.count[i] : 0);
  }
  taps.source_end = kPixels;
  for (const int channels : {1, 3, 4}) {
    const int64_t n = kPixels * channels;
    std::vector<uint8_t> row(n + 16);
    for (auto& v : row) v = static_cast<uint8_t>(samples::Random(&state));
    std::vector<uint32_t> sums_a(n + 16), sums_b(n + 16);
    std::vector<uint8_t> out_a(n), out_b(n);
    for (const ResizeKernels* k : {&a, &b}) {
      auto& sums = k == &a ? sums_a : sums_b;
      auto& out = k == &a ? out_a : out_b;
      k->start_row(row.data(), 30000, n, sums.data());
      k->add_row(row.data(), 35536, n, sums.data());
      k->finish_area_row(sums.data(), n, taps, channels, out.data());
      std::vector<int32_t> filtered(n + 16), scratch(n + 16);
      FilterTaps quarter = taps;
      for (auto& w : quarter.weights) w = w / 4 - 100;
      k->filter_row(row.data(), quarter, channels, filtered.data());
      const int32_t* rows[] = {filtered.data(), filtered.data()};
      const int32_t weights[] = {20000, -3616};
      k->mix_rows(rows, weights, 2, 100 * channels, scratch.data(), out.data() + 100 * channels);
    }
    EXPECT_EQ(sums_a, sums_b);
    EXPECT_EQ(out_a, out_b);
  }
}

TEST(Resize, RefusedMemoryIsAnError) {
  auto pool = Pool(64 << 10);
  std::vector<uint8_t> out(3 * 4000);
  const auto resizer = RowResizer::Make(ResizeAxis::Whole(1 << 20, 4000), ResizeAxis::Whole(10, 1), 3,
                                        Interpolation::kArea, out.data(), 3 * 4000, pool.get());
  ASSERT_FALSE(resizer.ok());
  EXPECT_TRUE(resizer.status().IsOutOfMemory());
}

}  // namespace
}  // namespace partita
