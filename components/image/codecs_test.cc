// The codecs through the reader: what goes in comes out, and damage is an error.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "components/image/image_encoder.h"
#include "components/image/image_samples.h"
#include "components/image/jpeg.h"
#include "components/image/png.h"

namespace partita {
namespace {

using samples::Compare;
using samples::Data;
using samples::Decode;
using samples::Jpeg;
using samples::JpegShape;
using samples::Photo;
using samples::Pool;
using testing::HasSubstr;

std::string Encode(const Image& image, ImageFormat format, int quality, BudgetPool* pool) {
  return (*EncodeImage(image.view(), format, quality, pool))->ToString();
}

TEST(Codecs, PngRoundTripIsExact) {
  auto pool = Pool();
  for (const int channels : {1, 3, 4}) {
    for (const int level : {0, 6, 9}) {
      const Image image = Photo(61, 47, channels, pool.get());
      const std::string bytes = Encode(image, ImageFormat::kPng, level, pool.get());
      EXPECT_EQ(Compare(image, *Decode(bytes, pool.get(), AlphaMode::kKeep)).worst, 0);
    }
  }
}

TEST(Codecs, JpegAndWebpAreNear) {
  auto pool = Pool();
  const Image image = Photo(200, 120, 3, pool.get());
  for (const auto format : {ImageFormat::kJpeg, ImageFormat::kWebp}) {
    const std::string bytes = Encode(image, format, 95, pool.get());
    EXPECT_EQ(bytes, Encode(image, format, 95, pool.get()));
    EXPECT_EQ(DetectImageFormat(Data(bytes), static_cast<int64_t>(bytes.size())), format);
    EXPECT_LT(Compare(image, *Decode(bytes, pool.get())).mean, 4);
  }
  const Image gray = Photo(50, 40, 1, pool.get());
  EXPECT_EQ((*Decode(Encode(gray, ImageFormat::kJpeg, 95, pool.get()), pool.get())).channels, 1);
  EXPECT_EQ((*Decode(Encode(gray, ImageFormat::kWebp, 95, pool.get()), pool.get())).channels, 3);
}

TEST(Codecs, TransparencyIsLaidOnWhite) {
  auto pool = Pool();
  const Image image = Photo(30, 20, 4, pool.get());
  for (const auto format : {ImageFormat::kPng, ImageFormat::kWebp}) {
    const Image flat = *Decode(Encode(image, format, 9, pool.get()), pool.get());
    ASSERT_EQ(flat.channels, 3);
    if (format == ImageFormat::kWebp) continue;  // lossy
    for (int i = 0; i < 600; ++i) {
      const uint8_t* p = image.view().row(0) + 4 * i;
      for (int c = 0; c < 3; ++c) {
        ASSERT_EQ(flat.view().row(0)[3 * i + c], std::rint(p[3] / 255.0 * p[c] + 255 - p[3]));
      }
    }
  }
}

// A window and skipped rows must give exactly the pixels of the whole decode, for every scale and
// subsampling.
TEST(Codecs, JpegWindowsAreExact) {
  auto pool = Pool();
  const Image image = Photo(333, 222, 3, pool.get());
  const std::vector<JpegShape> shapes = {{.h_samp = 1, .v_samp = 1}, {.h_samp = 2, .v_samp = 1},
                                         {.h_samp = 2, .v_samp = 2}, {.h_samp = 1, .v_samp = 2},
                                         {.h_samp = 4, .v_samp = 1}, {.progressive = true},
                                         {.restart_interval = 3}};
  for (const JpegShape& shape : shapes) {
    const std::string bytes = Jpeg(image, shape);
    for (const int n : {1, 2, 3, 4, 5, 6, 7, 8}) {
      const Image whole = *Decode(bytes, pool.get(), AlphaMode::kOnWhite, n);
      for (const auto& [begin, end] :
           std::vector<std::pair<double, double>>{{0, 1}, {0.2, 0.7}, {0.55, 0.6}, {0.3, 1}}) {
        auto reader = *OpenImage(Data(bytes), static_cast<int64_t>(bytes.size()), AlphaMode::kOnWhite,
                                 1 << 30, pool.get());
        const int x0 = static_cast<int>(begin * whole.width),
                  x1 = std::max(x0 + 1, static_cast<int>(end * whole.width));
        const int y0 = static_cast<int>(begin * whole.height),
                  y1 = std::max(y0 + 1, static_cast<int>(end * whole.height));
        ASSERT_TRUE(reader->Start(n, x0, x1).ok());
        ASSERT_LE(reader->first_column(), x0);
        ASSERT_GE(reader->first_column() + reader->delivered_columns(), x1);
        ASSERT_TRUE(reader->SkipRows(y0).ok());
        Image part = *Image::Allocate(reader->delivered_columns(), y1 - y0, 3, pool.get());
        ASSERT_TRUE(reader->ReadRows(part.height, part.row(0), part.stride_bytes()).ok());
        ASSERT_TRUE(reader->Finish().ok());
        for (int y = y0; y < y1; ++y) {
          for (int x = x0; x < x1; ++x) {
            for (int c = 0; c < 3; ++c) {
              ASSERT_EQ(part.view().row(y - y0)[(x - reader->first_column()) * 3 + c],
                        whole.view().row(y)[x * 3 + c])
                  << "n=" << n << " samp " << shape.h_samp << "x" << shape.v_samp << " progressive "
                  << shape.progressive << " at " << x << "," << y << " window " << x0 << ".." << x1;
            }
          }
        }
      }
    }
  }
}

TEST(Codecs, CmykBecomesRgb) {
  auto pool = Pool();
  Image ink = *Image::Allocate(32, 32, 4, pool.get());
  for (int i = 0; i < 32 * 32;
       ++i) {  // Adobe's inverted CMYK: full cyan off, half magenta, no yellow, no black
    const uint8_t pixel[] = {255, 128, 255, 255};
    std::copy(pixel, pixel + 4, ink.row(0) + 4 * i);
  }
  const Image rgb = *Decode(Jpeg(ink, {.quality = 100, .cmyk = true}), pool.get());
  ASSERT_EQ(rgb.channels, 3);
  EXPECT_NEAR(rgb.view().row(9)[0], 255, 2);
  EXPECT_NEAR(rgb.view().row(9)[1], 128, 2);
  EXPECT_NEAR(rgb.view().row(9)[2], 255, 2);
}

TEST(Codecs, EveryTruncationIsAnError) {
  auto pool = Pool();
  const Image image = Photo(40, 33, 3, pool.get());
  const std::vector<std::string> files = {
      Jpeg(image), Jpeg(image, {.progressive = true}), Encode(image, ImageFormat::kPng, 6, pool.get()),
      Encode(image, ImageFormat::kWebp, 90, pool.get()),
      Encode(Photo(20, 20, 4, pool.get()), ImageFormat::kWebp, 90, pool.get())};
  for (const std::string& file : files) {
    ASSERT_TRUE(Decode(file, pool.get()).ok());
    const int64_t before_bytes = pool->bytes_allocated();
    for (size_t size = 0; size < file.size(); ++size) {
      // A copy of exactly that size, so that a sanitizer sees a read behind it.
      const std::vector<char> copy(file.begin(), file.begin() + static_cast<int64_t>(size));
      const Result<Image> decoded = Decode(std::string(copy.begin(), copy.end()), pool.get());
      ASSERT_FALSE(decoded.ok()) << size << " of " << file.size();
      EXPECT_EQ(KindOf(decoded.status()), ErrorKind::kData) << decoded.status().ToString();
    }
    EXPECT_EQ(pool->bytes_allocated(), before_bytes);
  }
}

TEST(Codecs, BitFlipsNeverCrash) {
  auto pool = Pool(64 << 20);
  const Image image = Photo(40, 33, 3, pool.get());
  const std::vector<std::string> files = {
      Jpeg(image), Jpeg(image, {.progressive = true, .restart_interval = 2}),
      Encode(image, ImageFormat::kPng, 6, pool.get()), Encode(image, ImageFormat::kWebp, 90, pool.get())};
  uint32_t state = 3;
  for (const std::string& file : files) {
    for (int round = 0; round < 400; ++round) {
      std::string broken = file;
      const int flips = 1 + static_cast<int>(samples::Random(&state) % 3);
      for (int i = 0; i < flips; ++i) {
        broken[samples::Random(&state) % broken.size()] ^=
            static_cast<char>(1 << samples::Random(&state) % 8);
      }
      const Result<Image> decoded = Decode(broken, pool.get());
      if (decoded.ok()) continue;
      const ErrorKind kind = KindOf(decoded.status());
      EXPECT_TRUE(kind == ErrorKind::kData || kind == ErrorKind::kResource) << decoded.status().ToString();
    }
  }
}

TEST(Codecs, HugeHeadersAreRefusedBeforeAllocating) {
  auto pool = Pool(8 << 20);
  std::string png = Encode(Photo(8, 8, 3, pool.get()), ImageFormat::kPng, 6, pool.get());
  png.replace(16, 8, std::string("\x7f\xff\xff\xff\x7f\xff\xff\xff", 8));
  const Status status = Decode(png, pool.get()).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_THAT(MessageOf(status), HasSubstr("max_image_pixels"));

  // Within the pixel limit, over the budget: the JPEG's coefficients are claimed before libjpeg asks for
  // them.
  std::string jpeg = Jpeg(Photo(16, 16, 3, pool.get()), {.progressive = true});
  const size_t frame = jpeg.find("\xff\xc2");
  ASSERT_NE(frame, std::string::npos);
  jpeg.replace(frame + 5, 4, std::string("\x27\x10\x27\x10", 4));  // 10000 x 10000
  EXPECT_TRUE(Decode(jpeg, pool.get()).status().IsOutOfMemory());
  EXPECT_EQ(pool->bytes_allocated(), 0);
}

TEST(Codecs, EndlessProgressiveScansAreRefused) {
  auto pool = Pool();
  const std::string file = Jpeg(Photo(64, 64, 3, pool.get()), {.progressive = true});
  const size_t begin = file.find("\xff\xda");
  size_t end = begin + 2;
  while (!(file[end] == '\xff' && (file[end + 1] == '\xda' || file[end + 1] == '\xc4'))) ++end;
  std::string bomb = file.substr(0, begin);
  for (int i = 0; i < 600; ++i) bomb += file.substr(begin, end - begin);
  bomb += file.substr(end);
  const Status status = Decode(bomb, pool.get()).status();
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
  EXPECT_THAT(MessageOf(status), HasSubstr("broken JPEG"));
}

TEST(Codecs, AFileWithoutItsTablesNeverBorrowsThem) {
  auto pool = Pool();
  const std::string whole = Jpeg(Photo(64, 64, 3, pool.get()));
  std::string bare = whole;
  for (size_t at; (at = bare.find("\xff\xdb")) != std::string::npos;) {
    const size_t length = static_cast<uint8_t>(bare[at + 2]) * 256u + static_cast<uint8_t>(bare[at + 3]);
    bare.erase(at, 2 + length);
  }
  ASSERT_TRUE(Decode(whole, pool.get()).ok());
  EXPECT_FALSE(Decode(bare, pool.get()).ok());
}

TEST(Codecs, OtherFormatsAreNamed) {
  auto pool = Pool();
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"GIF89a\x01\x02\x03", "GIF"},      {std::string("\0\0\0\x1c", 4) + "ftypavif....", "AVIF"},
      {"<!DOCTYPE html><html>", "HTML"},  {"BM0000000000", "BMP"},
      {"just some text", "not an image"}, {"", "empty"}};
  for (const auto& [bytes, word] : cases) {
    const Status status = Decode(bytes, pool.get()).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kData);
    EXPECT_THAT(MessageOf(status), HasSubstr(word));
  }
}

