// quantile and median, exact: all values of a group are kept.
#include <arrow/array.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>

#include "partita/operator/aggregate/doubles.h"
#include "partita/operator/aggregate/kinds.h"

namespace partita {
namespace {

constexpr int kBucketBits = 10;
constexpr int64_t kManyNumbers = 2048;  // from which on it pays to count before numbers change places

constexpr uint64_t kSign = uint64_t{1} << 63;
constexpr uint64_t kNoKey = std::numeric_limits<uint64_t>::max();  // of a NaN

// Keys are in the order of their numbers, which are no NaN.
uint64_t KeyOf(double number) {
  const auto bits = std::bit_cast<uint64_t>(number);
  return (bits & kSign) != 0 ? ~bits : bits | kSign;
}
double NumberOf(uint64_t key) { return std::bit_cast<double>((key & kSign) != 0 ? key & ~kSign : ~key); }

// Of [begin, end), those that may be the one at the place `at` come to the front. Told are their end, the new
// place, and the least number above them if there is any. They are all those of one bucket, of which there
// are a thousand between the least and the greatest: a pass to count them and one to take them out, in which
// hardly a branch depends on the numbers.
double* MoveCandidates(double* begin, double* end, int64_t* at, double* above) {
  uint64_t least = kNoKey, most = 0;
  for (const double* number = begin; number < end; ++number) {
    const uint64_t key = KeyOf(*number);
    least = std::min(least, key);
    most = std::max(most, key);
  }
  if (least == most) return end;
  const int shift = std::max(0, static_cast<int>(std::bit_width(most - least)) - kBucketBits);
  std::array<int64_t, size_t{1} << kBucketBits> counts{};
  for (const double* number = begin; number < end; ++number) ++counts[(KeyOf(*number) - least) >> shift];
  size_t wanted = 0;
  for (; counts[wanted] <= *at; ++wanted) *at -= counts[wanted];
  double* candidates_end = begin;
  uint64_t least_above = kNoKey;
  for (double* number = begin; number < end; ++number) {
    const uint64_t key = KeyOf(*number), bucket = (key - least) >> shift;
    least_above = std::min(least_above, bucket > wanted ? key : kNoKey);
    if (bucket == wanted) std::swap(*number, *candidates_end++);
  }
  if (least_above != kNoKey) *above = NumberOf(least_above);
  return candidates_end;
}

// Of at least one value, which may change places.
double QuantileOf(double* begin, double* end, double q) {
  // NaN is greater than all numbers.
  double* numbers_end = std::partition(begin, end, [](double value) { return !std::isnan(value); });
  const double place = static_cast<double>(end - begin - 1) * q;
  const double part = place - std::floor(place);
  auto at = static_cast<int64_t>(place);
  const int64_t behind = numbers_end - begin - at - 1;  // numbers behind it
  if (behind < 0 || (behind == 0 && part != 0)) return std::numeric_limits<double>::quiet_NaN();
  double above = std::numeric_limits<double>::infinity();
  while (numbers_end - begin >= kManyNumbers) {
    double* const last = MoveCandidates(begin, numbers_end, &at, &above);
    if (last == numbers_end) break;
    numbers_end = last;
  }
  double* low = begin + at;
  std::nth_element(begin, low, numbers_end);
  if (part == 0) return *low;
  const double high = low + 1 < numbers_end ? *std::min_element(low + 1, numbers_end) : above;
  if (high == *low) return high;
  if (std::isinf(*low)) return std::isinf(high) ? std::numeric_limits<double>::quiet_NaN() : *low;
  return *low + (high - *low) * part;
}

class Quantile final : public AggregateBase {
 public:
  explicit Quantile(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        q_(init.number),
        values_(init.pool),
        groups_(init.pool),
        counts_(init.pool),
        ends_(init.pool),
        read_(init.pool) {}

  int64_t size_bytes() const override {
    return values_.size_bytes() + groups_.size_bytes() + counts_.size_bytes() + ends_.size_bytes();
  }
  Types state_types() const override { return {arrow::binary()}; }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    return ends_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_RETURN_NOT_OK(Reserve(groups.size()));
    ARROW_RETURN_NOT_OK(ReadDoubles(*column, &read_));
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(*column, pool_.get()));
    // -0 becomes 0: which of them is found depends on their order.
    for (double& value : read_) value += 0.0;
    if (valid.all()) {
      PutAll(read_.begin(), groups);
      return Status::OK();
    }
    for (size_t i = 0; i < groups.size(); ++i) {
      if (valid[static_cast<int64_t>(i)]) Put(read_[i], groups[i]);
    }
    return Status::OK();
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    Order();
    const auto size_of = [&](int64_t i) {
      return counts_[groups[static_cast<size_t>(i)]] * static_cast<int64_t>(sizeof(double));
    };
    const auto write = [&](int64_t i, uint8_t* out) {
      if (size_of(i) > 0)
        std::memcpy(out, Begin(groups[static_cast<size_t>(i)]), static_cast<size_t>(size_of(i)));
    };
    ARROW_ASSIGN_OR_RAISE(auto states,
                          BuildBinary(static_cast<int64_t>(groups.size()), size_of, write, pool));
    return Arrays{std::move(states)};
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const auto& lists = static_cast<const arrow::BinaryArray&>(*states[0]);
    ARROW_RETURN_NOT_OK(Reserve(static_cast<size_t>(lists.total_values_length()) / sizeof(double)));
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto list = lists.GetView(static_cast<int64_t>(i));
      const size_t count = list.size() / sizeof(double);
      if (count > 0) std::memcpy(values_.end(), list.data(), count * sizeof(double));
      std::fill_n(groups_.end(), count, groups[i]);
      values_.SetSize(values_.size() + count);
      groups_.SetSize(groups_.size() + count);
      counts_[groups[i]] += static_cast<int64_t>(count);
    }
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    Order();
    return BuildArray<double>(
        output_, count, pool,
        [&](int64_t g) {
          double* begin = Begin(static_cast<uint32_t>(g));
          return QuantileOf(begin, begin + counts_[static_cast<size_t>(g)], q_);
        },
        [&](int64_t g) { return counts_[static_cast<size_t>(g)] == 0; });
  }

