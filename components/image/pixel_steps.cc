// decode_image: encoded image to raw pixels. encode_image: raw pixels to an encoded image.
//
// Raw pixels are rows of interleaved 8-bit channels without gaps: height * width * channels bytes.
#include <arrow/api.h>

#include "components/image/image_encoder.h"
#include "components/image/image_reader.h"
#include "components/image/image_rows.h"
#include "components/image/image_steps.h"
#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

namespace {

using Arrays = std::vector<std::shared_ptr<arrow::Array>>;

struct DecodeArgs {
  std::string image;
  std::string mode;
  int64_t max_image_pixels = 0;
};

Result<DecodeArgs> ParseDecodeArgs(const Json& args) {
  DecodeArgs parsed;
  ARROW_ASSIGN_OR_RAISE(parsed.image, GetStringOr(args, "image", "image"));
  ARROW_ASSIGN_OR_RAISE(parsed.mode, GetStringOr(args, "mode", "rgb"));
  ARROW_ASSIGN_OR_RAISE(parsed.max_image_pixels, GetIntOr(args, "max_image_pixels", kDefaultMaxImagePixels));
  return parsed;
}

std::vector<NewColumn> DecodedColumns(const DecodeArgs& args) {
  return {{args.image, arrow::binary()},
          {"width", arrow::int32()},
          {"height", arrow::int32()},
          {"channels", arrow::int32()}};
}

// Rows of `from` channels to rows of `to` channels, in place where it shrinks. Gray is the luma of BT.601.
Result<Image> ConvertChannels(Image image, int to, arrow::MemoryPool* pool) {
  if (image.channels == to) return image;
  ARROW_ASSIGN_OR_RAISE(Image out, Image::Allocate(image.width, image.height, to, pool));
  const int64_t pixels = int64_t{image.width} * image.height;
  const uint8_t* in = image.row(0);
  uint8_t* at = out.row(0);
  for (int64_t i = 0; i < pixels; ++i) {
    if (to == 1) {
      at[i] = static_cast<uint8_t>(
          (19595 * in[3 * i] + 38470 * in[3 * i + 1] + 7471 * in[3 * i + 2] + 32768) >> 16);
    } else {
      at[3 * i] = at[3 * i + 1] = at[3 * i + 2] = in[i];
    }
  }
  return out;
}

Result<Image> DecodeImage(std::string_view bytes, const DecodeArgs& args, BudgetPool* pool) {
  const AlphaMode alpha = args.mode == "unchanged" ? AlphaMode::kKeep : AlphaMode::kOnWhite;
  ARROW_ASSIGN_OR_RAISE(auto reader,
                        OpenImage(reinterpret_cast<const uint8_t*>(bytes.data()),
                                  static_cast<int64_t>(bytes.size()), alpha, args.max_image_pixels, pool));
  ARROW_ASSIGN_OR_RAISE(Image image,
                        Image::Allocate(reader->width(), reader->height(), reader->channels(), pool));
  ARROW_RETURN_NOT_OK(reader->Start(8, 0, image.width));
  ARROW_RETURN_NOT_OK(reader->ReadRows(image.height, image.row(0), image.stride_bytes()));
  ARROW_RETURN_NOT_OK(reader->Finish());
  reader.reset();
  if (args.mode == "rgb") return ConvertChannels(std::move(image), 3, pool);
  if (args.mode == "gray") return ConvertChannels(std::move(image), 1, pool);
  return image;
}

class DecodeMaker final : public ImageRowMaker {
 public:
  DecodeMaker(DecodeArgs args, BudgetPool* pool)
      : args_(std::move(args)), pool_(pool), width_(pool), height_(pool), channels_(pool) {}

  Result<bool> Append(int64_t, std::optional<std::string_view> bytes) override {
    if (!bytes) {
      pixels_.AppendNull();
      for (auto* column : {&width_, &height_, &channels_}) ARROW_RETURN_NOT_OK(column->AppendNull());
      return true;
    }
    ARROW_ASSIGN_OR_RAISE(Image image, DecodeImage(*bytes, args_, pool_));
    ARROW_RETURN_NOT_OK(width_.Append(image.width));
    ARROW_RETURN_NOT_OK(height_.Append(image.height));
    ARROW_RETURN_NOT_OK(channels_.Append(image.channels));
    pixels_.Append(arrow::SliceBuffer(image.buffer, 0, image.size_bytes()));
    return true;
  }
  int64_t bytes() const override { return pixels_.bytes(); }
  Result<Arrays> Finish() override {
    Arrays columns(4);
    ARROW_ASSIGN_OR_RAISE(columns[0], pixels_.Finish(pool_));
    ARROW_ASSIGN_OR_RAISE(columns[1], width_.Finish());
    ARROW_ASSIGN_OR_RAISE(columns[2], height_.Finish());
    ARROW_ASSIGN_OR_RAISE(columns[3], channels_.Finish());
    return columns;
  }