TEST(Codecs, EncodersNeverExceedTheBudgetSilently) {
  auto big = Pool();
  const Image image = Photo(1200, 1200, 3, big.get());
  for (const auto format : {ImageFormat::kJpeg, ImageFormat::kPng, ImageFormat::kWebp}) {
    auto small = Pool(300 << 10);
    const auto encoded = EncodeImage(image.view(), format, 9, small.get());
    ASSERT_FALSE(encoded.ok());
    EXPECT_TRUE(encoded.status().IsOutOfMemory());
    EXPECT_EQ(small->bytes_allocated(), 0);
  }
}

TEST(Codecs, ARefusalAtAnyPointIsCleanAndComesUp) {
  auto source = Pool();
  const Image image = Photo(300, 200, 3, source.get());
  for (const std::string& file : {Jpeg(image), Encode(image, ImageFormat::kPng, 6, source.get()),
                                  Encode(image, ImageFormat::kWebp, 90, source.get())}) {
    for (int n = 1;; ++n) {
      auto pool = Pool();
      pool->budget()->FailNthAllocation(n);
      const auto made =
          samples::Resize(file, {.mode = ResizeMode::kCenterCrop, .width = 64, .height = 64}, pool.get());
      pool->budget()->FailNthAllocation(0);
      if (made.ok()) break;
      EXPECT_TRUE(made.status().IsOutOfMemory()) << made.status().ToString();
      EXPECT_EQ(pool->bytes_allocated(), 0);
      ASSERT_LT(n, 100);
    }
  }
}

}  // namespace
}  // namespace partita