  void Forget(uint32_t count) override {
    size_t kept = 0;
    for (size_t i = 0; i < values_.size(); ++i) {
      if (groups_[i] < count) continue;
      values_[kept] = values_[i];
      groups_[kept++] = groups_[i] - count;
    }
    values_.SetSize(kept);
    groups_.SetSize(kept);
    counts_.DropFront(count);
    ends_.DropFront(count);
    is_ordered_ = false;
  }

 private:
  Status Reserve(size_t more) {
    is_ordered_ = false;
    ARROW_RETURN_NOT_OK(values_.Reserve(values_.size() + more));
    return groups_.Reserve(values_.size() + more);
  }

  void Put(double value, uint32_t group) {
    values_.PushBack(value);
    groups_.PushBack(group);
    ++counts_[group];
  }

  void PutAll(const double* values, Groups groups) {
    std::copy_n(values, groups.size(), values_.end());
    std::copy_n(groups.data(), groups.size(), groups_.end());
    values_.SetSize(values_.size() + groups.size());
    groups_.SetSize(groups_.size() + groups.size());
    for (const uint32_t group : groups) ++counts_[group];
  }

  double* Begin(uint32_t group) { return values_.begin() + ends_[group] - counts_[group]; }

  // Puts the values of each group side by side. Where there is no room for a copy of them it is done in
  // place: each that is elsewhere changes places with the next one that its group has room for (as American
  // flag sort does; P. McIlroy, K. Bostic, D. McIlroy, 1993).
  void Order() {
    if (is_ordered_) return;
    BeginSideBySide(counts_, num_groups(), &ends_);
    if (CopyInOrder()) return;
    if (values_.size() > kNearValues) PartOrder();
    int64_t end = 0;
    for (uint32_t g = 0; g < num_groups(); ++g) {
      end += counts_[g];
      while (ends_[g] < end) {
        const auto at = static_cast<size_t>(ends_[g]);
        const uint32_t group = groups_[at];
        Swap(at, static_cast<size_t>(ends_[group]++));
      }
    }
    is_ordered_ = true;
  }

  // Values of one group often stand together: states that were merged do.
  bool CopyInOrder() {
    const size_t size = values_.size();
    GroupVector<double> ordered(pool_);
    if (!ordered.Reserve(size).ok()) return false;
    ordered.SetSize(size);
    for (size_t at = 0; at < size;) {
      const uint32_t group = groups_[at];
      int64_t to = ends_[group];
      do {
        ordered[static_cast<size_t>(to++)] = values_[at++];
      } while (at < size && groups_[at] == group);
      ends_[group] = to;
    }
    values_ = std::move(ordered);
    uint32_t* group_of = groups_.begin();
    for (uint32_t g = 0; g < num_groups(); ++g) group_of = std::fill_n(group_of, counts_[g], g);
    is_ordered_ = true;
    return true;
  }

  // The same by the upper bits of the group: what then changes places is not far apart. ends_ is where the
  // groups will begin.
  void PartOrder() {
    constexpr int kBits = 8;
    const int shift = std::max(0, static_cast<int>(std::bit_width(num_groups())) - kBits);
    if (shift == 0) return;
    std::array<size_t, size_t{1} << kBits> next{}, ends{};
    for (uint32_t g = 0; g < num_groups(); ++g) ends[g >> shift] += static_cast<size_t>(counts_[g]);
    size_t at = 0;
    for (size_t part = 0; part < next.size(); ++part) {
      next[part] = at;
      at += ends[part];
      ends[part] = at;
    }
    for (size_t part = 0; part < next.size(); ++part) {
      while (next[part] < ends[part]) {
        const size_t from = next[part];
        Swap(from, next[groups_[from] >> shift]++);
      }
    }
  }

  void Swap(size_t a, size_t b) {
    if (a == b) return;
    std::swap(values_[a], values_[b]);
    std::swap(groups_[a], groups_[b]);
  }

  static constexpr size_t kNearValues = 64 << 10;  // that are in a cache together

  const double q_;
  GroupVector<double> values_;
  GroupVector<uint32_t> groups_;  // of values_
  GroupVector<int64_t> counts_, ends_;
  bool is_ordered_ = false;
  GroupVector<double> read_;
};

}  // namespace

AggregatePtr MakeQuantile(const AggregateInit& init) { return std::make_unique<Quantile>(init); }

}  // namespace partita
