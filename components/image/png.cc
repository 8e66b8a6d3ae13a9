#include "components/image/png.h"

#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>
#include <string>

#include "components/image/encoded_output.h"
#include "partita/base/units.h"
#include "partita/memory/budget.h"

namespace partita {

namespace {

// libpng reports errors by a callback that must not return: it jumps back to Guard. Nothing between may own
// anything.
struct PngErrors {
  std::jmp_buf jump;
  char message[128] = {};
  bool at_end = false;
};

[[noreturn]] void FailPng(png_structp png, png_const_charp message) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::strncpy(errors->message, message, sizeof(errors->message) - 1);
  std::longjmp(errors->jump, 1);
}

void IgnoreWarning(png_structp, png_const_charp) {}

template <typename Call>
bool Guard(PngErrors* errors, const Call& call) {
  if (setjmp(errors->jump) != 0) return false;
  call();
  return true;
}

Status StatusOf(const PngErrors& errors) {
  if (errors.at_end) return DataError("broken PNG: it ends early");
  if (std::string_view(errors.message) == "Out of memory")
    return OutOfMemoryError("the PNG codec got no memory");
  return DataError("broken PNG: " + std::string(errors.message));
}

struct PngInput {
  const uint8_t* next;
  size_t left;
};

void ReadInput(png_structp png, png_bytep out, size_t size) {
  auto* input = static_cast<PngInput*>(png_get_io_ptr(png));
  if (size > input->left) {
    static_cast<PngErrors*>(png_get_error_ptr(png))->at_end = true;
    png_error(png, "it ends early");
  }
  std::memcpy(out, input->next, size);
  input->next += size;
  input->left -= size;
}

// Everything but IHDR, PLTE, tRNS, IDAT and IEND: not parsed, so that a compressed text cannot expand.
constexpr png_byte kUnreadChunks[] =
    "bKGD\0cHRM\0eXIf\0gAMA\0hIST\0iCCP\0iTXt\0oFFs\0pCAL\0pHYs\0sBIT\0sCAL\0sPLT\0sRGB\0sTER\0tEXt\0tIME\0zT"
    "Xt";

class PngReader final : public ImageReader {
 public:
  PngReader() = default;
  ~PngReader() override {
    if (png_ != nullptr) png_destroy_read_struct(&png_, info_ != nullptr ? &info_ : nullptr, nullptr);
  }

  Status Open(const uint8_t* data, int64_t size, AlphaMode alpha, BudgetPool* pool);

  int width() const override { return width_; }
  int height() const override { return height_; }
  int channels() const override { return composite_ ? 3 : decoded_channels_; }
  bool has_alpha() const override { return decoded_channels_ == 4; }
  Status Start(int n, int column_begin, int column_end) override;
  Status SkipRows(int count) override;
  Status ReadRows(int count, uint8_t* out, int64_t stride_bytes) override;
  Status Finish() override;

 private:
  void ReadHeader();
  int64_t decoded_stride() const { return int64_t{width_} * decoded_channels_; }

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  PngErrors errors_;
  PngInput input_ = {};
  int width_ = 0, height_ = 0, decoded_channels_ = 0, passes_ = 1;
  bool composite_ = false;
  int row_ = 0;
  BudgetPool* pool_ = nullptr;
  Reservation reservation_;
  std::shared_ptr<arrow::Buffer> rows_;  // one row, or the whole picture where it is interlaced
};

void PngReader::ReadHeader() {
  png_set_read_fn(png_, &input_, ReadInput);
  png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // CheckLimits has looked
  png_set_chunk_malloc_max(png_, 1 << 20);
  png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, kUnreadChunks, sizeof(kUnreadChunks) / 5);
  png_read_info(png_, info_);
  const int color_type = png_get_color_type(png_, info_);
  const int bit_depth = png_get_bit_depth(png_, info_);
  if (color_type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
  if (color_type == PNG_COLOR_TYPE_GRAY && bit_depth < 8) png_set_expand_gray_1_2_4_to_8(png_);
  const bool has_transparency = png_get_valid(png_, info_, PNG_INFO_tRNS) != 0;
  if (has_transparency) png_set_tRNS_to_alpha(png_);
  if (bit_depth == 16) png_set_scale_16(png_);
  if (color_type == PNG_COLOR_TYPE_GRAY_ALPHA || (color_type == PNG_COLOR_TYPE_GRAY && has_transparency)) {
    png_set_gray_to_rgb(png_);
  }
  passes_ = png_set_interlace_handling(png_);
  png_read_update_info(png_, info_);
  width_ = static_cast<int>(png_get_image_width(png_, info_));
  height_ = static_cast<int>(png_get_image_height(png_, info_));
  decoded_channels_ = png_get_channels(png_, info_);
  if (png_get_rowbytes(png_, info_) != static_cast<size_t>(decoded_stride()))
    png_error(png_, "unexpected row size");
}

Status PngReader::Open(const uint8_t* data, int64_t size, AlphaMode alpha, BudgetPool* pool) {
  pool_ = pool;
  input_ = {data, static_cast<size_t>(size)};
  ARROW_ASSIGN_OR_RAISE(const ImageInfo header, ProbeImage(data, size));
  // Two rows of up to 16-bit RGBA and their predictor, zlib's window, a chunk.
  ARROW_ASSIGN_OR_RAISE(reservation_, pool->Reserve(256 * kKiB + int64_t{header.width} * 8 * 3));
  const bool ok = Guard(&errors_, [this] {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, FailPng, IgnoreWarning);
    if (png_ == nullptr) return;
    info_ = png_create_info_struct(png_);
    if (info_ != nullptr) ReadHeader();
  });
  if (png_ == nullptr || info_ == nullptr) return OutOfMemoryError("the PNG codec got no memory");
  if (!ok) return StatusOf(errors_);
  composite_ = has_alpha() && alpha == AlphaMode::kOnWhite;
  return Status::OK();
}

