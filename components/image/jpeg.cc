#include "components/image/jpeg.h"

#include <csetjmp>
#include <cstdio>  // jpeglib.h needs FILE

#include <jpeglib.h>
// after jpeglib.h
#include <jerror.h>

#include <algorithm>
#include <string>

#include "components/image/encoded_output.h"
#include "partita/base/units.h"
#include "partita/memory/budget.h"

namespace partita {

namespace {

// A progressive file may repeat scans without end; each costs a pass over all coefficients. Real files have
// about ten.
constexpr int kMaxScans = 500;
constexpr int64_t kMaxScannedPixels = 4'000'000'000;

// libjpeg reports errors by a callback that must not return: it jumps back to Guard. Nothing between may own
// anything.
struct JpegErrors {
  jpeg_error_mgr base;  // first: libjpeg's pointer is cast back
  std::jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
  int code = 0;
};

[[noreturn]] void FailJpeg(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->code = info->err->msg_code;
  (*info->err->format_message)(info, errors->message);
  std::longjmp(errors->jump, 1);
}

bool MeansLostPixels(int code) {
  switch (code) {
    case JWRN_HIT_MARKER:
    case JWRN_HUFF_BAD_CODE:
    case JWRN_ARITH_BAD_CODE:
    case JWRN_JPEG_EOF:
    case JWRN_MUST_RESYNC:
      return true;
    default:
      return false;  // cosmetic: odd headers, bytes between segments
  }
}

void OnMessage(j_common_ptr info, int level) {
  if (level < 0 && MeansLostPixels(info->err->msg_code)) FailJpeg(info);
}

void InstallErrors(JpegErrors* errors) {
  jpeg_std_error(&errors->base);
  errors->base.error_exit = FailJpeg;
  errors->base.emit_message = OnMessage;
  errors->base.output_message = [](j_common_ptr) {};
}

template <typename Call>
bool Guard(JpegErrors* errors, const Call& call) {
  if (setjmp(errors->jump) != 0) return false;
  call();
  return true;
}

Status StatusOf(const JpegErrors& errors) {
  if (errors.code == JERR_OUT_OF_MEMORY) return OutOfMemoryError("the JPEG codec got no memory");
  if (errors.code == JERR_INPUT_EOF) return DataError("broken JPEG: it ends early");
  return DataError("broken JPEG: " + std::string(errors.message));
}

void NoOp(j_decompress_ptr) {}

boolean AtEnd(j_decompress_ptr info) {
  ERREXIT(info, JERR_INPUT_EOF);
  return FALSE;
}

void SkipInput(j_decompress_ptr info, long count) {
  if (count <= 0) return;
  if (static_cast<size_t>(count) > info->src->bytes_in_buffer) ERREXIT(info, JERR_INPUT_EOF);
  info->src->next_input_byte += count;
  info->src->bytes_in_buffer -= static_cast<size_t>(count);
}

void CheckScans(j_common_ptr info) {
  if (!info->is_decompressor) return;
  auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  const int64_t pixels = static_cast<int64_t>(decoder->image_width) * decoder->image_height;
  const int scans = decoder->input_scan_number;
  if (scans > kMaxScans || (scans > 10 && scans * pixels > kMaxScannedPixels)) {
    ERREXITS(info, JERR_BAD_PROGRESSION, "scans");
  }
}

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// CMYK as Adobe writes it is inverted. `in` and `out` may not overlap.
void CmykToRgb(const uint8_t* in, int columns, bool inverted, uint8_t* out) {
  const int flip = inverted ? 0 : 255;
  for (int i = 0; i < columns; ++i) {
    const int k = in[4 * i + 3] ^ flip;
    for (int c = 0; c < 3; ++c)
      out[3 * i + c] = static_cast<uint8_t>(((in[4 * i + c] ^ flip) * k + 127) / 255);
  }
}

}  // namespace

int JpegScaleFor(int width, int height, int output_width, int output_height) {
  struct Scale {
    int n;
    double least_rest;  // decoded / output
  };
  constexpr Scale kScales[] = {{1, 4}, {2, 3}, {4, 1.5}};
  for (const Scale& scale : kScales) {
    const int64_t decoded_x = int64_t{width} * scale.n, decoded_y = int64_t{height} * scale.n;  // eighths
    const int64_t out_x = int64_t{output_width} * 8, out_y = int64_t{output_height} * 8;
    if (decoded_x < out_x || decoded_y < out_y) continue;
    if (decoded_x % out_x == 0 && decoded_y % out_y == 0) return scale.n;
    const double rest = std::min(static_cast<double>(decoded_x) / static_cast<double>(out_x),
                                 static_cast<double>(decoded_y) / static_cast<double>(out_y));
    if (rest >= scale.least_rest) return scale.n;
  }
  return 8;
}

namespace {

class JpegReader final : public ImageReader {
 public:
  JpegReader() = default;
  ~JpegReader() override { jpeg_destroy_decompress(&info_); }

