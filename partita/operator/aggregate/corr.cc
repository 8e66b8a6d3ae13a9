// corr: Pearson's correlation of two columns, from sums that are exact.
#include <arrow/array.h>
#include <arrow/type.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "partita/operator/aggregate/doubles.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/sums.h"
#include "partita/operator/aggregate/wide_integer.h"

namespace partita {
namespace {

double CorrelationOf(const SumParts& x, const SumParts& y, const SumParts& xx, const SumParts& yy,
                     const SumParts& xy, int64_t n) {
  const double x_variance = SampleVariance(x, xx, n), y_variance = SampleVariance(y, yy, n);
  const double result = SampleCovariance(x, y, xy, n) / (std::sqrt(x_variance) * std::sqrt(y_variance));
  if (std::isnan(result) || x_variance == 0 || y_variance == 0)
    return std::numeric_limits<double>::quiet_NaN();
  return std::clamp(result, -1.0, 1.0);
}

// Of any two columns: as doubles.
class Correlation final : public AggregateBase {
 public:
  explicit Correlation(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        counts_(init.pool),
        sums_{ExactSums(init.pool), ExactSums(init.pool), ExactSums(init.pool), ExactSums(init.pool),
              ExactSums(init.pool), ExactSums(init.pool), ExactSums(init.pool), ExactSums(init.pool)},
        x_(init.pool),
        y_(init.pool) {}

  int64_t size_bytes() const override {
    int64_t bytes = counts_.size_bytes();
    for (const auto& sum : sums_) bytes += sum.size_bytes();
    return bytes;
  }
  Types state_types() const override {
    Types types = {arrow::int64()};
    for (size_t i = 0; i < sums_.size(); ++i) ExactSums::AddStateTypes(&types);
    return types;
  }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    for (auto& sum : sums_) ARROW_RETURN_NOT_OK(sum.Grow(num_groups));
    return Status::OK();
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    const auto& pairs = static_cast<const arrow::StructArray&>(*column);
    const auto x = pairs.field(0), y = pairs.field(1);
    ARROW_RETURN_NOT_OK(ReadDoubles(*x, &x_));
    ARROW_RETURN_NOT_OK(ReadDoubles(*y, &y_));
    ARROW_ASSIGN_OR_RAISE(const auto x_valid, ValidRows::Of(*x, pool_.get()));
    ARROW_ASSIGN_OR_RAISE(const auto y_valid, ValidRows::Of(*y, pool_.get()));
    for (auto& sum : sums_) ARROW_RETURN_NOT_OK(sum.Reserve(groups.size()));
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      for (const size_t sum : {kX, kY, kXX, kYY, kXY}) sums_[sum].FetchAhead(groups, row);
      if ((!x_valid.all() && !x_valid[row]) || (!y_valid.all() && !y_valid[row])) continue;
      AddPair(groups[i], x_[i], y_[i]);
    }
    return Status::OK();
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    Arrays states(1);
    ARROW_ASSIGN_OR_RAISE(states[0], GatherStates(arrow::int64(), counts_, groups, pool));
    for (auto& sum : sums_) ARROW_RETURN_NOT_OK(sum.Export(groups, pool, &states));
    return states;
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    for (size_t i = 0; i < sums_.size(); ++i)
      ARROW_RETURN_NOT_OK(sums_[i].ReserveFor(*states[2 + 2 * i], groups));
    const StateColumn<int64_t> counts(*states[0]);
    for (size_t i = 0; i < groups.size(); ++i) counts_[groups[i]] += counts[i];
    for (size_t i = 0; i < sums_.size(); ++i) sums_[i].Merge(*states[1 + 2 * i], *states[2 + 2 * i], groups);
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    std::array<GroupVector<SumParts>, kSums> parts = {
        GroupVector<SumParts>(pool_), GroupVector<SumParts>(pool_), GroupVector<SumParts>(pool_),
        GroupVector<SumParts>(pool_), GroupVector<SumParts>(pool_), GroupVector<SumParts>(pool_),
        GroupVector<SumParts>(pool_), GroupVector<SumParts>(pool_)};
    for (size_t i = 0; i < kSums; ++i) {
      ARROW_RETURN_NOT_OK(parts[i].Resize(count));
      sums_[i].Read(count, [&](uint32_t g, const SumParts& sum) { parts[i][g] = sum; });
    }
    const auto whole = [&](size_t sum, size_t rest, size_t g) {
      ExactSum both;
      for (const double part : parts[sum][g]) both.Add(part);
      for (const double part : parts[rest][g]) both.Add(part);
      return PartsOf(both);
    };
    return BuildArray<double>(
        output_, count, pool,
        [&](int64_t group) {
          const auto g = static_cast<size_t>(group);
          return CorrelationOf(parts[kX][g], parts[kY][g], whole(kXX, kXXRest, g), whole(kYY, kYYRest, g),
                               whole(kXY, kXYRest, g), counts_[g]);
        },
        [&](int64_t g) { return counts_[static_cast<size_t>(g)] < 2; });
  }