 private:
  const DecodeArgs args_;
  BudgetPool* pool_;
  BinaryCollector pixels_;
  arrow::Int32Builder width_, height_, channels_;
};

Result<StepBinding> BindDecode(const Json& json, const std::shared_ptr<arrow::Schema>& input) {
  ARROW_ASSIGN_OR_RAISE(const DecodeArgs args, ParseDecodeArgs(json));
  ARROW_RETURN_NOT_OK(CheckBytesColumn(*input, args.image));
  StepBinding binding;
  binding.reads = {args.image};
  const auto columns = DecodedColumns(args);
  for (const NewColumn& column : columns) binding.writes.push_back(column.name);
  ARROW_ASSIGN_OR_RAISE(binding.output, WithColumns(*input, columns));
  return binding;
}

Result<std::unique_ptr<Transform>> MakeDecode(const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(const DecodeArgs args, ParseDecodeArgs(*init.args));
  ImageStep step;
  step.image_column = args.image;
  for (const NewColumn& column : DecodedColumns(args)) step.made.push_back(column.name);
  step.new_maker = [args](const arrow::RecordBatch&,
                          BudgetPool* pool) -> Result<std::unique_ptr<ImageRowMaker>> {
    return std::make_unique<DecodeMaker>(args, pool);
  };
  return MakeImageTransform(std::move(step), init.output);
}

struct EncodeArgs {
  std::string image, width, height, channels;
  ImageFormat format = ImageFormat::kJpeg;
  int quality = 95;
};

Result<EncodeArgs> ParseEncodeArgs(const Json& args) {
  EncodeArgs parsed;
  ARROW_ASSIGN_OR_RAISE(parsed.image, GetStringOr(args, "image", "image"));
  ARROW_ASSIGN_OR_RAISE(parsed.width, GetStringOr(args, "width", "width"));
  ARROW_ASSIGN_OR_RAISE(parsed.height, GetStringOr(args, "height", "height"));
  ARROW_ASSIGN_OR_RAISE(parsed.channels, GetStringOr(args, "channels", "channels"));
  ARROW_ASSIGN_OR_RAISE(const std::string format, GetStringOr(args, "encode_format", "jpg"));
  ARROW_ASSIGN_OR_RAISE(parsed.format, ParseImageFormat(format));
  ARROW_ASSIGN_OR_RAISE(const int64_t quality,
                        GetIntOr(args, "encode_quality", DefaultQuality(parsed.format)));
  ARROW_RETURN_NOT_OK(CheckQuality(parsed.format, quality));
  parsed.quality = static_cast<int>(quality);
  return parsed;
}

// -1: null or out of range.
int64_t IntAt(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return -1;
  switch (array.type_id()) {
    case arrow::Type::INT32:
      return static_cast<const arrow::Int32Array&>(array).Value(row);
    case arrow::Type::INT64:
      return static_cast<const arrow::Int64Array&>(array).Value(row);
    case arrow::Type::UINT32:
      return static_cast<const arrow::UInt32Array&>(array).Value(row);
    case arrow::Type::INT16:
      return static_cast<const arrow::Int16Array&>(array).Value(row);
    case arrow::Type::UINT16:
      return static_cast<const arrow::UInt16Array&>(array).Value(row);
    case arrow::Type::INT8:
      return static_cast<const arrow::Int8Array&>(array).Value(row);
    case arrow::Type::UINT8:
      return static_cast<const arrow::UInt8Array&>(array).Value(row);
    default:
      return -1;
  }
}

Status CheckSizeColumn(const arrow::Schema& schema, const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(schema, name));
  const arrow::DataType& type = *schema.field(index)->type();
  if (arrow::is_integer(type.id()) && type.id() != arrow::Type::UINT64) return Status::OK();
  return UserError("column '" + name + "' must hold integers; it is " + TypeToString(type));
}

class EncodeMaker final : public ImageRowMaker {
 public:
  EncodeMaker(EncodeArgs args, Arrays sizes, BudgetPool* pool)
      : args_(std::move(args)), sizes_(std::move(sizes)), pool_(pool) {}

  Result<bool> Append(int64_t row, std::optional<std::string_view> pixels) override {
    if (!pixels) {
      images_.AppendNull();
      return true;
    }
    const int64_t width = IntAt(*sizes_[0], row), height = IntAt(*sizes_[1], row),
                  channels = IntAt(*sizes_[2], row);
    if (channels != 1 && channels != 3 && channels != 4)
      return DataError("raw pixels have 1, 3 or 4 channels");
    ARROW_RETURN_NOT_OK(CheckLimits(width, height, INT32_MAX));
    if (width * height * channels != static_cast<int64_t>(pixels->size())) {
      return DataError("raw pixels of " + std::to_string(width) + " x " + std::to_string(height) + " x " +
                       std::to_string(channels) + " are not " + std::to_string(pixels->size()) + " bytes");
    }
    const ImageView view = {reinterpret_cast<const uint8_t*>(pixels->data()), static_cast<int>(width),
                            static_cast<int>(height), static_cast<int>(channels), width * channels};
    ARROW_ASSIGN_OR_RAISE(auto bytes, EncodeImage(view, args_.format, args_.quality, pool_));
    images_.Append(std::move(bytes));
    return true;
  }
  int64_t bytes() const override { return images_.bytes(); }
  Result<Arrays> Finish() override {
    ARROW_ASSIGN_OR_RAISE(auto images, images_.Finish(pool_));
    return Arrays{std::move(images)};
  }