Status PngReader::Start(int, int, int) {
  const bool interlaced = passes_ > 1;
  ARROW_ASSIGN_OR_RAISE(rows_, arrow::AllocateBuffer(decoded_stride() * (interlaced ? height_ : 1), pool_));
  if (!interlaced) return Status::OK();
  std::memset(rows_->mutable_data(), 0, static_cast<size_t>(rows_->size()));
  const bool ok = Guard(&errors_, [this] {
    for (int pass = 0; pass < passes_; ++pass) {
      for (int y = 0; y < height_; ++y)
        png_read_row(png_, rows_->mutable_data() + y * decoded_stride(), nullptr);
    }
  });
  return ok ? Status::OK() : StatusOf(errors_);
}

Status PngReader::SkipRows(int count) {
  row_ += count;
  if (passes_ > 1) return Status::OK();
  const bool ok = Guard(&errors_, [this, count] {
    for (int i = 0; i < count; ++i) png_read_row(png_, rows_->mutable_data(), nullptr);
  });
  return ok ? Status::OK() : StatusOf(errors_);
}

Status PngReader::ReadRows(int count, uint8_t* out, int64_t stride_bytes) {
  const bool ok = Guard(&errors_, [this, count, out, stride_bytes] {
    for (int i = 0; i < count; ++i) {
      uint8_t* to = out + i * stride_bytes;
      const uint8_t* decoded = rows_->data();
      if (passes_ > 1) {
        decoded += (row_ + i) * decoded_stride();
      } else {
        png_read_row(png_, composite_ ? rows_->mutable_data() : to, nullptr);
      }
      if (composite_) {
        CompositeOnWhite(decoded, width_, to);
      } else if (passes_ > 1) {
        std::memcpy(to, decoded, static_cast<size_t>(decoded_stride()));
      }
    }
  });
  row_ += count;
  return ok ? Status::OK() : StatusOf(errors_);
}

Status PngReader::Finish() {
  ARROW_RETURN_NOT_OK(SkipRows(height_ - row_));
  const bool ok = Guard(&errors_, [this] { png_read_end(png_, nullptr); });
  return ok ? Status::OK() : StatusOf(errors_);
}

void WriteOutput(png_structp png, png_bytep bytes, size_t size) {
  auto* output = static_cast<EncodedOutput*>(png_get_io_ptr(png));
  if (!output->Append(bytes, static_cast<int64_t>(size))) png_error(png, "Out of memory");
}

}  // namespace

Result<std::unique_ptr<ImageReader>> OpenPng(const uint8_t* data, int64_t size, AlphaMode alpha,
                                             BudgetPool* pool) {
  auto reader = std::make_unique<PngReader>();
  ARROW_RETURN_NOT_OK(reader->Open(data, size, alpha, pool));
  return reader;
}

Result<std::shared_ptr<arrow::Buffer>> EncodePng(const ImageView& image, int level, BudgetPool* pool) {
  // zlib's deflate state, five filtered rows.
  ARROW_ASSIGN_OR_RAISE(Reservation reservation,
                        pool->Reserve(384 * kKiB + int64_t{image.width} * image.channels * 6));
  const int64_t raw_bytes = int64_t{image.width} * image.channels * image.height;
  ARROW_ASSIGN_OR_RAISE(auto output, EncodedOutput::Make(4096 + raw_bytes / 2, pool));
  PngErrors errors;
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors, FailPng, IgnoreWarning);
  png_infop info = png != nullptr ? png_create_info_struct(png) : nullptr;
  if (info == nullptr) {
    if (png != nullptr) png_destroy_write_struct(&png, nullptr);
    return OutOfMemoryError("the PNG codec got no memory");
  }
  const int color_type = image.channels == 1   ? PNG_COLOR_TYPE_GRAY
                         : image.channels == 3 ? PNG_COLOR_TYPE_RGB
                                               : PNG_COLOR_TYPE_RGB_ALPHA;
  EncodedOutput* to = output.get();
  const bool ok = Guard(&errors, [png, info, to, &image, color_type, level] {
    png_set_write_fn(png, to, WriteOutput, nullptr);
    png_set_user_limits(png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_compression_level(png, level);
    png_set_IHDR(png, info, static_cast<png_uint_32>(image.width), static_cast<png_uint_32>(image.height), 8,
                 color_type, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < image.height; ++y) png_write_row(png, image.row(y));
    png_write_end(png, nullptr);
  });
  png_destroy_write_struct(&png, &info);
  if (!ok) return output->status().ok() ? StatusOf(errors) : output->status();
  return output->Finish(output->written());
}

}  // namespace partita
