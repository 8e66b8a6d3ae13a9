#include "components/image/webp.h"

#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "components/image/encoded_output.h"
#include "partita/base/units.h"
#include "partita/memory/budget.h"

namespace partita {

namespace {

Status StatusOf(VP8StatusCode code) {
  switch (code) {
    case VP8_STATUS_OK:
      return Status::OK();
    case VP8_STATUS_OUT_OF_MEMORY:
      return OutOfMemoryError("the WebP codec got no memory");
    case VP8_STATUS_NOT_ENOUGH_DATA:
      return DataError("broken WebP: it ends early");
    case VP8_STATUS_UNSUPPORTED_FEATURE:
      return DataError("broken WebP: it uses an unknown feature");
    default:
      return DataError("broken WebP: its bitstream cannot be decoded");
  }
}

// libwebp decodes a picture at once, so this reader holds all of it.
class WebpReader final : public ImageReader {
 public:
  Status Open(const uint8_t* data, int64_t size, AlphaMode alpha, BudgetPool* pool);

  int width() const override { return features_.width; }
  int height() const override { return features_.height; }
  int channels() const override { return has_alpha() && alpha_ == AlphaMode::kKeep ? 4 : 3; }
  bool has_alpha() const override { return features_.has_alpha != 0; }
  Status Start(int n, int column_begin, int column_end) override;
  Status SkipRows(int count) override {
    row_ += count;
    return Status::OK();
  }
  Status ReadRows(int count, uint8_t* out, int64_t stride_bytes) override;
  Status Finish() override { return Status::OK(); }

 private:
  int64_t decoded_stride() const { return int64_t{width()} * (has_alpha() ? 4 : 3); }
  Status Decode(const uint8_t* data, size_t size, uint8_t* to, int64_t bytes);
  Status DecodeFirstFrame();

  WebPBitstreamFeatures features_ = {};
  const uint8_t* data_ = nullptr;
  size_t size_ = 0;
  AlphaMode alpha_ = AlphaMode::kOnWhite;
  BudgetPool* pool_ = nullptr;
  std::shared_ptr<arrow::Buffer> pixels_;
  int row_ = 0;
};

Status WebpReader::Open(const uint8_t* data, int64_t size, AlphaMode alpha, BudgetPool* pool) {
  data_ = data;
  size_ = static_cast<size_t>(size);
  alpha_ = alpha;
  pool_ = pool;
  ARROW_RETURN_NOT_OK(StatusOf(WebPGetFeatures(data, size_, &features_)));
  const uint64_t riff_bytes =
      uint64_t{data[4]} | uint64_t{data[5]} << 8 | uint64_t{data[6]} << 16 | uint64_t{data[7]} << 24;
  if (riff_bytes + 8 > size_) return DataError("broken WebP: it ends early");
  return Status::OK();
}

Status WebpReader::Decode(const uint8_t* data, size_t size, uint8_t* to, int64_t bytes) {
  WebPDecoderConfig config;
  if (WebPInitDecoderConfig(&config) == 0)
    return EnvironmentError("libwebp has another version than it was built for", "", false);
  config.output.colorspace = has_alpha() ? MODE_RGBA : MODE_RGB;
  config.output.is_external_memory = 1;
  config.output.u.RGBA.rgba = to;
  config.output.u.RGBA.stride = static_cast<int>(decoded_stride());
  config.output.u.RGBA.size = static_cast<size_t>(bytes);
  config.options.use_threads = 0;
  return StatusOf(WebPDecode(data, size, &config));
}

Status WebpReader::DecodeFirstFrame() {
  const WebPData all = {data_, size_};
  std::unique_ptr<WebPDemuxer, decltype(&WebPDemuxDelete)> demuxer(WebPDemux(&all), WebPDemuxDelete);
  WebPIterator frame = {};
  if (demuxer == nullptr || WebPDemuxGetFrame(demuxer.get(), 1, &frame) == 0) {
    return DataError("broken WebP: its animation cannot be read");
  }
  Status status;
  WebPBitstreamFeatures inner;
  const bool fits = frame.x_offset >= 0 && frame.y_offset >= 0 && frame.width > 0 && frame.height > 0 &&
                    frame.x_offset <= width() - frame.width && frame.y_offset <= height() - frame.height &&
                    WebPGetFeatures(frame.fragment.bytes, frame.fragment.size, &inner) == VP8_STATUS_OK &&
                    inner.width == frame.width && inner.height == frame.height;
  if (!fits) {
    status = DataError("broken WebP: the first frame is not inside of its canvas");
  } else {
    const int64_t offset =
        frame.y_offset * decoded_stride() + int64_t{frame.x_offset} * (has_alpha() ? 4 : 3);
    status = Decode(frame.fragment.bytes, frame.fragment.size, pixels_->mutable_data() + offset,
                    pixels_->size() - offset);
  }
  WebPDemuxReleaseIterator(&frame);
  return status;
}

Status WebpReader::Start(int, int, int) {
  // Lossless files and alpha planes are decoded as a whole, 4 bytes a pixel, before they are converted; lossy
  // ones by rows.
  const int64_t pixels = int64_t{width()} * height();
  const bool whole = features_.format != 1 || has_alpha();
  ARROW_ASSIGN_OR_RAISE(Reservation reservation,
                        pool_->Reserve(kMiB + int64_t{width()} * 256 + (whole ? pixels * 5 : 0)));
  ARROW_ASSIGN_OR_RAISE(pixels_, arrow::AllocateBuffer(decoded_stride() * height(), pool_));
  if (!features_.has_animation) return Decode(data_, size_, pixels_->mutable_data(), pixels_->size());
  std::memset(pixels_->mutable_data(), has_alpha() ? 0 : 255, static_cast<size_t>(pixels_->size()));
  return DecodeFirstFrame();
}

Status WebpReader::ReadRows(int count, uint8_t* out, int64_t stride_bytes) {
  for (int i = 0; i < count; ++i) {
    const uint8_t* decoded = pixels_->data() + row_++ * decoded_stride();
    if (has_alpha() && alpha_ == AlphaMode::kOnWhite) {
      CompositeOnWhite(decoded, width(), out + i * stride_bytes);
    } else {
      std::memcpy(out + i * stride_bytes, decoded, static_cast<size_t>(decoded_stride()));
    }
  }
  return Status::OK();
}

int WriteOutput(const uint8_t* bytes, size_t size, const WebPPicture* picture) {
  return static_cast<EncodedOutput*>(picture->custom_ptr)->Append(bytes, static_cast<int64_t>(size)) ? 1 : 0;
}

bool ImportPixels(const ImageView& image, WebPPicture* picture, std::shared_ptr<arrow::Buffer>* rgb,
                  BudgetPool* pool, Status* status) {
  const int stride = static_cast<int>(image.stride_bytes);
  if (image.channels == 4) return WebPPictureImportRGBA(picture, image.pixels, stride) != 0;
  if (image.channels == 3) return WebPPictureImportRGB(picture, image.pixels, stride) != 0;
  // libwebp has no gray.
  auto allocated = arrow::AllocateBuffer(int64_t{image.width} * image.height * 3, pool);
  if (!allocated.ok()) {
    *status = allocated.status();
    return false;
  }
  *rgb = std::move(*allocated);
  uint8_t* to = (*rgb)->mutable_data();
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x, to += 3) std::memset(to, image.row(y)[x], 3);
  }
  return WebPPictureImportRGB(picture, (*rgb)->data(), image.width * 3) != 0;
}

}  // namespace

