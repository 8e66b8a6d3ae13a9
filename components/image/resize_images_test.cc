// Whole images through ResizeImage: the modes' sizes, what is kept, what is refused, and how near scaled
// decoding is.
#include "components/image/resize_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "components/image/exif.h"
#include "components/image/image_encoder.h"
#include "components/image/image_samples.h"
#include "partita/base/json.h"

namespace partita {
namespace {

using samples::Compare;
using samples::Data;
using samples::Decode;
using samples::Jpeg;
using samples::Photo;
using samples::Pool;
using samples::Resize;
using testing::HasSubstr;

std::string Png(const Image& image, BudgetPool* pool) {
  return (*EncodeImage(image.view(), ImageFormat::kPng, 1, pool))->ToString();
}

struct SizeCase {
  ResizeMode mode;
  bool only_if_bigger;
  int width, height;
  int out_width, out_height;
};

// Expected by hand, from img2dataset's formulae with size 256.
TEST(ResizeImages, SizesOfTheModes) {
  using enum ResizeMode;
  const SizeCase cases[] = {
      {kNo, false, 640, 480, 640, 480},
      {kBorder, false, 640, 480, 256, 256},
      {kBorder, false, 100, 50, 256, 256},
      {kBorder, true, 100, 50, 100, 50},
      {kBorder, true, 300, 50, 256, 256},
      {kKeepRatio, false, 640, 480, 341, 256},  // 341.33
      {kKeepRatio, false, 480, 641, 256, 342},  // 341.87
      {kKeepRatio, false, 100, 50, 512, 256},
      {kKeepRatio, true, 300, 100, 300, 100},
      {kKeepRatio, true, 1000, 500, 512, 256},
      {kKeepRatio, false, 512, 1025, 256, 512},  // 512.5 rounds to the even 512
      {kKeepRatio, false, 512, 1027, 256, 514},  // 513.5 rounds to the even 514
      {kKeepRatioLargest, false, 640, 480, 256, 192},
      {kKeepRatioLargest, false, 100, 50, 256, 128},
      {kKeepRatioLargest, true, 200, 100, 200, 100},
      {kKeepRatioLargest, false, 3000, 2, 256, 1},  // 0.17: never less than a pixel
      {kCenterCrop, false, 640, 480, 256, 256},
      {kCenterCrop, false, 100, 50, 256, 256},
      {kCenterCrop, true, 200, 700, 200, 700},
      {kCenterCrop, true, 300, 700, 256, 256},
      {kFixed, false, 640, 480, 256, 256},
      {kFixed, true, 200, 100, 200, 100},
  };
  auto pool = Pool();
  for (const SizeCase& c : cases) {
    const std::string file = Jpeg(Photo(c.width, c.height, 3, pool.get()));
    ResizeOptions options{.mode = c.mode, .resize_only_if_bigger = c.only_if_bigger};
    const ResizedImage out = *Resize(file, options, pool.get());
    const std::string what = std::to_string(static_cast<int>(c.mode)) + " of " + std::to_string(c.width) +
                             "x" + std::to_string(c.height);
    EXPECT_EQ(out.width, c.out_width) << what;
    EXPECT_EQ(out.height, c.out_height) << what;
    EXPECT_EQ(out.original_width, c.width);
    EXPECT_EQ(out.original_height, c.height);
    EXPECT_EQ(out.format, "jpg");
    const ImageInfo info = *ProbeImage(out.bytes->data(), out.bytes->size());
    EXPECT_EQ(info.width, c.out_width) << what;
    EXPECT_EQ(info.height, c.out_height) << what;
    EXPECT_EQ(info.format, ImageFormat::kJpeg);
  }
}

TEST(ResizeImages, BoxesThatAreNotSquare) {
  auto pool = Pool();
  const std::string file = Jpeg(Photo(640, 480, 3, pool.get()));
  const auto size = [&](ResizeMode mode) {
    const ResizedImage out = *Resize(file, {.mode = mode, .width = 200, .height = 100}, pool.get());
    return std::pair(out.width, out.height);
  };
  EXPECT_EQ(size(ResizeMode::kFixed), std::pair(200, 100));
  EXPECT_EQ(size(ResizeMode::kCenterCrop), std::pair(200, 100));
  EXPECT_EQ(size(ResizeMode::kBorder), std::pair(200, 100));
  EXPECT_EQ(size(ResizeMode::kKeepRatio), std::pair(200, 150));
  EXPECT_EQ(size(ResizeMode::kKeepRatioLargest), std::pair(133, 100));
}

TEST(ResizeImages, BorderIsWhiteAndCentred) {
  auto pool = Pool();
  Image black = *Image::Allocate(100, 50, 3, pool.get());
  std::fill(black.row(0), black.row(0) + black.size_bytes(), uint8_t{0});
  const ResizedImage out = *Resize(
      Png(black, pool.get()),
      {.width = 21, .height = 21, .encode_format = ImageFormat::kPng, .encode_quality = 1}, pool.get());
  const Image pixels = *Decode(out.bytes->ToString(), pool.get());
  ASSERT_EQ(pixels.width, 21);
  for (int y = 0; y < 21; ++y) {  // 21 x 10 (10.5 to even) in 21 x 21: 5 rows above, 6 below
    const int expected = y < 5 || y >= 15 ? 255 : 0;
    EXPECT_EQ(pixels.view().row(y)[30], expected) << y;
  }
}

TEST(ResizeImages, CenterCropIsTheCentreOfKeepRatio) {
  auto pool = Pool();
  for (const auto& [w, h] : std::vector<std::pair<int, int>>{{1024, 768}, {601, 1203}, {99, 40}}) {
    for (const bool jpeg : {true, false}) {
      const Image photo = Photo(w, h, 3, pool.get());
      const std::string file = jpeg ? Jpeg(photo) : Png(photo, pool.get());
      ResizeOptions options{.mode = ResizeMode::kKeepRatio,
                            .width = 64,
                            .height = 64,
                            .encode_format = ImageFormat::kPng,
                            .encode_quality = 1};
      const Image whole = *Decode((*Resize(file, options, pool.get())).bytes->ToString(), pool.get());
      options.mode = ResizeMode::kCenterCrop;
      const Image crop = *Decode((*Resize(file, options, pool.get())).bytes->ToString(), pool.get());
      const int x0 = (whole.width - 64) / 2, y0 = (whole.height - 64) / 2;
      for (int y = 0; y < 64; ++y) {
        for (int i = 0; i < 64 * 3; ++i) {
          ASSERT_EQ(crop.view().row(y)[i], whole.view().row(y + y0)[x0 * 3 + i]) << w << "x" << h;
        }
      }
    }
  }
}

TEST(ResizeImages, SkipReencodeKeepsBytesOnlyOfTheRightFormat) {
  auto pool = Pool();
  const Image photo = Photo(80, 60, 3, pool.get());
  ResizeOptions options{.mode = ResizeMode::kNo, .skip_reencode = true};
  const std::string jpeg = Jpeg(photo);
  EXPECT_EQ((*Resize(jpeg, options, pool.get())).bytes->ToString(), jpeg);
  const ResizedImage from_png = *Resize(Png(photo, pool.get()), options, pool.get());
  EXPECT_EQ(DetectImageFormat(from_png.bytes->data(), from_png.bytes->size()), ImageFormat::kJpeg);
  EXPECT_FALSE(Resize(jpeg.substr(0, jpeg.size() - 100), options, pool.get()).ok())
      << "kept bytes are checked";

  options.encode_format = ImageFormat::kPng;
  options.encode_quality = 6;
  const std::string transparent = Png(Photo(80, 60, 4, pool.get()), pool.get());
  EXPECT_NE((*Resize(transparent, options, pool.get())).bytes->ToString(), transparent);
  options.mode = ResizeMode::kKeepRatio;
  options.width = options.height = 60;
  const std::string fits = Png(photo, pool.get());
  EXPECT_EQ((*Resize(fits, options, pool.get())).bytes->ToString(), fits);
}

TEST(ResizeImages, DisableAllReencodingPassesAnything) {
  auto pool = Pool();
  const ResizeOptions options{.disable_all_reencoding = true};
  const ResizedImage text = *Resize("no image", options, pool.get());
  EXPECT_EQ(text.bytes->ToString(), "no image");
  EXPECT_EQ(text.format, "");
  const std::string png = Png(Photo(8, 9, 3, pool.get()), pool.get());
  const ResizedImage kept = *Resize(png, options, pool.get());
  EXPECT_EQ(kept.bytes->ToString(), png);
  EXPECT_EQ(kept.format, "png");
  EXPECT_EQ(kept.height, 9);
}

TEST(ResizeImages, UnwantedImagesAreRowErrors) {
  auto pool = Pool();
  const std::string file = Jpeg(Photo(300, 100, 3, pool.get()));
  const auto message = [&](ResizeOptions options) {
    const Status status = Resize(file, options, pool.get()).status();
    EXPECT_TRUE(status.ok() || KindOf(status) == ErrorKind::kData);
    return status.ok() ? "" : MessageOf(status);
  };
  EXPECT_THAT(message({.min_image_size = 101}), HasSubstr("image too small"));
  EXPECT_EQ(message({.min_image_size = 100}), "");
  EXPECT_THAT(message({.max_image_area = 29999}), HasSubstr("image area too large"));
  EXPECT_EQ(message({.max_image_area = 30000}), "");
  EXPECT_THAT(message({.max_aspect_ratio = 2.9}), HasSubstr("aspect ratio too large"));
  EXPECT_EQ(message({.max_aspect_ratio = 3}), "");
  EXPECT_THAT(message({.max_image_pixels = 29999}), HasSubstr("max_image_pixels"));
}

TEST(ResizeImages, GrayStaysGray) {
  auto pool = Pool();
  const ResizedImage out =
      *Resize(Jpeg(Photo(100, 90, 1, pool.get())), {.width = 32, .height = 32}, pool.get());
  EXPECT_EQ((*ProbeImage(out.bytes->data(), out.bytes->size())).channels, 1);
}

// Scaled decoding against a full decode and the exact box average of it.
TEST(ResizeImages, ScaledDecodeIsNear) {
  auto pool = Pool();
  for (const int size : {256, 160, 96, 64, 48}) {
    for (const bool progressive : {false, true}) {
      double mean = 0;
      for (uint32_t seed = 1; seed <= 2; ++seed) {
        const std::string file =
            Jpeg(Photo(1024, 768, 3, pool.get(), seed), {.quality = 92, .progressive = progressive});
        ResizeOptions options{.mode = ResizeMode::kCenterCrop,
                              .width = size,
                              .height = size,
                              .encode_format = ImageFormat::kPng,
                              .encode_quality = 1};
        const Image fast = *Decode((*Resize(file, options, pool.get())).bytes->ToString(), pool.get());
        options.scaled_decode = false;
        const Image full = *Decode((*Resize(file, options, pool.get())).bytes->ToString(), pool.get());
        mean += Compare(fast, full).mean / 2;
      }
      EXPECT_LT(mean, 0.8) << size;  // 0.69 at 256: this picture is harsher than photos are
    }
  }
}

TEST(ResizeImages, OutputDoesNotDependOnTheBudget) {
  auto wide = Pool();
  const std::string file = Jpeg(Photo(700, 500, 3, wide.get()));
  const ResizeOptions options{.mode = ResizeMode::kCenterCrop, .width = 200, .height = 200};
  auto tight = Pool(2 << 20);
  EXPECT_EQ((*Resize(file, options, wide.get())).bytes->ToString(),
            (*Resize(file, options, tight.get())).bytes->ToString());
}

// A JPEG with an EXIF segment of one directory: Make and the orientation.
std::string WithExif(const std::string& jpeg, int orientation) {
  std::string exif("Exif\0\0MM\0*\0\0\0\x08\0\x02", 16);
  exif += std::string("\x01\x0f\0\x02\0\0\0\x06\0\0\0\x26", 12);
  exif +=
      std::string("\x01\x12\0\x03\0\0\0\x01\0", 9) + static_cast<char>(orientation) + std::string("\0\0", 2);
  exif += std::string("\0\0\0\0", 4) + std::string("Canon\0", 6);
  const size_t length = exif.size() + 2;
  return jpeg.substr(0, 2) + "\xff\xe1" + static_cast<char>(length >> 8) + static_cast<char>(length & 255) +
         exif + jpeg.substr(2);
}

TEST(ResizeImages, ExifIsReadAndHostileExifIsSurvived) {
  auto pool = Pool();
  const std::string file = WithExif(Jpeg(Photo(64, 48, 3, pool.get())), 6);
  const ResizedImage out = *Resize(file, {.extract_exif = true}, pool.get());
  EXPECT_EQ(out.exif_json, R"({"Image Make":"Canon","Image Orientation":"6"})");
  EXPECT_EQ(out.original_width, 64);
  EXPECT_EQ((*Resize(Jpeg(Photo(9, 9, 3, pool.get())), {.extract_exif = true}, pool.get())).exif_json, "{}");
  uint32_t state = 5;
  for (int round = 0; round < 2000; ++round) {
    std::string broken = file.substr(0, 80);
    for (int i = 0; i < 4; ++i)
      broken[2 + samples::Random(&state) % 70] = static_cast<char>(samples::Random(&state));
    ParseJson(ExifJson(Data(broken), static_cast<int64_t>(broken.size()))).ValueOrDie();
    ExifOrientation(Data(broken), static_cast<int64_t>(broken.size()));
  }
}

// One bright corner shows how a picture was turned.
TEST(ResizeImages, ExifOrientationIsAppliedWhenAsked) {
  auto pool = Pool();
  Image photo = *Image::Allocate(96, 64, 3, pool.get());
  for (int y = 0; y < 64; ++y) {
    for (int x = 0; x < 96; ++x)
      std::fill_n(photo.row(y) + 3 * x, 3, static_cast<uint8_t>(x < 48 && y < 32 ? 250 : x < 48 ? 90 : 20));
  }
  // Where the corner and the half below it (90) are after turning.
  struct Turned {
    int orientation, bright_x, bright_y, dim_x, dim_y;
  };
  const Turned cases[] = {{1, 0, 0, 0, 1}, {2, 1, 0, 1, 1}, {3, 1, 1, 1, 0}, {4, 0, 1, 0, 0},
                          {5, 0, 0, 1, 0}, {6, 1, 0, 0, 0}, {7, 1, 1, 0, 1}, {8, 0, 1, 1, 1}};
  for (const Turned& c : cases) {
    const std::string file = WithExif(Jpeg(photo), c.orientation);
    ResizeOptions options{
        .mode = ResizeMode::kKeepRatio, .width = 32, .height = 32, .apply_exif_orientation = true};
    const ResizedImage out = *Resize(file, options, pool.get());
    EXPECT_EQ(out.width, c.orientation >= 5 ? 32 : 48);
    EXPECT_EQ(out.original_height, c.orientation >= 5 ? 96 : 64);
    const Image pixels = *Decode(out.bytes->ToString(), pool.get());
    const auto at = [&](int x, int y) {
      return pixels.view().row(pixels.height * (2 * y + 1) / 4)[pixels.width * (2 * x + 1) / 4 * 3];
    };
    EXPECT_NEAR(at(c.bright_x, c.bright_y), 250, 8) << c.orientation;
    EXPECT_NEAR(at(c.dim_x, c.dim_y), 90, 8) << c.orientation;
    options.apply_exif_orientation = false;
    EXPECT_EQ((*Resize(file, options, pool.get())).width, 48);
  }
}

TEST(ResizeImages, ArgumentsAreCheckedWithClearErrors) {
  const auto parse = [](const char* json) { return ResizeOptionsFromArgs(Json::parse(json)); };
  EXPECT_EQ((*parse(R"({"size": [320, 200], "mode": "fixed"})")).height, 200);
  EXPECT_EQ((*parse(R"({"size": "96"})")).width, 96);
  EXPECT_EQ((*parse(R"({"encode_format": "png"})")).encode_quality, 6);
  EXPECT_EQ((*parse("{}")).mode, ResizeMode::kBorder);
  const std::pair<const char*, const char*> bad[] = {
      {R"({"size": 0})", "size"},
      {R"({"size": [1]})", "size"},
      {R"({"size": "big"})", "size"},
      {R"({"size": 1.5})", "size"},
      {R"({"mode": "crop"})", "crop"},
      {R"({"encode_format": "gif"})", "gif"},
      {R"({"encode_format": "png", "encode_quality": 95})", "compression level"},
      {R"({"encode_quality": 101})", "0 to 100"},
      {R"({"downscale_interpolation": "best"})", "interpolation"},
      {R"({"exif_orientation": "yes"})", "exif_orientation"}};
  for (const auto& [json, word] : bad) {
    const auto options = parse(json);
    ASSERT_FALSE(options.ok()) << json;
    EXPECT_EQ(KindOf(options.status()), ErrorKind::kUser) << json;
    EXPECT_THAT(MessageOf(options.status()), HasSubstr(word));
  }
}

TEST(ResizeImages, EveryArgumentIsDocumentedAndItsDefaultIsValid) {
  Json args = Json::object();
  for (const ArgSpec& arg : ResizeArgSpecs()) {
    EXPECT_FALSE(arg.doc.empty()) << arg.name;
    args[arg.name] = *ParseJson(arg.default_json);
  }
  const ResizeOptions defaults = *ResizeOptionsFromArgs(args);
  EXPECT_EQ(defaults.encode_quality, 95);
  EXPECT_EQ(defaults.max_image_pixels, kDefaultMaxImagePixels);
}

}  // namespace
}  // namespace partita
