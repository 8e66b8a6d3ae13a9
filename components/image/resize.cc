#include "components/image/resize.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numbers>
#include <string>

#include "components/image/resize_kernels.h"
#include "partita/memory/budget.h"

namespace partita {

namespace {

constexpr int kVectorPadding = 16;  // zero elements behind a scratch row, for whole-vector loads and stores

bool IsIdentity(const ResizeAxis& axis) {
  return axis.source == axis.output && axis.extent_eighths == int64_t{8} * axis.output;
}
bool Shrinks(const ResizeAxis& axis) { return axis.extent_eighths >= int64_t{8} * axis.output; }

double Sinc(double x) {
  if (std::abs(x) < 1e-9) return 1;
  x *= std::numbers::pi;
  return std::sin(x) / x;
}

struct Kernel {
  double radius;
  double (*at)(double);
};

Kernel KernelOf(Interpolation interpolation) {
  switch (interpolation) {
    case Interpolation::kCubic:
      return {2, [](double x) {
                constexpr double a = -0.75;
                x = std::abs(x);
                if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
                if (x < 2) return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a;
                return 0.0;
              }};
    case Interpolation::kLanczos:
      return {4, [](double x) { return std::abs(x) < 4 ? Sinc(x) * Sinc(x / 4) : 0.0; }};
    default:
      return {1, [](double x) { return std::max(0.0, 1 - std::abs(x)); }};
  }
}

// The most taps an output pixel has; exact for area and nearest, an upper bound for the others.
int64_t MostTaps(const ResizeAxis& axis, Interpolation interpolation) {
  if (interpolation == Interpolation::kNearest) return 1;
  const int64_t ratio = axis.extent_eighths / (int64_t{8} * axis.output) + 1;
  if (interpolation == Interpolation::kArea) return std::min<int64_t>(ratio + 1, axis.source);
  const auto radius = static_cast<int64_t>(KernelOf(interpolation).radius);
  return std::min<int64_t>(2 * radius * ratio + 2, axis.source);
}

// Overlap of output pixel and source pixel in exact integers, rounded so that the weights of a pixel sum to
// one.
void AreaTaps(const ResizeAxis& axis, int bits, FilterTaps* taps) {
  const int64_t pixel = int64_t{8} * axis.output;
  const int64_t extent = axis.extent_eighths;
  for (int i = 0; i < axis.crop_count; ++i) {
    const int64_t begin = (axis.crop_begin + i) * extent;
    const int64_t end = begin + extent;
    const int64_t first = std::min<int64_t>(begin / pixel, axis.source - 1);
    const int64_t last = std::min<int64_t>((end - 1) / pixel, axis.source - 1);
    taps->first[i] = static_cast<int32_t>(first);
    taps->count[i] = static_cast<int32_t>(last - first + 1);
    int64_t before = 0;
    for (int64_t s = first; s <= last; ++s) {
      const int64_t covered = s == last ? extent : (s + 1) * pixel - begin;
      const int64_t until = ((covered << (bits + 1)) + extent) / (2 * extent);
      taps->weights[i * taps->stride + (s - first)] = static_cast<int32_t>(until - before);
      before = until;
    }
  }
}

void NearestTaps(const ResizeAxis& axis, int bits, FilterTaps* taps) {
  for (int i = 0; i < axis.crop_count; ++i) {
    const int64_t at = (axis.crop_begin + i) * axis.extent_eighths / (int64_t{8} * axis.output);
    taps->first[i] = static_cast<int32_t>(std::min<int64_t>(at, axis.source - 1));
    taps->count[i] = 1;
    taps->weights[i] = 1 << bits;
  }
}

// Pixels outside of the picture are copies of its edge.
void KernelTaps(const ResizeAxis& axis, Interpolation interpolation, int bits, FilterTaps* taps) {
  const Kernel kernel = KernelOf(interpolation);
  const double ratio = static_cast<double>(axis.extent_eighths) / 8 / axis.output;
  const double widen = std::max(ratio, 1.0);
  const double support = kernel.radius * widen;
  std::vector<double> exact(taps->stride);
  for (int i = 0; i < axis.crop_count; ++i) {
    const double center = (axis.crop_begin + i + 0.5) * ratio - 0.5;
    const auto from = static_cast<int64_t>(std::ceil(center - support));
    const auto to = static_cast<int64_t>(std::floor(center + support));
    const int64_t first = std::clamp<int64_t>(from, 0, axis.source - 1);
    const int64_t last =
        std::clamp<int64_t>(to, first, std::min<int64_t>(axis.source - 1, first + taps->stride - 1));
    std::fill(exact.begin(), exact.end(), 0.0);
    double sum = 0;
    for (int64_t s = from; s <= to; ++s) {
      const double weight = kernel.at((static_cast<double>(s) - center) / widen);
      exact[std::clamp(s, first, last) - first] += weight;
      sum += weight;
    }
    int32_t* weights = taps->weights.data() + static_cast<int64_t>(i) * taps->stride;
    int32_t rest = 1 << bits;
    int32_t largest = 0;
    for (int32_t t = 0; t <= last - first; ++t) {
      weights[t] = static_cast<int32_t>(std::lround(exact[t] / sum * (1 << bits)));
      rest -= weights[t];
      if (weights[t] > weights[largest]) largest = t;
    }
    weights[largest] += rest;
    taps->first[i] = static_cast<int32_t>(first);
    taps->count[i] = static_cast<int32_t>(last - first + 1);
  }
}

int64_t TapsBytes(const ResizeAxis& axis, Interpolation interpolation) {
  return axis.crop_count * 4 * (MostTaps(axis, interpolation) + 2) + 64;
}

// The caller has reserved TapsBytes.
FilterTaps MakeTaps(const ResizeAxis& axis, Interpolation interpolation, int bits) {
  FilterTaps taps;
  taps.stride = static_cast<int>(MostTaps(axis, interpolation));
  taps.first.resize(axis.crop_count);
  taps.count.resize(axis.crop_count);
  taps.weights.resize(static_cast<size_t>(axis.crop_count) * taps.stride);
  switch (interpolation) {
    case Interpolation::kArea:
      AreaTaps(axis, bits, &taps);
      break;
    case Interpolation::kNearest:
      NearestTaps(axis, bits, &taps);
      break;
    default:
      KernelTaps(axis, interpolation, bits, &taps);
  }
  taps.most = *std::max_element(taps.count.begin(), taps.count.end());
  taps.source_begin = taps.first.front();
  taps.source_end = taps.first.back() + taps.count.back();
  return taps;
}

class TapsResizer : public RowResizer {
 public:
  int row_begin() const override { return y_.source_begin; }
  int row_end() const override { return y_.source_end; }
  int column_begin() const override { return x_.source_begin; }
  int column_end() const override { return x_.source_end; }

