#include "partita/storage/parquet/number_pages.h"

#include <arrow/type.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>

namespace partita {
namespace {

constexpr int64_t kStepRows = PageMaker::kStepRows;
constexpr int kFirstSlotBits = 8;

// Numbers in the order in which they come. Those are the same that have the same bits.
template <typename T>
class NumberCodes {
 public:
  explicit NumberCodes(arrow::MemoryPool* pool) : pool_(pool), slots_(pool), values_(pool) {}

  // Room for so many more.
  Status Reserve(int64_t numbers) {
    const int64_t most = size() + numbers;
    ARROW_RETURN_NOT_OK(values_.Reserve(numbers));
    return 2 * most < slots_.length() ? Status::OK() : Grow(most);
  }

  // The number of `value`; a new one where it was not there before.
  uint32_t CodeOf(T value) {
    Slot* const slots = slots_.mutable_data();
    const auto mask = static_cast<size_t>(slots_.length()) - 1;
    size_t at = HomeOf(value);
    for (; slots[at].number != 0; at = (at + 1) & mask) {
      if (BitsOf(slots[at].value) == BitsOf(value)) return slots[at].number - 1;
    }
    values_.UnsafeAppend(value);
    slots[at] = {value, size()};
    return size() - 1;
  }

  uint32_t size() const { return static_cast<uint32_t>(values_.length()); }
  const T* values() const { return values_.data(); }
  std::string_view plain() const {
    return {reinterpret_cast<const char*>(values_.data()), size() * sizeof(T)};
  }

 private:
  using Bits = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  struct Slot {
    T value{};
    uint32_t number = 0;  // the code and 1; 0: free
  };

  static Bits BitsOf(T value) { return std::bit_cast<Bits>(value); }
  size_t HomeOf(T value) const {
    uint64_t bits = BitsOf(value);
    bits ^= bits >> 32;
    return static_cast<size_t>((bits * 0x9e3779b97f4a7c15ULL) >> (64 - slot_bits_));
  }

  Status Grow(int64_t most) {
    slot_bits_ = std::max(kFirstSlotBits, static_cast<int>(std::bit_width(static_cast<uint64_t>(2 * most))));
    const int64_t slots = int64_t{1} << slot_bits_;
    arrow::TypedBufferBuilder<Slot> grown(pool_);
    ARROW_RETURN_NOT_OK(grown.Reserve(slots));
    grown.UnsafeAppend(slots, Slot());
    for (uint32_t code = 0; code < size(); ++code) {
      size_t at = HomeOf(values_.data()[code]);
      while (grown.data()[at].number != 0) at = (at + 1) & static_cast<size_t>(slots - 1);
      grown.mutable_data()[at] = {values_.data()[code], code + 1};
    }
    slots_ = std::move(grown);
    return Status::OK();
  }

  arrow::MemoryPool* pool_;
  int slot_bits_ = 0;
  arrow::TypedBufferBuilder<Slot> slots_;  // a power of two of them, at most half in use
  arrow::TypedBufferBuilder<T> values_;
};

// The least and the greatest; NaN is neither.
template <typename T>
class NumberRange {
 public:
  void Add(const T* values, int64_t count) {
    T least = least_, greatest = greatest_;
    for (int64_t i = 0; i < count; ++i) {
      least = values[i] < least ? values[i] : least;
      greatest = values[i] > greatest ? values[i] : greatest;
    }
    least_ = least;
    greatest_ = greatest;
  }

  void Set(parquet::EncodedStatistics* statistics) const {
    if (least_ > greatest_) return;  // there are none
    T least = least_, greatest = greatest_;
    if constexpr (std::is_floating_point_v<T>) {
      // Zeros of both signs are equal.
      if (least == 0) least = -T{0};
      if (greatest == 0) greatest = T{0};
    }
    statistics->set_min(Text(least)).set_max(Text(greatest));
  }

 private:
  using Limits = std::numeric_limits<T>;
  static std::string Text(T value) { return {reinterpret_cast<const char*>(&value), sizeof(T)}; }

  // Where there are none, the least is behind the greatest.
  T least_ = Limits::has_infinity ? Limits::infinity() : Limits::max();
  T greatest_ = Limits::has_infinity ? -Limits::infinity() : Limits::lowest();
};

template <typename T>
class NumberPages final : public FlatPages {
 public:
  NumberPages(const parquet::ColumnDescriptor* descr, const parquet::WriterProperties* properties,
              parquet::PageWriter* pager, arrow::MemoryPool* pool)
      : pages_(descr, properties, pager, pool), codes_(pool), present_(pool), plain_(pool) {}

