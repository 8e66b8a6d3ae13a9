#include "partita/storage/parquet/repeats.h"

#include <arrow/array.h>
#include <arrow/type_traits.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "partita/base/digest.h"

namespace partita {
namespace {

constexpr int64_t kSampled = 4096, kLeastSampled = 1024;
// Of a million values that are as likely, 4096 meet eight times. Dictionaries are far smaller.
constexpr int64_t kSampledForEachRepeat = 512;

// Counts values that were there before, by their hashes.
class Repeats {
 public:
  Repeats() : seen_(2 * kSampled, 0) {}

  void Add(const void* bytes, int64_t size) {
    const uint64_t hash = Checksum64(bytes, size);
    const auto mark = static_cast<uint32_t>(hash >> 32) | 1;
    size_t at = hash % seen_.size();
    while (seen_[at] != 0 && seen_[at] != mark) at = (at + 1) % seen_.size();
    repeated_ += seen_[at] == mark;
    seen_[at] = mark;
    ++sampled_;
  }
  bool full() const { return sampled_ == kSampled; }
  bool AreFew() const { return sampled_ >= kLeastSampled && repeated_ * kSampledForEachRepeat <= sampled_; }

 private:
  std::vector<uint32_t> seen_;
  int64_t sampled_ = 0, repeated_ = 0;
};

template <typename Visit>
bool Sample(const arrow::Array& values, Visit visit) {
  Repeats repeats;
  for (int64_t i = 0; i < values.length() && !repeats.full(); ++i) {
    if (values.IsValid(i)) visit(i, &repeats);
  }
  return !repeats.AreFew();
}

template <typename Texts>
bool TextsMayRepeat(const arrow::Array& values) {
  const auto& texts = static_cast<const Texts&>(values);
  return Sample(values, [&](int64_t i, Repeats* repeats) {
    const auto text = texts.GetView(i);
    repeats->Add(text.data(), static_cast<int64_t>(text.size()));
  });
}

// Texts behind indices: as the texts themselves.
template <typename Texts>
bool CodedTextsMayRepeat(const arrow::DictionaryArray& values) {
  const auto& dictionary = static_cast<const Texts&>(*values.dictionary());
  return Sample(values, [&](int64_t i, Repeats* repeats) {
    const int64_t entry = values.GetValueIndex(i);
    if (entry < 0 || entry >= dictionary.length() || dictionary.IsNull(entry)) return;
    const auto text = dictionary.GetView(entry);
    repeats->Add(text.data(), static_cast<int64_t>(text.size()));
  });
}

bool CodesMayRepeat(const arrow::DictionaryArray& values) {
  const auto type = values.dictionary()->type_id();
  if (arrow::is_binary_like(type)) return CodedTextsMayRepeat<arrow::BinaryArray>(values);
  if (arrow::is_large_binary_like(type)) return CodedTextsMayRepeat<arrow::LargeBinaryArray>(values);
  return true;
}

}  // namespace

bool MayRepeat(const arrow::Array& values) {
  if (values.length() < kLeastSampled) return true;
  if (values.type_id() == arrow::Type::DICTIONARY)
    return CodesMayRepeat(static_cast<const arrow::DictionaryArray&>(values));
  const auto type = values.type_id();
  if (arrow::is_binary_like(type)) return TextsMayRepeat<arrow::BinaryArray>(values);
  if (arrow::is_large_binary_like(type)) return TextsMayRepeat<arrow::LargeBinaryArray>(values);
  const bool is_fixed =
      arrow::is_primitive(type) || arrow::is_decimal(type) || type == arrow::Type::FIXED_SIZE_BINARY;
  if (!is_fixed || type == arrow::Type::BOOL) return true;
  const int64_t width = static_cast<const arrow::FixedWidthType&>(*values.type()).bit_width() / 8;
  const auto& data = *values.data();
  if (width == 0 || data.buffers[1] == nullptr) return true;
  const uint8_t* first = data.buffers[1]->data() + data.offset * width;
  return Sample(values, [&](int64_t i, Repeats* repeats) { repeats->Add(first + i * width, width); });
}

}  // namespace partita