 private:
  const EncodeArgs args_;
  const Arrays sizes_;
  BudgetPool* pool_;
  BinaryCollector images_;
};

Result<StepBinding> BindEncode(const Json& json, const std::shared_ptr<arrow::Schema>& input) {
  ARROW_ASSIGN_OR_RAISE(const EncodeArgs args, ParseEncodeArgs(json));
  ARROW_RETURN_NOT_OK(CheckBytesColumn(*input, args.image));
  for (const auto& name : {args.width, args.height, args.channels})
    ARROW_RETURN_NOT_OK(CheckSizeColumn(*input, name));
  StepBinding binding;
  binding.reads = {args.image, args.width, args.height, args.channels};
  binding.writes = {args.image};
  ARROW_ASSIGN_OR_RAISE(binding.output, WithColumns(*input, {{args.image, arrow::binary()}}));
  return binding;
}

Result<std::unique_ptr<Transform>> MakeEncode(const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(const EncodeArgs args, ParseEncodeArgs(*init.args));
  ImageStep step;
  step.image_column = args.image;
  step.made = {args.image};
  step.new_maker = [args](const arrow::RecordBatch& batch,
                          BudgetPool* pool) -> Result<std::unique_ptr<ImageRowMaker>> {
    Arrays sizes;
    for (const auto& name : {args.width, args.height, args.channels}) {
      ARROW_ASSIGN_OR_RAISE(const int column, FindColumn(*batch.schema(), name));
      sizes.push_back(batch.column(column));
    }
    return std::make_unique<EncodeMaker>(args, std::move(sizes), pool);
  };
  return MakeImageTransform(std::move(step), init.output);
}

ArgSpec SizeArg(const char* name, const char* doc) {
  return {.name = name, .type = ArgType::kColumn, .default_json = '"' + std::string(name) + '"', .doc = doc};
}

}  // namespace

Status RegisterPixelSteps() {
  StepSpec decode;
  decode.name = "decode_image";
  decode.summary = "Decodes images to raw pixels; adds width, height and channels.";
  decode.args = {
      {.name = "image",
       .type = ArgType::kColumn,
       .default_json = R"("image")",
       .doc = "Column of encoded images (JPEG, PNG, WebP); replaced by their pixels."},
      {.name = "mode",
       .default_json = R"("rgb")",
       .choices = {"rgb", "gray", "unchanged"},
       .doc = "rgb: 3 channels; gray: 1; unchanged: 1, 3 or 4 as stored. Only unchanged keeps transparency, "
              "the others lay it on white."},
      {.name = "max_image_pixels",
       .type = ArgType::kInt,
       .default_json = std::to_string(kDefaultMaxImagePixels),
       .min = 1,
       .doc = "Decompression bombs: images of more pixels are row errors before they are decoded."}};
  decode.least_bytes = 16 << 20;
  decode.bind = BindDecode;
  ARROW_RETURN_NOT_OK(RegisterStep(std::move(decode)));
  ARROW_RETURN_NOT_OK(RegisterTransform("decode_image", {.make = MakeDecode}));

  StepSpec encode;
  encode.name = "encode_image";
  encode.summary = "Encodes raw pixels, as decode_image makes them, to JPEG, PNG or WebP.";
  encode.args = {{.name = "image",
                  .type = ArgType::kColumn,
                  .default_json = R"("image")",
                  .doc = "Column of raw pixels; replaced by the encoded images."},
                 SizeArg("width", "Column of widths in pixels."),
                 SizeArg("height", "Column of heights in pixels."),
                 SizeArg("channels", "Column of channel counts: 1, 3 or 4."),
                 {.name = "encode_format",
                  .default_json = R"("jpg")",
                  .choices = {"jpg", "png", "webp"},
                  .doc = "Format of the output; jpg lays transparency on white."},
                 {.name = "encode_quality",
                  .type = ArgType::kInt,
                  .default_json = "null",
                  .min = 0,
                  .max = 100,
                  .doc = "jpg and webp: 0 to 100, default 95; png: compression level 0 to 9, default 6."}};
  encode.least_bytes = 16 << 20;
  encode.bind = BindEncode;
  ARROW_RETURN_NOT_OK(RegisterStep(std::move(encode)));
  return RegisterTransform("encode_image", {.make = MakeEncode});
}

}  // namespace partita
