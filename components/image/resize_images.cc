#include "components/image/resize_images.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>

#include "components/image/exif.h"
#include "components/image/image_encoder.h"
#include "components/image/image_reader.h"
#include "components/image/resize_geometry.h"
#include "partita/memory/budget.h"

namespace partita {

namespace {

constexpr int64_t kReadAheadBytes = 48 << 10;  // rows decoded at once: they stay in the first-level cache

// How a stored picture is turned to be looked at: EXIF's numbers 1 to 8.
struct Turn {
  explicit Turn(int orientation)
      : swaps_axes(orientation >= 5),
        flips_x(orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8),
        flips_y(orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {}
  bool none() const { return !swaps_axes && !flips_x && !flips_y; }

  bool swaps_axes;  // the turned x axis runs along the stored y axis
  bool flips_x;     // the stored x axis is run backwards
  bool flips_y;
};

Result<std::shared_ptr<arrow::Buffer>> CopyBytes(const uint8_t* data, int64_t size, BudgetPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> copy, arrow::AllocateBuffer(size, pool));
  if (size > 0) std::memcpy(copy->mutable_data(), data, static_cast<size_t>(size));
  return copy;
}

Result<ResizedImage> PassThrough(const uint8_t* data, int64_t size, const ResizeOptions& options,
                                 BudgetPool* pool) {
  ResizedImage out;
  ARROW_ASSIGN_OR_RAISE(out.bytes, CopyBytes(data, size, pool));
  if (const Result<ImageInfo> info = ProbeImage(data, size); info.ok()) {
    out.format = ImageFormatName(info->format);
    out.width = out.original_width = info->width;
    out.height = out.original_height = info->height;
  }
  if (options.extract_exif) out.exif_json = ExifJson(data, size);
  return out;
}

Status CheckWanted(int width, int height, const ResizeOptions& options) {
  const int shortest = std::min(width, height);
  const int longest = std::max(width, height);
  if (shortest < options.min_image_size) return DataError("image too small");
  if (options.max_image_area > 0 && static_cast<double>(width) * height > options.max_image_area) {
    return DataError("image area too large");
  }
  if (options.max_aspect_ratio > 0 && static_cast<double>(longest) / shortest > options.max_aspect_ratio) {
    return DataError("aspect ratio too large");
  }
  return Status::OK();
}

// Decodes everything and keeps nothing: the file is whole.
Status CheckPixels(ImageReader* reader, BudgetPool* pool) {
  const int n = reader->ScaleFor(1, 1);
  ARROW_RETURN_NOT_OK(reader->Start(n, 0, reader->ScaledWidth(n)));
  const int64_t stride_bytes = int64_t{reader->delivered_columns()} * reader->channels();
  ARROW_ASSIGN_OR_RAISE(auto row, arrow::AllocateBuffer(stride_bytes, pool));
  for (int y = 0; y < reader->ScaledHeight(n); ++y) {
    ARROW_RETURN_NOT_OK(reader->ReadRows(1, row->mutable_data(), stride_bytes));
  }
  return reader->Finish();
}

// Decodes the part that is wanted and resizes it into `out`. All lengths are of the stored picture.
Status ResizePixels(ImageReader* reader, ResizeAxis x, ResizeAxis y, Interpolation interpolation,
                    bool scaled_decode, uint8_t* out, int64_t out_stride_bytes, BudgetPool* pool) {
  const int n =
      scaled_decode && interpolation == Interpolation::kArea ? reader->ScaleFor(x.output, y.output) : 8;
  x.source = reader->ScaledWidth(n);
  y.source = reader->ScaledHeight(n);
  x.extent_eighths = int64_t{reader->width()} * n;
  y.extent_eighths = int64_t{reader->height()} * n;
  const int channels = reader->channels();
  ARROW_ASSIGN_OR_RAISE(auto resizer,
                        RowResizer::Make(x, y, channels, interpolation, out, out_stride_bytes, pool));
  ARROW_RETURN_NOT_OK(reader->Start(n, resizer->column_begin(), resizer->column_end()));

  const int64_t stride_bytes = int64_t{reader->delivered_columns()} * channels;
  const auto rows_at_once = static_cast<int>(std::clamp<int64_t>(kReadAheadBytes / stride_bytes, 1, 16));
  ARROW_ASSIGN_OR_RAISE(auto rows,
                        arrow::AllocateBuffer(stride_bytes * rows_at_once + Image::kRowPadding, pool));
  std::memset(rows->mutable_data() + stride_bytes * rows_at_once, 0, Image::kRowPadding);
  const int64_t offset = int64_t{resizer->column_begin() - reader->first_column()} * channels;
  ARROW_RETURN_NOT_OK(reader->SkipRows(resizer->row_begin()));
  for (int at = resizer->row_begin(); at < resizer->row_end();) {
    const int count = std::min(rows_at_once, resizer->row_end() - at);
    ARROW_RETURN_NOT_OK(reader->ReadRows(count, rows->mutable_data(), stride_bytes));
    for (int i = 0; i < count; ++i) resizer->Push(rows->data() + i * stride_bytes + offset);
    at += count;
  }
  return reader->Finish();
}

// Copies `stored` into the picture at `out` as it is to be looked at.
void CopyTurned(const ImageView& stored, const Turn& turn, uint8_t* out, int64_t out_stride_bytes) {
  const int width = turn.swaps_axes ? stored.height : stored.width;
  const int height = turn.swaps_axes ? stored.width : stored.height;
  for (int y = 0; y < height; ++y) {
    uint8_t* to = out + y * out_stride_bytes;
    for (int x = 0; x < width; ++x, to += stored.channels) {
      int sx = turn.swaps_axes ? y : x;
      int sy = turn.swaps_axes ? x : y;
      if (turn.flips_x) sx = stored.width - 1 - sx;
      if (turn.flips_y) sy = stored.height - 1 - sy;
      std::memcpy(to, stored.row(sy) + int64_t{sx} * stored.channels, static_cast<size_t>(stored.channels));
    }
  }
}

Result<Image> MakePixels(ImageReader* reader, const ResizeGeometry& g, const Turn& turn, bool scaled_decode,
                         BudgetPool* pool) {
  const int channels = reader->channels();
  ARROW_ASSIGN_OR_RAISE(Image image, Image::Allocate(g.width, g.height, channels, pool));
  if (g.width != g.crop_width || g.height != g.crop_height) {
    std::memset(image.row(0), 255, static_cast<size_t>(image.size_bytes()));
  }
  uint8_t* inner = image.row(g.pad_top) + int64_t{g.pad_left} * channels;

  ResizeAxis x{0, 0, g.scaled_width, g.crop_x, g.crop_width};
  ResizeAxis y{0, 0, g.scaled_height, g.crop_y, g.crop_height};
  if (turn.none()) {
    ARROW_RETURN_NOT_OK(
        ResizePixels(reader, x, y, g.interpolation, scaled_decode, inner, image.stride_bytes(), pool));
    return image;
  }
  if (turn.swaps_axes) std::swap(x, y);
  if (turn.flips_x) x.crop_begin = x.output - x.crop_begin - x.crop_count;
  if (turn.flips_y) y.crop_begin = y.output - y.crop_begin - y.crop_count;
  ARROW_ASSIGN_OR_RAISE(Image stored, Image::Allocate(x.crop_count, y.crop_count, channels, pool));
  ARROW_RETURN_NOT_OK(
      ResizePixels(reader, x, y, g.interpolation, scaled_decode, stored.row(0), stored.stride_bytes(), pool));
  CopyTurned(stored.view(), turn, inner, image.stride_bytes());
  return image;
}

}  // namespace

Result<ResizedImage> ResizeImage(const uint8_t* data, int64_t size, const ResizeOptions& options,
                                 BudgetPool* pool) {
  if (options.disable_all_reencoding) return PassThrough(data, size, options, pool);
  ARROW_ASSIGN_OR_RAISE(auto reader,
                        OpenImage(data, size, AlphaMode::kOnWhite, options.max_image_pixels, pool));
  const Turn turn(options.apply_exif_orientation ? ExifOrientation(data, size) : 1);
  ResizedImage out;
  out.original_width = turn.swaps_axes ? reader->height() : reader->width();
  out.original_height = turn.swaps_axes ? reader->width() : reader->height();
  ARROW_RETURN_NOT_OK(CheckWanted(out.original_width, out.original_height, options));
  if (options.extract_exif) out.exif_json = ExifJson(data, size);

  const ResizeGeometry geometry = PlanResize(out.original_width, out.original_height, options);
  ARROW_RETURN_NOT_OK(CheckLimits(geometry.width, geometry.height, options.max_image_pixels));
  out.width = geometry.width;
  out.height = geometry.height;
  out.format = ImageFormatName(options.encode_format);
  const bool same_pixels = !geometry.changes && turn.none() && !reader->has_alpha();
  if (options.skip_reencode && same_pixels && DetectImageFormat(data, size) == options.encode_format) {
    ARROW_RETURN_NOT_OK(CheckPixels(reader.get(), pool));
    ARROW_ASSIGN_OR_RAISE(out.bytes, CopyBytes(data, size, pool));
    return out;
  }
  ARROW_ASSIGN_OR_RAISE(const Image image,
                        MakePixels(reader.get(), geometry, turn, options.scaled_decode, pool));
  reader.reset();  // gives the decoder's memory back before the encoder claims its own
  ARROW_ASSIGN_OR_RAISE(out.bytes,
                        EncodeImage(image.view(), options.encode_format, options.encode_quality, pool));
  return out;
}

}  // namespace partita