  TapsResizer(FilterTaps x, FilterTaps y, int channels, uint8_t* out, int64_t out_stride_bytes,
              Reservation reservation, std::shared_ptr<arrow::Buffer> scratch)
      : x_(std::move(x)),
        y_(std::move(y)),
        channels_(channels),
        out_(out),
        out_stride_bytes_(out_stride_bytes),
        next_row_(y_.source_begin),
        reservation_(std::move(reservation)),
        scratch_(std::move(scratch)) {}

 protected:
  const FilterTaps x_, y_;
  const int channels_;
  uint8_t* out_;
  const int64_t out_stride_bytes_;
  int next_row_;
  size_t next_out_ = 0;
  Reservation reservation_;
  std::shared_ptr<arrow::Buffer> scratch_;
  const ResizeKernels& kernels_ = BestResizeKernels();
};

// Box average where both axes shrink. Rows are summed first: that loop runs over contiguous bytes, and the
// costly horizontal pass runs once for an output row instead of once for a source row.
class AreaResizer final : public TapsResizer {
 public:
  using TapsResizer::TapsResizer;
  static int64_t ScratchElements(const FilterTaps& x, const FilterTaps&, int channels) {
    return int64_t{x.source_end - x.source_begin} * channels + kVectorPadding;
  }

  void Push(const uint8_t* row) override {
    auto* sums = reinterpret_cast<uint32_t*>(scratch_->mutable_data());
    const int64_t n = int64_t{x_.source_end - x_.source_begin} * channels_;
    const int r = next_row_++;
    while (next_out_ < y_.first.size() && r >= y_.first[next_out_]) {
      const int t = r - y_.first[next_out_];
      const auto weight = static_cast<uint32_t>(y_.weights[next_out_ * y_.stride + t]);
      if (t == 0) {
        kernels_.start_row(row, weight, n, sums);
      } else {
        kernels_.add_row(row, weight, n, sums);
      }
      if (t + 1 < y_.count[next_out_]) return;
      kernels_.finish_area_row(sums, n, x_, channels_, out_);
      out_ += out_stride_bytes_;
      ++next_out_;
    }
  }
};

// Any filter: each source row is filtered horizontally once, and kept while an output row needs it.
class FilterResizer final : public TapsResizer {
 public:
  using TapsResizer::TapsResizer;
  static int64_t RowElements(const FilterTaps& x, int channels) {
    return static_cast<int64_t>(x.first.size()) * channels + kVectorPadding;
  }
  // A ring of rows and a row of sums, then the pointers of one mix.
  static int64_t ScratchElements(const FilterTaps& x, const FilterTaps& y, int channels) {
    return RowElements(x, channels) * (y.stride + 1) + 2 * int64_t{y.stride} + 2;
  }

