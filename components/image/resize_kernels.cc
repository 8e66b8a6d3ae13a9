#include "components/image/resize_kernels.h"

#include <algorithm>
#include <cstring>

#include "components/image/resize.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define PARTITA_AVX2 __attribute__((target("avx2")))
#endif

namespace partita {

namespace {

#define PARTITA_INLINE inline __attribute__((always_inline))

using U32x4 = uint32_t __attribute__((vector_size(16)));
using I32x4 = int32_t __attribute__((vector_size(16)));
using U8x4 = uint8_t __attribute__((vector_size(4)));
using U8x16 = uint8_t __attribute__((vector_size(16)));

PARTITA_INLINE void StartRow(const uint8_t* __restrict row, uint32_t weight, int64_t n,
                             uint32_t* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] = weight * row[i];
}

PARTITA_INLINE void AddRow(const uint8_t* __restrict row, uint32_t weight, int64_t n,
                           uint32_t* __restrict sums) {
  for (int64_t i = 0; i < n; ++i) sums[i] += weight * row[i];
}

// kTaps > 0: every pixel has so many taps, some of weight zero, and the loop over them is unrolled; 0:
// x.count tells.
template <int kChannels, int kTaps>
PARTITA_INLINE void FinishAreaPixels(const uint32_t* sums, const FilterTaps& x, uint8_t* out) {
  const int64_t pixels = static_cast<int64_t>(x.first.size());
  const int32_t* weights = x.weights.data();
  for (int64_t i = 0; i < pixels; ++i, weights += x.stride) {
    const uint32_t* source = sums + static_cast<int64_t>(x.first[i] - x.source_begin) * kChannels;
    const int count = kTaps > 0 ? kTaps : x.count[i];
    if constexpr (kChannels == 1) {
      uint32_t sum = uint32_t{1} << 23;
      for (int t = 0; t < count; ++t) sum += static_cast<uint32_t>(weights[t]) * source[t];
      out[i] = static_cast<uint8_t>(sum >> 24);
    } else {
      U32x4 sum = {1u << 23, 1u << 23, 1u << 23, 1u << 23};
      for (int t = 0; t < count; ++t) {
        U32x4 value;
        std::memcpy(&value, source + t * kChannels, sizeof(value));
        sum += static_cast<uint32_t>(weights[t]) * value;
      }
      // The top byte of each lane. Four bytes are written where three are meant: the next pixel comes after.
      const U8x16 bytes = reinterpret_cast<U8x16>(sum);
      const U8x4 top = __builtin_shufflevector(bytes, bytes, 3, 7, 11, 15);
      std::memcpy(out + i * kChannels, &top, i + 1 < pixels ? sizeof(top) : size_t{kChannels});
    }
  }
}

template <int kChannels>
PARTITA_INLINE void FinishAreaPixels(const uint32_t* sums, const FilterTaps& x, uint8_t* out) {
  switch (x.most) {
    case 1:
      return FinishAreaPixels<kChannels, 1>(sums, x, out);
    case 2:
      return FinishAreaPixels<kChannels, 2>(sums, x, out);
    case 3:
      return FinishAreaPixels<kChannels, 3>(sums, x, out);
    case 4:
      return FinishAreaPixels<kChannels, 4>(sums, x, out);
    default:
      return FinishAreaPixels<kChannels, 0>(sums, x, out);
  }
}

PARTITA_INLINE void FinishAreaRow(uint32_t* sums, int64_t n, const FilterTaps& x, int channels,
                                  uint8_t* out) {
  // 255 * 2^16 with 16 fraction bits becomes at most 65280 with 8, so that 2^16 times it still fits 32 bits.
  for (int64_t i = 0; i < n; ++i) sums[i] = (sums[i] + 128) >> 8;
  if (channels == 1) return FinishAreaPixels<1>(sums, x, out);
  if (channels == 3) return FinishAreaPixels<3>(sums, x, out);
  FinishAreaPixels<4>(sums, x, out);
}

template <int kChannels>
PARTITA_INLINE void FilterPixels(const uint8_t* row, const FilterTaps& x, int32_t* out) {
  constexpr int kShift = kFilterWeightBits - kFilterFractionBits;
  const int64_t pixels = static_cast<int64_t>(x.first.size());
  for (int64_t i = 0; i < pixels; ++i) {
    const int32_t* weights = x.weights.data() + i * x.stride;
    const uint8_t* source = row + static_cast<int64_t>(x.first[i] - x.source_begin) * kChannels;
    const int count = x.count[i];
    if constexpr (kChannels == 1) {
      int32_t sum = 1 << (kShift - 1);
      for (int t = 0; t < count; ++t) sum += weights[t] * source[t];
      out[i] = sum >> kShift;
    } else {
      constexpr int32_t kHalf = 1 << (kShift - 1);
      I32x4 sum = {kHalf, kHalf, kHalf, kHalf};
      for (int t = 0; t < count; ++t) {
        U8x4 value;
        std::memcpy(&value, source + t * kChannels, sizeof(value));
        sum += weights[t] * __builtin_convertvector(value, I32x4);
      }
      sum >>= kShift;
      std::memcpy(out + i * kChannels, &sum, sizeof(sum));
    }
  }
}

PARTITA_INLINE void FilterRow(const uint8_t* row, const FilterTaps& x, int channels, int32_t* out) {
  if (channels == 1) return FilterPixels<1>(row, x, out);
  if (channels == 3) return FilterPixels<3>(row, x, out);
  FilterPixels<4>(row, x, out);
}

PARTITA_INLINE void MixRows(const int32_t* const* rows, const int32_t* weights, int count, int64_t n,
                            int32_t* __restrict sums, uint8_t* __restrict out) {
  constexpr int kShift = kFilterWeightBits + kFilterFractionBits;
  for (int64_t i = 0; i < n; ++i) sums[i] = 1 << (kShift - 1);
  for (int t = 0; t < count; ++t) {
    const int32_t* __restrict row = rows[t];
    const int32_t weight = weights[t];
    for (int64_t i = 0; i < n; ++i) sums[i] += weight * row[i];
  }
  for (int64_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(std::clamp(sums[i] >> kShift, 0, 255));
}

#define PARTITA_VARIANT(suffix, attribute)                                                                \
  attribute void StartRow##suffix(const uint8_t* r, uint32_t w, int64_t n, uint32_t* s) {                 \
    StartRow(r, w, n, s);                                                                                 \
  }                                                                                                       \
  attribute void AddRow##suffix(const uint8_t* r, uint32_t w, int64_t n, uint32_t* s) {                   \
    AddRow(r, w, n, s);                                                                                   \
  }                                                                                                       \
  attribute void FinishAreaRow##suffix(uint32_t* s, int64_t n, const FilterTaps& x, int c, uint8_t* o) {  \
    FinishAreaRow(s, n, x, c, o);                                                                         \
  }                                                                                                       \
  attribute void FilterRow##suffix(const uint8_t* r, const FilterTaps& x, int c, int32_t* o) {            \
    FilterRow(r, x, c, o);                                                                                \
  }                                                                                                       \
  attribute void MixRows##suffix(const int32_t* const* r, const int32_t* w, int c, int64_t n, int32_t* s, \
                                 uint8_t* o) {                                                            \
    MixRows(r, w, c, n, s, o);                                                                            \
  }                                                                                                       \
  constexpr ResizeKernels kKernels##suffix = {StartRow##suffix, AddRow##suffix, FinishAreaRow##suffix,    \
                                              FilterRow##suffix, MixRows##suffix};

PARTITA_VARIANT(Portable, )
#ifdef PARTITA_AVX2
PARTITA_VARIANT(Avx2, PARTITA_AVX2)
#endif

}  // namespace

const ResizeKernels& PortableResizeKernels() { return kKernelsPortable; }

const ResizeKernels& BestResizeKernels() {
#ifdef PARTITA_AVX2
  static const bool has_avx2 = __builtin_cpu_supports("avx2");
  if (has_avx2) return kKernelsAvx2;
#endif
  return kKernelsPortable;
}

}  // namespace partita