  void Forget(uint32_t count) override {
    counts_.DropFront(count);
    for (auto& sum : sums_) sum.Forget(count);
  }

 private:
  // A product has twice the bits of a double: its rounded value and the rest are summed apart.
  enum : size_t { kX, kY, kXX, kXXRest, kYY, kYYRest, kXY, kXYRest, kSums };

  void AddTo(size_t sum, uint32_t group, double value) {
    sums_[sum].Store(group, sums_[sum].Add(group, sums_[sum].Load(group), value));
  }
  void AddProduct(size_t sum, uint32_t group, double a, double b) {
    const DoublePair product = TwoProduct(a, b);
    AddTo(sum, group, product.hi);
    if (product.lo != 0) AddTo(sum + 1, group, product.lo);  // NaN too
  }
  void AddPair(uint32_t group, double x, double y) {
    ++counts_[group];
    AddTo(kX, group, x);
    AddTo(kY, group, y);
    AddProduct(kXX, group, x, x);
    AddProduct(kYY, group, y, y);
    AddProduct(kXY, group, x, y);
  }

  GroupVector<int64_t> counts_;
  std::array<ExactSums, kSums> sums_;
  GroupVector<double> x_, y_;
};

// Of two columns of integers of up to 32 bits, whose sums and products are integers.
class IntegerCorrelation final : public AggregateBase {
 public:
  explicit IntegerCorrelation(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool), sums_(init.pool), x_(init.pool), y_(init.pool) {}

  int64_t size_bytes() const override { return sums_.size_bytes(); }
  Types state_types() const override { return {arrow::fixed_size_binary(sizeof(Sums))}; }

 protected:
  Status Grow(uint32_t num_groups) override { return sums_.Resize(num_groups); }

  Status Add(const arrow::Array* column, Groups groups) override {
    const auto& pairs = static_cast<const arrow::StructArray&>(*column);
    const auto x = pairs.field(0), y = pairs.field(1);
    ARROW_RETURN_NOT_OK(ReadIntegers(*x, &x_));
    ARROW_RETURN_NOT_OK(ReadIntegers(*y, &y_));
    ARROW_ASSIGN_OR_RAISE(const auto x_valid, ValidRows::Of(*x, pool_.get()));
    ARROW_ASSIGN_OR_RAISE(const auto y_valid, ValidRows::Of(*y, pool_.get()));
    const bool nulls = !x_valid.all() || !y_valid.all();
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      FetchAhead(groups, row, sums_);
      if (nulls && ((!x_valid.all() && !x_valid[row]) || (!y_valid.all() && !y_valid[row]))) continue;
      const __int128 a = x_[i], b = y_[i];
      sums_[groups[i]].Add({1, a, b, a * a, b * b, a * b});
    }
    return Status::OK();
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto sums, GatherStates(state_types()[0], sums_, groups, pool));
    return Arrays{std::move(sums)};
  }
  Status AddStates(const Arrays& states, Groups groups) override {
    const StateColumn<Sums> sums(*states[0]);
    for (size_t i = 0; i < groups.size(); ++i) sums_[groups[i]].Add(sums[i]);
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return BuildArray<double>(
        output_, count, pool,
        [&](int64_t group) {
          const Sums& s = sums_[static_cast<size_t>(group)];
          return CorrelationOf(Parts(s.x), Parts(s.y), Parts(s.xx), Parts(s.yy), Parts(s.xy),
                               static_cast<int64_t>(s.n));
        },
        [&](int64_t g) { return sums_[static_cast<size_t>(g)].n < 2; });
  }
  void Forget(uint32_t count) override { sums_.DropFront(count); }

 private:
  struct Sums {
    __int128 n, x, y, xx, yy, xy;
    void Add(const Sums& other) {
      n += other.n;
      x += other.x;
      y += other.y;
      xx += other.xx;
      yy += other.yy;
      xy += other.xy;
    }
  };

  static SumParts Parts(__int128 value) {
    const auto bits = static_cast<unsigned __int128>(value);
    const WideInteger<2> wide = {{static_cast<uint64_t>(bits), static_cast<uint64_t>(bits >> 64)}};
    return PartsOf(wide.ToExactSum());
  }

  GroupVector<Sums> sums_;
  GroupVector<int64_t> x_, y_;
};

bool IsShortInteger(const arrow::DataType& type) {
  return arrow::is_integer(type.id()) && static_cast<const arrow::FixedWidthType&>(type).bit_width() <= 32;
}

}  // namespace

AggregatePtr MakeCorrelation(const AggregateInit& init) {
  const auto& fields = init.input->fields();
  if (IsShortInteger(*fields[0]->type()) && IsShortInteger(*fields[1]->type()))
    return std::make_unique<IntegerCorrelation>(init);
  return std::make_unique<Correlation>(init);
}

}  // namespace partita