  void Push(const uint8_t* row) override {
    const int r = next_row_++;
    kernels_.filter_row(row, x_, channels_, RingRow(r));
    while (next_out_ < y_.first.size() && r >= y_.first[next_out_] + y_.count[next_out_] - 1) Emit();
  }

 private:
  int32_t* RingRow(int r) {
    return reinterpret_cast<int32_t*>(scratch_->mutable_data()) +
           (r % y_.stride) * RowElements(x_, channels_);
  }
  void Emit() {
    const int64_t row_elements = RowElements(x_, channels_);
    auto* sums = reinterpret_cast<int32_t*>(scratch_->mutable_data()) + y_.stride * row_elements;
    int64_t pointers_at = row_elements * (y_.stride + 1);
    pointers_at += pointers_at % 2;
    auto** rows =
        reinterpret_cast<const int32_t**>(reinterpret_cast<int32_t*>(scratch_->mutable_data()) + pointers_at);
    const int count = y_.count[next_out_];
    for (int t = 0; t < count; ++t) rows[t] = RingRow(y_.first[next_out_] + t);
    kernels_.mix_rows(rows, y_.weights.data() + next_out_ * y_.stride, count,
                      static_cast<int64_t>(x_.first.size()) * channels_, sums, out_);
    out_ += out_stride_bytes_;
    ++next_out_;
  }
};

class CopyResizer final : public RowResizer {
 public:
  CopyResizer(const ResizeAxis& x, const ResizeAxis& y, int channels, uint8_t* out, int64_t out_stride_bytes)
      : x_(x), y_(y), channels_(channels), out_(out), out_stride_bytes_(out_stride_bytes) {}
  int row_begin() const override { return y_.crop_begin; }
  int row_end() const override { return y_.crop_begin + y_.crop_count; }
  int column_begin() const override { return x_.crop_begin; }
  int column_end() const override { return x_.crop_begin + x_.crop_count; }
  void Push(const uint8_t* row) override {
    if (rows_ == y_.crop_count) return;
    std::memcpy(out_ + rows_++ * out_stride_bytes_, row, static_cast<size_t>(x_.crop_count) * channels_);
  }