  Status Add(const arrow::Array& rows) override {
    const T* values = rows.data()->GetValues<T>(1);
    const bool has_nulls = rows.null_count() > 0;
    for (int64_t begin = 0; begin < rows.length(); begin += kStepRows) {
      const int64_t count = std::min(kStepRows, rows.length() - begin);
      ARROW_RETURN_NOT_OK(pages_.StartStep(count));
      if (!has_nulls) {
        pages_.AddPresent(count);
        ARROW_RETURN_NOT_OK(AddValues(values + begin, count));
      } else {
        ARROW_RETURN_NOT_OK(AddSome(rows, values, begin, begin + count));
      }
      if (pages_.IsFull(PageBytes())) ARROW_RETURN_NOT_OK(EndPage());
    }
    const bool is_long = codes_ && pages_.IsFullDictionary(std::ssize(codes_->plain()));
    return is_long ? EndDictionary() : Status::OK();
  }

  Status EndDictionary() override {
    if (!codes_) return Status::OK();
    ARROW_RETURN_NOT_OK(EndPage());
    pages_.WriteDictionary(codes_->plain(), codes_->size());
    range_.Add(codes_->values(), codes_->size());
    codes_.reset();
    present_.Reset();
    return Status::OK();
  }

  Status Finish() override { return codes_ ? EndDictionary() : EndPage(); }
  int64_t nulls() const override { return pages_.nulls(); }
  void SetRange(parquet::EncodedStatistics* statistics) const override { range_.Set(statistics); }

 private:
  // Some of the rows are null.
  Status AddSome(const arrow::Array& rows, const T* values, int64_t begin, int64_t end) {
    T there[kStepRows];
    int64_t count = 0;
    for (int64_t row = begin; row < end; ++row) {
      if (rows.IsNull(row)) {
        ARROW_RETURN_NOT_OK(pages_.AddNull());
        continue;
      }
      there[count++] = values[row];
      pages_.AddPresent();
    }
    return AddValues(there, count);
  }

  Status AddValues(const T* values, int64_t count) {
    if (!codes_) {
      ARROW_RETURN_NOT_OK(plain_.Append(values, count));
      range_.Add(values, count);
      return Status::OK();
    }
    ARROW_RETURN_NOT_OK(codes_->Reserve(count));
    ARROW_RETURN_NOT_OK(present_.Reserve(count));
    uint32_t* out = present_.mutable_data() + present_.length();
    for (int64_t i = 0; i < count; ++i) out[i] = codes_->CodeOf(values[i]);
    present_.UnsafeAdvance(count);
    return Status::OK();
  }

  int64_t PageBytes() const {
    return codes_ ? present_.length() * IndexBits(codes_->size()) / 8
                  : plain_.length() * static_cast<int64_t>(sizeof(T));
  }

  Status EndPage() {
    ARROW_RETURN_NOT_OK(codes_
                            ? pages_.EndIndices(present_.data(), present_.length(), codes_->size())
                            : pages_.EndPlain(reinterpret_cast<const uint8_t*>(plain_.data()), PageBytes()));
    present_.bytes_builder()->Rewind(0);
    plain_.bytes_builder()->Rewind(0);
    return Status::OK();
  }

  PageMaker pages_;
  std::optional<NumberCodes<T>> codes_;  // none: what comes is plain
  arrow::TypedBufferBuilder<uint32_t> present_;
  arrow::TypedBufferBuilder<T> plain_;
  NumberRange<T> range_;
};

}  // namespace

bool IsPlainNumber(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::INT32:
    case arrow::Type::INT64:
    case arrow::Type::FLOAT:
    case arrow::Type::DOUBLE:
    case arrow::Type::DATE32:
      return true;
    default:
      return false;
  }
}

std::unique_ptr<FlatPages> MakeNumberPages(const parquet::ColumnDescriptor* descr,
                                           const parquet::WriterProperties* properties,
                                           parquet::PageWriter* pager, arrow::MemoryPool* pool) {
  switch (descr->physical_type()) {
    case parquet::Type::INT32:
      return std::make_unique<NumberPages<int32_t>>(descr, properties, pager, pool);
    case parquet::Type::INT64:
      return std::make_unique<NumberPages<int64_t>>(descr, properties, pager, pool);
    case parquet::Type::FLOAT:
      return std::make_unique<NumberPages<float>>(descr, properties, pager, pool);
    case parquet::Type::DOUBLE:
      return std::make_unique<NumberPages<double>>(descr, properties, pager, pool);
    default:
      return nullptr;
  }
}

}  // namespace partita
