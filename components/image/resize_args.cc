// The arguments of resizing, shared by resize_images and download_images.
#include <cmath>

#include "components/image/image_encoder.h"
#include "components/image/resize_images.h"
#include "partita/base/json.h"

namespace partita {

namespace {

constexpr int kMostSidePixels = 65500;  // what JPEG can hold

struct ModeName {
  const char* name;
  ResizeMode mode;
};
constexpr ModeName kModes[] = {{"no", ResizeMode::kNo},
                               {"border", ResizeMode::kBorder},
                               {"keep_ratio", ResizeMode::kKeepRatio},
                               {"keep_ratio_largest", ResizeMode::kKeepRatioLargest},
                               {"center_crop", ResizeMode::kCenterCrop},
                               {"fixed", ResizeMode::kFixed}};

Result<ResizeMode> ParseMode(const std::string& text) {
  std::string names;
  for (const ModeName& known : kModes) {
    if (text == known.name) return known.mode;
    names += (names.empty() ? "" : ", ") + std::string(known.name);
  }
  return UserError("unknown resize mode '" + text + "'", "use one of " + names);
}

Result<int> ParseSide(const Json& value) {
  int64_t side = 0;
  if (value.is_number_integer()) {
    side = value.get<int64_t>();
  } else if (value.is_string()) {  // a command line knows only text
    const std::string& text = value.get_ref<const std::string&>();
    if (text.empty() || text.size() > 5 || text.find_first_not_of("0123456789") != std::string::npos) {
      return UserError("size must be a number of pixels, not '" + text + "'");
    }
    side = std::stoll(text);
  } else {
    return UserError("size must be a number of pixels or [width, height], not " + value.dump());
  }
  if (side < 1 || side > kMostSidePixels) {
    return UserError("size must be 1 to " + std::to_string(kMostSidePixels) + " pixels, not " +
                     std::to_string(side));
  }
  return static_cast<int>(side);
}

Status ParseSize(const Json& args, ResizeOptions* options) {
  const auto it = args.find("size");
  if (it == args.end() || it->is_null()) return Status::OK();
  if (!it->is_array()) {
    ARROW_ASSIGN_OR_RAISE(options->width, ParseSide(*it));
    options->height = options->width;
    return Status::OK();
  }
  if (it->size() != 2)
    return UserError("size must be a number of pixels or [width, height], not " + it->dump());
  ARROW_ASSIGN_OR_RAISE(options->width, ParseSide((*it)[0]));
  ARROW_ASSIGN_OR_RAISE(options->height, ParseSide((*it)[1]));
  return Status::OK();
}

Status ParseEncoding(const Json& args, ResizeOptions* options) {
  ARROW_ASSIGN_OR_RAISE(const std::string format, GetStringOr(args, "encode_format", "jpg"));
  ARROW_ASSIGN_OR_RAISE(options->encode_format, ParseImageFormat(format));
  ARROW_ASSIGN_OR_RAISE(const int64_t quality,
                        GetIntOr(args, "encode_quality", DefaultQuality(options->encode_format)));
  ARROW_RETURN_NOT_OK(CheckQuality(options->encode_format, quality));
  options->encode_quality = static_cast<int>(quality);
  ARROW_ASSIGN_OR_RAISE(options->skip_reencode, GetBoolOr(args, "skip_reencode", false));
  return GetBoolOr(args, "disable_all_reencoding", false).Value(&options->disable_all_reencoding);
}

Status ParseWanted(const Json& args, ResizeOptions* options) {
  ARROW_ASSIGN_OR_RAISE(const int64_t min_size, GetIntOr(args, "min_image_size", 0));
  if (min_size < 0 || min_size > INT32_MAX) return UserError("min_image_size must be 0 or more pixels");
  options->min_image_size = static_cast<int>(min_size);
  ARROW_ASSIGN_OR_RAISE(options->max_image_area, GetDoubleOr(args, "max_image_area", 0));
  ARROW_ASSIGN_OR_RAISE(options->max_aspect_ratio, GetDoubleOr(args, "max_aspect_ratio", 0));
  if (!(options->max_image_area >= 0)) return UserError("max_image_area must be 0 or more pixels");
  if (!(options->max_aspect_ratio >= 0)) return UserError("max_aspect_ratio must be 0 or more");
  ARROW_ASSIGN_OR_RAISE(options->max_image_pixels,
                        GetIntOr(args, "max_image_pixels", kDefaultMaxImagePixels));
  if (options->max_image_pixels < 1) return UserError("max_image_pixels must be 1 or more");
  return Status::OK();
}

std::string Text(int64_t value) { return std::to_string(value); }

}  // namespace

Result<ResizeOptions> ResizeOptionsFromArgs(const Json& args) {
  ResizeOptions options;
  ARROW_RETURN_NOT_OK(ParseSize(args, &options));
  ARROW_ASSIGN_OR_RAISE(const std::string mode, GetStringOr(args, "mode", "border"));
  ARROW_ASSIGN_OR_RAISE(options.mode, ParseMode(mode));
  ARROW_ASSIGN_OR_RAISE(options.resize_only_if_bigger, GetBoolOr(args, "resize_only_if_bigger", false));
  ARROW_ASSIGN_OR_RAISE(const std::string up, GetStringOr(args, "upscale_interpolation", "lanczos"));
  ARROW_ASSIGN_OR_RAISE(options.upscale, ParseInterpolation(up));
  ARROW_ASSIGN_OR_RAISE(const std::string down, GetStringOr(args, "downscale_interpolation", "area"));
  ARROW_ASSIGN_OR_RAISE(options.downscale, ParseInterpolation(down));
  ARROW_RETURN_NOT_OK(ParseEncoding(args, &options));
  ARROW_RETURN_NOT_OK(ParseWanted(args, &options));
  ARROW_ASSIGN_OR_RAISE(const std::string orientation, GetStringOr(args, "exif_orientation", "ignore"));
  if (orientation != "ignore" && orientation != "apply") {
    return UserError("exif_orientation is ignore or apply, not '" + orientation + "'");
  }
  options.apply_exif_orientation = orientation == "apply";
  ARROW_ASSIGN_OR_RAISE(options.extract_exif, GetBoolOr(args, "extract_exif", false));
  ARROW_ASSIGN_OR_RAISE(options.scaled_decode, GetBoolOr(args, "scaled_decode", true));
  return options;
}

std::vector<ArgSpec> ResizeArgSpecs() {
  const std::vector<std::string> interpolations = {"nearest", "linear", "bilinear", "cubic",
                                                   "bicubic", "area",   "lanczos",  "lanczos4"};
  std::vector<std::string> modes;
  for (const ModeName& known : kModes) modes.push_back(known.name);
  return {
      {.name = "size",
       .type = ArgType::kJson,
       .default_json = "256",
       .doc = "Side of the square box in pixels, or [width, height]."},
      {.name = "mode",
       .default_json = R"("border")",
       .choices = modes,
       .doc =
           "no: keep the pixels; border: fit and pad with white; keep_ratio: the shortest side becomes size; "
           "keep_ratio_largest: the longest does; center_crop: keep_ratio, then cut the centre; fixed: "
           "stretch."},
      {.name = "resize_only_if_bigger",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Leave images that are not larger than the box as they are."},
      {.name = "upscale_interpolation",
       .default_json = R"("lanczos")",
       .choices = interpolations,
       .doc = "Filter when an image grows."},
      {.name = "downscale_interpolation",
       .default_json = R"("area")",
       .choices = interpolations,
       .doc =
           "Filter when an image shrinks; area lets JPEGs be decoded at a smaller size, and is the fastest."},
      {.name = "encode_format",
       .default_json = R"("jpg")",
       .choices = {"jpg", "png", "webp"},
       .doc = "Format of the output."},
      {.name = "encode_quality",
       .type = ArgType::kInt,
       .default_json = "null",
       .min = 0,
       .max = 100,
       .doc = "jpg and webp: 0 to 100, default 95; png: compression level 0 to 9, default 6."},
      {.name = "skip_reencode",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Keep the original bytes of images whose pixels and format need not change; they are still "
              "checked."},
      {.name = "disable_all_reencoding",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Pass all bytes through unchecked: no decoding, no resizing."},
      {.name = "min_image_size",
       .type = ArgType::kInt,
       .default_json = "0",
       .min = 0,
       .doc = "Images whose shortest side has fewer pixels are row errors."},
      {.name = "max_image_area",
       .type = ArgType::kFloat,
       .default_json = "null",
       .min = 0,
       .doc = "Images of more pixels are row errors."},
      {.name = "max_aspect_ratio",
       .type = ArgType::kFloat,
       .default_json = "null",
       .min = 0,
       .doc = "Images whose longest side is more times the shortest are row errors."},
      {.name = "max_image_pixels",
       .type = ArgType::kInt,
       .default_json = Text(kDefaultMaxImagePixels),
       .min = 1,
       .doc = "Decompression bombs: images of more pixels are row errors before they are decoded."},
      {.name = "exif_orientation",
       .default_json = R"("ignore")",
       .choices = {"ignore", "apply"},
       .doc = "apply: turn the pixels as EXIF says; ignore: take them as stored, like img2dataset."},
      {.name = "extract_exif",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Add the column exif: a JSON object of tag to text."},
      {.name = "scaled_decode",
       .type = ArgType::kBool,
       .default_json = "true",
       .doc = "Decode JPEGs at half, quarter or eighth size where the output hardly differs; false: always "
              "at full size."},
  };
}

}  // namespace partita