 private:
  const ResizeAxis x_, y_;
  const int channels_;
  uint8_t* out_;
  const int64_t out_stride_bytes_;
  int64_t rows_ = 0;
};

Status CheckAxis(const ResizeAxis& axis) {
  if (axis.source <= 0 || axis.output <= 0 || axis.crop_count <= 0 || axis.crop_begin < 0 ||
      axis.crop_begin > axis.output - axis.crop_count || axis.extent_eighths <= 0 ||
      axis.extent_eighths > int64_t{8} * axis.source) {
    return BugError("a resize of an impossible axis");
  }
  return Status::OK();
}

// Area averages what an output pixel covers; where the axis grows that is less than a pixel, and lines are
// drawn instead.
Interpolation OnAxis(Interpolation interpolation, const ResizeAxis& axis) {
  return interpolation == Interpolation::kArea && !Shrinks(axis) ? Interpolation::kLinear : interpolation;
}

template <typename Resizer>
Result<std::unique_ptr<RowResizer>> MakeResizer(const ResizeAxis& x, const ResizeAxis& y, int channels,
                                                Interpolation interpolation, int bits, uint8_t* out,
                                                int64_t out_stride_bytes, BudgetPool* pool) {
  const Interpolation on_x = OnAxis(interpolation, x);
  const Interpolation on_y = OnAxis(interpolation, y);
  ARROW_ASSIGN_OR_RAISE(Reservation reservation, pool->Reserve(TapsBytes(x, on_x) + TapsBytes(y, on_y)));
  FilterTaps x_taps = MakeTaps(x, on_x, bits);
  FilterTaps y_taps = MakeTaps(y, on_y, bits);
  const int64_t elements = Resizer::ScratchElements(x_taps, y_taps, channels);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> scratch,
                        arrow::AllocateBuffer(elements * 4 + 16, pool));
  std::memset(scratch->mutable_data(), 0, static_cast<size_t>(scratch->size()));
  return std::make_unique<Resizer>(std::move(x_taps), std::move(y_taps), channels, out, out_stride_bytes,
                                   std::move(reservation), std::move(scratch));
}

}  // namespace

Result<Interpolation> ParseInterpolation(std::string_view name) {
  if (name == "nearest") return Interpolation::kNearest;
  if (name == "linear" || name == "bilinear") return Interpolation::kLinear;
  if (name == "cubic" || name == "bicubic") return Interpolation::kCubic;
  if (name == "area") return Interpolation::kArea;
  if (name == "lanczos" || name == "lanczos4") return Interpolation::kLanczos;
  return UserError("unknown interpolation '" + std::string(name) + "'",
                   "use nearest, linear, bilinear, cubic, bicubic, area, lanczos or lanczos4");
}

Result<std::unique_ptr<RowResizer>> RowResizer::Make(const ResizeAxis& x, const ResizeAxis& y, int channels,
                                                     Interpolation interpolation, uint8_t* out,
                                                     int64_t out_stride_bytes, BudgetPool* pool) {
  ARROW_RETURN_NOT_OK(CheckAxis(x));
  ARROW_RETURN_NOT_OK(CheckAxis(y));
  if (channels != 1 && channels != 3 && channels != 4)
    return BugError("a resize of an image of odd channels");
  if (IsIdentity(x) && IsIdentity(y)) {
    return std::make_unique<CopyResizer>(x, y, channels, out, out_stride_bytes);
  }
  if (interpolation == Interpolation::kArea && Shrinks(x) && Shrinks(y)) {
    return MakeResizer<AreaResizer>(x, y, channels, interpolation, kAreaWeightBits, out, out_stride_bytes,
                                    pool);
  }
  return MakeResizer<FilterResizer>(x, y, channels, interpolation, kFilterWeightBits, out, out_stride_bytes,
                                    pool);
}

}  // namespace partita