  Status Open(const uint8_t* data, int64_t size, BudgetPool* pool);

  int width() const override { return static_cast<int>(info_.image_width); }
  int height() const override { return static_cast<int>(info_.image_height); }
  int channels() const override { return info_.out_color_space == JCS_GRAYSCALE ? 1 : 3; }
  int ScaleFor(int output_width, int output_height) const override {
    return JpegScaleFor(width(), height(), output_width, output_height);
  }
  int first_column() const override { return first_column_; }
  int delivered_columns() const override { return static_cast<int>(info_.output_width); }

  Status Start(int n, int column_begin, int column_end) override;
  Status SkipRows(int count) override;
  Status ReadRows(int count, uint8_t* out, int64_t stride_bytes) override;
  Status Finish() override;

 private:
  int64_t ScratchBytes();
  void CropColumns(int n, int column_begin, int column_end);

  jpeg_decompress_struct info_ = {};
  JpegErrors errors_ = {};
  jpeg_source_mgr source_ = {};
  jpeg_progress_mgr progress_ = {};
  bool is_cmyk_ = false;
  int first_column_ = 0;
  BudgetPool* pool_ = nullptr;
  Reservation reservation_;
  std::shared_ptr<arrow::Buffer> cmyk_row_;
};

Status JpegReader::Open(const uint8_t* data, int64_t size, BudgetPool* pool) {
  pool_ = pool;
  InstallErrors(&errors_);
  info_.err = &errors_.base;
  source_.init_source = NoOp;
  source_.fill_input_buffer = AtEnd;
  source_.skip_input_data = SkipInput;
  source_.resync_to_restart = jpeg_resync_to_restart;
  source_.term_source = NoOp;
  source_.next_input_byte = data;
  source_.bytes_in_buffer = static_cast<size_t>(size);
  progress_.progress_monitor = CheckScans;
  const bool ok = Guard(&errors_, [this] {
    jpeg_create_decompress(&info_);
    info_.src = &source_;
    info_.progress = &progress_;
    jpeg_read_header(&info_, TRUE);
  });
  if (!ok) return StatusOf(errors_);
  switch (info_.jpeg_color_space) {
    case JCS_GRAYSCALE:
      info_.out_color_space = JCS_GRAYSCALE;
      break;
    case JCS_RGB:
    case JCS_YCbCr:
      info_.out_color_space = JCS_RGB;
      break;
    case JCS_CMYK:
    case JCS_YCCK:
      info_.out_color_space = JCS_CMYK;
      is_cmyk_ = true;
      break;
    default:
      return DataError("a JPEG of " + std::to_string(info_.num_components) +
                       " unknown colours is not supported");
  }
  info_.dct_method = JDCT_ISLOW;
  info_.do_fancy_upsampling = TRUE;
  info_.do_block_smoothing = FALSE;
  return Status::OK();
}

// What libjpeg allocates for a decode: row buffers, and all coefficients where the file has several scans.
int64_t JpegReader::ScratchBytes() {
  int64_t bytes = 192 * kKiB + (int64_t{info_.image_width} + 64) * info_.num_components * 64;
  if (!jpeg_has_multiple_scans(&info_)) return bytes;
  for (int c = 0; c < info_.num_components; ++c) {
    const jpeg_component_info& component = info_.comp_info[c];
    const int64_t wide =
        CeilDiv(int64_t{info_.image_width} * component.h_samp_factor, info_.max_h_samp_factor * DCTSIZE);
    const int64_t high =
        CeilDiv(int64_t{info_.image_height} * component.v_samp_factor, info_.max_v_samp_factor * DCTSIZE);
    bytes += (wide + component.h_samp_factor) * (high + component.v_samp_factor) * DCTSIZE2 *
             static_cast<int64_t>(sizeof(JCOEF));
  }
  return bytes;
}

Status JpegReader::Start(int n, int column_begin, int column_end) {
  ARROW_ASSIGN_OR_RAISE(reservation_, pool_->Reserve(ScratchBytes()));
  const bool ok = Guard(&errors_, [this, n, column_begin, column_end] {
    info_.scale_num = static_cast<unsigned>(n);
    info_.scale_denom = 8;
    jpeg_start_decompress(&info_);
    CropColumns(n, column_begin, column_end);
  });
  if (!ok) return StatusOf(errors_);
  if (is_cmyk_) {
    ARROW_ASSIGN_OR_RAISE(cmyk_row_, arrow::AllocateBuffer(int64_t{info_.output_width} * 4, pool_));
  }
  return Status::OK();
}

// One more MCU on either side than wanted: fancy upsampling looks at the neighbours, and the window's own
// edge must not show. What is left out saves the inverse DCT, the upsampling and the colour conversion, not
// the entropy decoding.
void JpegReader::CropColumns(int n, int column_begin, int column_end) {
  const int mcu = info_.max_h_samp_factor * n;
  const int full = static_cast<int>(info_.output_width);
  const int begin = std::max(0, (column_begin / mcu - 1) * mcu);
  const int end = std::min(full, (column_end / mcu + 2) * mcu);
  if (begin == 0 && end == full) return;
  auto offset = static_cast<JDIMENSION>(begin);
  auto columns = static_cast<JDIMENSION>(end - begin);
  jpeg_crop_scanline(&info_, &offset, &columns);
  first_column_ = static_cast<int>(offset);
}

Status JpegReader::SkipRows(int count) {
  if (count <= 0) return Status::OK();
  const bool ok =
      Guard(&errors_, [this, count] { jpeg_skip_scanlines(&info_, static_cast<JDIMENSION>(count)); });
  return ok ? Status::OK() : StatusOf(errors_);
}

Status JpegReader::ReadRows(int count, uint8_t* out, int64_t stride_bytes) {
  const bool ok = Guard(&errors_, [this, count, out, stride_bytes] {
    for (int done = 0; done < count;) {
      JSAMPROW rows[8];
      const int wanted = is_cmyk_ ? 1 : std::min(count - done, 8);
      for (int i = 0; i < wanted; ++i) {
        rows[i] = is_cmyk_ ? cmyk_row_->mutable_data() : out + (done + i) * stride_bytes;
      }
      const JDIMENSION got = jpeg_read_scanlines(&info_, rows, static_cast<JDIMENSION>(wanted));
      if (got == 0) ERREXIT(&info_, JERR_INPUT_EOF);
      if (is_cmyk_) {
        CmykToRgb(rows[0], static_cast<int>(info_.output_width), info_.saw_Adobe_marker,
                  out + done * stride_bytes);
      }
      done += static_cast<int>(got);
    }
  });
  return ok ? Status::OK() : StatusOf(errors_);
}

Status JpegReader::Finish() {
  const int left = static_cast<int>(info_.output_height - info_.output_scanline);
  if (left > 0) {
    // libjpeg passes over a skip to the very end without looking at the bytes; so the last row is read.
    ARROW_RETURN_NOT_OK(SkipRows(left - 1));
    const int64_t stride_bytes = int64_t{info_.output_width} * channels();
    ARROW_ASSIGN_OR_RAISE(auto row, arrow::AllocateBuffer(stride_bytes, pool_));
    ARROW_RETURN_NOT_OK(ReadRows(1, row->mutable_data(), stride_bytes));
  }
  const bool ok = Guard(&errors_, [this] { jpeg_finish_decompress(&info_); });
  return ok ? Status::OK() : StatusOf(errors_);
}

}  // namespace

Result<std::unique_ptr<ImageReader>> OpenJpeg(const uint8_t* data, int64_t size, BudgetPool* pool) {
  auto reader = std::make_unique<JpegReader>();
  ARROW_RETURN_NOT_OK(reader->Open(data, size, pool));
  return reader;
}

namespace {

struct JpegDestination {
  jpeg_destination_mgr base;  // first: libjpeg's pointer is cast back
  EncodedOutput* output;
};

void StartOutput(j_compress_ptr info) {
  auto* destination = reinterpret_cast<JpegDestination*>(info->dest);
  info->dest->next_output_byte = destination->output->data();
  info->dest->free_in_buffer = static_cast<size_t>(destination->output->capacity());
}

boolean GrowOutput(j_compress_ptr info) {
  EncodedOutput* output = reinterpret_cast<JpegDestination*>(info->dest)->output;
  const int64_t full = output->capacity();
  if (!output->Grow(0)) ERREXIT1(info, JERR_OUT_OF_MEMORY, 0);
  info->dest->next_output_byte = output->data() + full;
  info->dest->free_in_buffer = static_cast<size_t>(output->capacity() - full);
  return TRUE;
}

}  // namespace

Result<std::shared_ptr<arrow::Buffer>> EncodeJpeg(const ImageView& image, int quality, BudgetPool* pool) {
  if (image.channels != 1 && image.channels != 3)
    return BugError("JPEG of an image that is neither gray nor RGB");
  if (image.width > JPEG_MAX_DIMENSION || image.height > JPEG_MAX_DIMENSION) {
    return DataError("an image of " + std::to_string(image.width) + " x " + std::to_string(image.height) +
                         " pixels is too large for JPEG",
                     "resize it, or encode it as png");
  }
  ARROW_ASSIGN_OR_RAISE(Reservation reservation,
                        pool->Reserve(192 * kKiB + int64_t{image.width + 64} * image.channels * 64));
  const int64_t pixels = int64_t{image.width} * image.height;
  ARROW_ASSIGN_OR_RAISE(auto output, EncodedOutput::Make(4096 + pixels * image.channels / 3, pool));

  jpeg_compress_struct info = {};
  JpegErrors errors = {};
  JpegDestination destination = {};
  InstallErrors(&errors);
  info.err = &errors.base;
  destination.output = output.get();
  destination.base.init_destination = StartOutput;
  destination.base.empty_output_buffer = GrowOutput;
  destination.base.term_destination = [](j_compress_ptr) {};
  const bool ok = Guard(&errors, [&info, &destination, &image, quality] {
    jpeg_create_compress(&info);
    info.dest = &destination.base;
    info.image_width = static_cast<JDIMENSION>(image.width);
    info.image_height = static_cast<JDIMENSION>(image.height);
    info.input_components = image.channels;
    info.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&info);
    jpeg_set_quality(&info, quality, TRUE);
    info.dct_method = JDCT_ISLOW;
    jpeg_start_compress(&info, TRUE);
    while (info.next_scanline < info.image_height) {
      JSAMPROW rows[16];
      const int wanted = std::min<int>(16, static_cast<int>(info.image_height - info.next_scanline));
      for (int i = 0; i < wanted; ++i)
        rows[i] = const_cast<JSAMPROW>(image.row(static_cast<int>(info.next_scanline) + i));
      jpeg_write_scanlines(&info, rows, static_cast<JDIMENSION>(wanted));
    }
    jpeg_finish_compress(&info);
  });
  const int64_t written = output->capacity() - static_cast<int64_t>(destination.base.free_in_buffer);
  jpeg_destroy_compress(&info);
  if (!ok) return output->status().ok() ? StatusOf(errors) : output->status();
  return output->Finish(written);
}

}  // namespace partita