Result<std::unique_ptr<ImageReader>> OpenWebp(const uint8_t* data, int64_t size, AlphaMode alpha,
                                              BudgetPool* pool) {
  auto reader = std::make_unique<WebpReader>();
  ARROW_RETURN_NOT_OK(reader->Open(data, size, alpha, pool));
  return reader;
}

Result<std::shared_ptr<arrow::Buffer>> EncodeWebp(const ImageView& image, int quality, BudgetPool* pool) {
  if (image.width > WEBP_MAX_DIMENSION || image.height > WEBP_MAX_DIMENSION) {
    return DataError("an image of " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                         " pixels is too large for WebP",
                     "resize it, or encode it as png");
  }
  // The picture as YUV, and the encoder's blocks, predictions and tokens.
  const int64_t pixels = int64_t{image.width} * image.height;
  ARROW_ASSIGN_OR_RAISE(Reservation reservation, pool->Reserve(2 * kMiB + pixels * 10));
  ARROW_ASSIGN_OR_RAISE(auto output, EncodedOutput::Make(4096 + pixels / 2, pool));
  WebPConfig config;
  WebPPicture picture;
  if (WebPConfigPreset(&config, WEBP_PRESET_DEFAULT, static_cast<float>(quality)) == 0 ||
      WebPPictureInit(&picture) == 0) {
    return EnvironmentError("libwebp has another version than it was built for", "", false);
  }
  picture.width = image.width;
  picture.height = image.height;
  picture.writer = WriteOutput;
  picture.custom_ptr = output.get();
  std::shared_ptr<arrow::Buffer> rgb;
  Status status;
  const bool ok = ImportPixels(image, &picture, &rgb, pool, &status) && WebPEncode(&config, &picture) != 0;
  WebPPictureFree(&picture);
  if (ok) return output->Finish(output->written());
  ARROW_RETURN_NOT_OK(status);
  ARROW_RETURN_NOT_OK(output->status());
  if (picture.error_code == VP8_ENC_ERROR_OUT_OF_MEMORY ||
      picture.error_code == VP8_ENC_ERROR_BITSTREAM_OUT_OF_MEMORY) {
    return OutOfMemoryError("the WebP codec got no memory");
  }
  return BugError("libwebp cannot encode a picture: error " + std::to_string(picture.error_code));
}

}  // namespace partita
