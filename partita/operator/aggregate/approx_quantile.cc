// approx_quantile: the quantile of the values cut to nine significant bits, in memory that grows with how
// many magnitudes a group spans, not with its rows (the buckets of DDSketch: C. Masson, J. Rim, H. Lee, VLDB
// 2019, with the bounds of HdrHistogram instead of powers, which need no logarithm). Decision 0015.
#include <arrow/array.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "partita/operator/aggregate/doubles.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/order.h"
#include "partita/operator/aggregate/tables.h"

namespace partita {
namespace {

constexpr int kBucketBits = 1 + 11 + 8;  // sign, exponent, and the fraction's first bits
constexpr int kCutBits = 64 - kBucketBits;

// Buckets compare like values.
uint64_t BucketOf(double value) { return DoubleOrder::ToKey(std::bit_cast<uint64_t>(value)) >> kCutBits; }

// The bucket's value that is nearest to zero.
double ValueOfBucket(uint64_t bucket) {
  const uint64_t least = bucket << kCutBits, rest = (uint64_t{1} << kCutBits) - 1;
  const bool negative = (least & DoubleOrder::kSign) == 0;
  return std::bit_cast<double>(DoubleOrder::ToValue(negative ? least | rest : least)) + 0.0;
}

class ApproxQuantile final : public AggregateBase {
 public:
  explicit ApproxQuantile(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        q_(init.number),
        buckets_(init.pool),
        counts_(init.pool),
        read_(init.pool) {}

  int64_t size_bytes() const override { return buckets_.size_bytes() + counts_.size_bytes(); }
  Types state_types() const override { return {arrow::binary()}; }  // entries of 64 bits

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(buckets_.Grow(num_groups));
    return counts_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_RETURN_NOT_OK(ReadDoubles(*column, &read_));
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(*column, pool_.get()));
    const auto is_there = [&](size_t i) { return valid.all() || valid[static_cast<int64_t>(i)]; };
    for (size_t i = 0; i < groups.size(); ++i) {
      if (!is_there(i)) continue;
      auto entry = buckets_.FindOrAdd(groups[i], KeyAt(i));
      if (!entry.ok()) {  // what was counted is there
        for (size_t j = 0; j < i; ++j) {
          if (is_there(j)) --**buckets_.FindOrAdd(groups[j], KeyAt(j));
        }
        return entry.status();
      }
      ++**entry;
    }
    for (size_t i = 0; i < groups.size(); ++i) counts_[groups[i]] += is_there(i);
    return Status::OK();
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    const auto size_of = [&](int64_t i) {
      return buckets_.size(groups[static_cast<size_t>(i)]) * sizeof(uint64_t);
    };
    const auto write = [&](int64_t i, uint8_t* out) {
      buckets_.ForEach(groups[static_cast<size_t>(i)], [&](uint64_t entry) {
        std::memcpy(out, &entry, sizeof entry);
        out += sizeof entry;
      });
    };
    ARROW_ASSIGN_OR_RAISE(auto states,
                          BuildBinary(static_cast<int64_t>(groups.size()), size_of, write, pool));
    return Arrays{std::move(states)};
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const auto& lists = static_cast<const arrow::BinaryArray&>(*states[0]);
    // First room for all, which may be refused.
    ARROW_RETURN_NOT_OK(ForStates(lists, groups, [](uint32_t, uint64_t*, uint64_t) {}));
    return ForStates(lists, groups, [this](uint32_t group, uint64_t* entry, uint64_t count) {
      *entry += count;
      counts_[group] += count;
    });
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return BuildArray<double>(
        output_, count, pool, [&](int64_t g) { return QuantileOf(static_cast<uint32_t>(g)); },
        [&](int64_t g) { return counts_[static_cast<size_t>(g)] == 0; });
  }

  void Forget(uint32_t count) override {
    buckets_.Forget(count);
    counts_.DropFront(count);
  }

 private:
  // 1 + the bucket, and how many values it has.
  using Buckets = GroupTables<uint64_t, 64 - kBucketBits - 1>;

  // -0 is 0.
  uint64_t KeyAt(size_t row) const { return 1 + BucketOf(read_[row] + 0.0); }

  template <typename Take>
  Status ForStates(const arrow::BinaryArray& lists, Groups groups, Take take) {
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto list = lists.GetView(static_cast<int64_t>(i));
      for (size_t at = 0; at + sizeof(uint64_t) <= list.size(); at += sizeof(uint64_t)) {
        uint64_t state = 0;
        std::memcpy(&state, list.data() + at, sizeof state);
        if (Buckets::KeyOf(state) == 0 || Buckets::KeyOf(state) > uint64_t{1} << kBucketBits)
          return BugError("a state of approx_quantile has a bucket that there is not");
        ARROW_ASSIGN_OR_RAISE(uint64_t* const entry, buckets_.FindOrAdd(groups[i], Buckets::KeyOf(state)));
        take(groups[i], entry, Buckets::ValueOf(state));
      }
    }
    return Status::OK();
  }

  // As quantile has it, of the values of buckets.
  double QuantileOf(uint32_t group) {
    sorted_.clear();
    buckets_.ForEach(group, [&](uint64_t entry) { sorted_.push_back(entry); });
    std::sort(sorted_.begin(), sorted_.end());
    const double place = static_cast<double>(counts_[group] - 1) * q_;
    const auto first = static_cast<uint64_t>(place);
    const double part = place - std::floor(place);
    const double low = ValueAt(first);
    if (part == 0) return low;
    const double high = ValueAt(first + 1);
    if (high == low || std::isnan(high)) return high;
    if (std::isinf(low)) return std::isinf(high) ? std::numeric_limits<double>::quiet_NaN() : low;
    return low + (high - low) * part;
  }

  double ValueAt(uint64_t place) const {
    for (const uint64_t entry : sorted_) {
      if (place < Buckets::ValueOf(entry)) return ValueOfBucket(Buckets::KeyOf(entry) - 1);
      place -= Buckets::ValueOf(entry);
    }
    return std::numeric_limits<double>::quiet_NaN();
  }

  const double q_;
  Buckets buckets_;
  GroupVector<uint64_t> counts_;  // values, by group
  GroupVector<double> read_;
  std::vector<uint64_t> sorted_;  // the buckets of a group: some 512 where its values span a factor of four
};

}  // namespace

AggregatePtr MakeApproxQuantile(const AggregateInit& init) { return std::make_unique<ApproxQuantile>(init); }

}  // namespace partita
