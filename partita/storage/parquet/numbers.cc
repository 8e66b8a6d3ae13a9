#include "partita/storage/parquet/numbers.h"

#include <arrow/util/bit_util.h>

#include <algorithm>
#include <cstring>

#include "partita/base/all_below.h"

namespace partita {
namespace {

constexpr int64_t kLookedUpAtOnce = 1024;

// In blocks of a constant size, which the compiler turns into vectors.
template <typename T>
void Narrow(const uint8_t* from, int64_t count, uint8_t* out) {
  constexpr int64_t kBlock = 16;
  const auto narrow = [&](int64_t values) {
    uint32_t stored[kBlock] = {};
    T narrowed[kBlock];
    std::memcpy(stored, from, static_cast<size_t>(values) * sizeof(uint32_t));
    for (int64_t i = 0; i < kBlock; ++i) narrowed[i] = static_cast<T>(stored[i]);
    std::memcpy(out, narrowed, static_cast<size_t>(values) * sizeof(T));
    from += values * static_cast<int64_t>(sizeof(uint32_t));
    out += values * static_cast<int64_t>(sizeof(T));
  };
  for (; count >= kBlock; count -= kBlock) narrow(kBlock);
  if (count > 0) narrow(count);
}

template <typename T>
Status CheckIndices(const T* indices, int64_t count, int64_t size) {
  if (AllBelow(indices, static_cast<size_t>(count), static_cast<uint64_t>(size))) return Status::OK();
  return Status::Invalid("an index that is not in its dictionary of ", size);
}

Status LookUpBytes(const NumberDictionary& dictionary, const Run& run, uint8_t* out) {
  const uint8_t* indices = run.packed + run.first;
  if (dictionary.is_identity) {
    std::memcpy(out, indices, static_cast<size_t>(run.count));
    return Status::OK();
  }
  ARROW_RETURN_NOT_OK(CheckIndices(indices, run.count, dictionary.size));
  for (int64_t i = 0; i < run.count; ++i) out[i] = dictionary.values[indices[i]];
  return Status::OK();
}

template <typename T>
Status LookUpAs(const NumberDictionary& dictionary, int bit_width, RunReader* reader, int64_t count, T* out) {
  const auto* values = reinterpret_cast<const T*>(dictionary.values);
  if (bit_width == 0 && count > 0) {
    constexpr uint32_t kFirst = 0;
    ARROW_RETURN_NOT_OK(CheckIndices(&kFirst, 1, dictionary.size));
    std::fill_n(out, count, values[0]);
    return Status::OK();
  }
  const bool bytes = sizeof(T) == 1 && bit_width == 8;
  uint32_t indices[kLookedUpAtOnce];
  while (count > 0) {
    ARROW_ASSIGN_OR_RAISE(const Run run, reader->Take(bytes ? count : std::min(count, kLookedUpAtOnce)));
    if (run.packed == nullptr) {
      ARROW_RETURN_NOT_OK(CheckIndices(&run.value, 1, dictionary.size));
      std::fill_n(out, run.count, values[run.value]);
    } else if (bytes) {
      ARROW_RETURN_NOT_OK(LookUpBytes(dictionary, run, reinterpret_cast<uint8_t*>(out)));
    } else {
      reader->Unpack(run, indices);
      ARROW_RETURN_NOT_OK(CheckIndices(indices, run.count, dictionary.size));
#pragma GCC unroll 8
      for (int64_t i = 0; i < run.count; ++i) out[i] = values[indices[i]];
    }
    count -= run.count;
    out += run.count;
  }
  return Status::OK();
}

template <typename T>
void SpreadAs(const uint8_t* bits, int64_t first_bit, int64_t rows, int64_t present, uint8_t* bytes) {
  auto* values = reinterpret_cast<T*>(bytes);
  for (int64_t row = rows; row-- > 0;) {
    const bool is_there = arrow::bit_util::GetBit(bits, first_bit + row);
    values[row] = is_there && present > 0 ? values[--present] : T();
  }
}

}  // namespace

void Convert(const NumberForm& form, const uint8_t* from, int64_t count, uint8_t* out) {
  if (form.width == form.stored_width) {
    if (count > 0) std::memcpy(out, from, static_cast<size_t>(count * form.width));
  } else if (form.width == 1) {
    Narrow<uint8_t>(from, count, out);
  } else {
    Narrow<uint16_t>(from, count, out);
  }
}

Status LookUp(const NumberDictionary& dictionary, int bit_width, RunReader* indices, int64_t count,
              uint8_t* out) {
  switch (dictionary.width) {
    case 1:
      return LookUpAs(dictionary, bit_width, indices, count, out);
    case 2:
      return LookUpAs(dictionary, bit_width, indices, count, reinterpret_cast<uint16_t*>(out));
    case 4:
      return LookUpAs(dictionary, bit_width, indices, count, reinterpret_cast<uint32_t*>(out));
    default:
      return LookUpAs(dictionary, bit_width, indices, count, reinterpret_cast<uint64_t*>(out));
  }
}

Status ReadIndices(int64_t size, int bit_width, RunReader* indices, int64_t count, uint32_t* out) {
  if (bit_width == 0 && count > 0) {
    std::fill_n(out, count, 0);
    return CheckIndices(out, 1, size);
  }
  while (count > 0) {
    ARROW_ASSIGN_OR_RAISE(const Run run, indices->Take(std::min(count, kLookedUpAtOnce)));
    if (run.packed == nullptr) {
      std::fill_n(out, run.count, run.value);
    } else {
      indices->Unpack(run, out);
    }
    ARROW_RETURN_NOT_OK(CheckIndices(out, run.count, size));
    count -= run.count;
    out += run.count;
  }
  return Status::OK();
}

void Spread(int width, const uint8_t* bits, int64_t first_bit, int64_t rows, int64_t present,
            uint8_t* values) {
  switch (width) {
    case 1:
      return SpreadAs<uint8_t>(bits, first_bit, rows, present, values);
    case 2:
      return SpreadAs<uint16_t>(bits, first_bit, rows, present, values);
    case 4:
      return SpreadAs<uint32_t>(bits, first_bit, rows, present, values);
    default:
      return SpreadAs<uint64_t>(bits, first_bit, rows, present, values);
  }
}

}  // namespace partita
