// sum, mean, var and std of integers; sum and mean of decimals.
#include <arrow/array.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>
#include <arrow/util/decimal.h>

#include <array>
#include <cmath>
#include <limits>
#include <type_traits>

#include "partita/operator/aggregate/few.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/sums.h"
#include "partita/operator/aggregate/wide_integer.h"

namespace partita {
namespace {

Status SumOverflow(const arrow::DataType& type) {
  return DataError("the sum of a group passes the range of " + type.ToString(),
                   "cast the column to float64 with with_columns first");
}

// Integers of any width, sums and squares in integers. `Sum` is wider than what is summed by 32 bits at
// least: a sum of so many rows that it does not hold them is one that its result could not hold either.
template <typename Sum>
class IntegerMoment final : public AggregateBase {
 public:
  explicit IntegerMoment(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        function_(init.function),
        counts_(init.function == AggregateFunction::kSum, init.pool),
        sums_(init.pool),
        squares_(init.pool) {}
  int64_t size_bytes() const override {
    return counts_.size_bytes() + sums_.size_bytes() + squares_.size_bytes();
  }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    ARROW_RETURN_NOT_OK(sums_.Resize(num_groups));
    return with_squares() ? squares_.Resize(num_groups) : Status::OK();
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    switch (column->type_id()) {
      case arrow::Type::INT8:
        return AddAs<int8_t>(*column, groups);
      case arrow::Type::UINT8:
        return AddAs<uint8_t>(*column, groups);
      case arrow::Type::INT16:
        return AddAs<int16_t>(*column, groups);
      case arrow::Type::UINT16:
        return AddAs<uint16_t>(*column, groups);
      case arrow::Type::INT32:
        return AddAs<int32_t>(*column, groups);
      case arrow::Type::UINT32:
        return AddAs<uint32_t>(*column, groups);
      case arrow::Type::INT64:
      case arrow::Type::DURATION:
        return AddAs<int64_t>(*column, groups);
      case arrow::Type::UINT64:
        return AddAs<uint64_t>(*column, groups);
      default:
        return BugError("no integer");
    }
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    switch (function_) {
      case AggregateFunction::kSum:
        return output_->id() == arrow::Type::UINT64 ? MakeSums<uint64_t>(count, pool)
                                                    : MakeSums<int64_t>(count, pool);
      case AggregateFunction::kMean:
        return BuildArray<double>(
            output_, count, pool,
            [&](int64_t g) {
              return static_cast<double>(sums_[Index(g)]) / static_cast<double>(counts_[Index(g)]);
            },
            [&](int64_t g) { return counts_[Index(g)] == 0; });
      default:
        return BuildArray<double>(
            output_, count, pool, [&](int64_t g) { return VarianceOf(Index(g)); },
            [&](int64_t g) { return counts_[Index(g)] < 2; });
    }
  }

  void Forget(uint32_t count) override {
    counts_.DropFront(count);
    sums_.DropFront(count);
    squares_.DropFront(count);
  }

 public:
  Types state_types() const override {
    Types types = {counts_.state_type(), arrow::fixed_size_binary(sizeof(Sum))};
    if (with_squares()) types.push_back(arrow::fixed_size_binary(sizeof(Squares)));
    return types;
  }

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    const auto types = state_types();
    Arrays states(types.size());
    ARROW_ASSIGN_OR_RAISE(states[0], counts_.Export(groups, pool));
    ARROW_ASSIGN_OR_RAISE(states[1], GatherStates(types[1], sums_, groups, pool));
    if (with_squares()) {
      ARROW_ASSIGN_OR_RAISE(states[2], GatherStates(types[2], squares_, groups, pool));
    }
    return states;
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    counts_.Merge(*states[0], groups);
    const StateColumn<Sum> sums(*states[1]);
    for (size_t i = 0; i < groups.size(); ++i) AddTo(groups[i], sums[i]);
    if (overflows_) return SumOverflow(*output_);
    if (!with_squares()) return Status::OK();
    const StateColumn<Squares> squares(*states[2]);
    for (size_t i = 0; i < groups.size(); ++i) squares_[groups[i]].template Add<3>(squares[i].limbs);
    return Status::OK();
  }

 private:
  using Squares = WideInteger<3>;

  static size_t Index(int64_t g) { return static_cast<size_t>(g); }
  bool with_squares() const {
    return function_ == AggregateFunction::kVar || function_ == AggregateFunction::kStd;
  }

  template <typename T>
  Status AddAs(const arrow::Array& column, Groups groups) {
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(column, pool_.get()));
    const T* values = column.data()->GetValues<T>(1);
    const bool few = sizeof(T) <= 4 && valid.all() && AreFew(sums_.size(), groups.size());
    if (few) AddFew(values, groups);
    WithNulls(valid, [&](auto nulls) {
      if (!few) AddRuns<T, nulls>(values, valid, groups);
      if (with_squares()) AddSquares<T, nulls>(values, valid, groups);
    });
    return overflows_ ? SumOverflow(*output_) : Status::OK();
  }

  template <typename T>
  void AddFew(const T* values, Groups groups) {
    if constexpr (sizeof(T) <= 4) {
      AddFewGroups(values, groups, sums_.size(), [&](uint32_t group, int64_t sum, int64_t count) {
        AddTo(group, static_cast<Sum>(sum));
        counts_.Add(group, count);
      });
    }
  }

  void AddTo(uint32_t group, Sum sum) {
    if (__builtin_add_overflow(sums_[group], sum, &sums_[group])) [[unlikely]]
      overflows_ = true;
  }

  template <typename T, bool kNulls>
  void AddRuns(const T* values, const ValidRows& valid, Groups groups) {
    const auto rows = static_cast<int64_t>(groups.size());
    for (int64_t row = 0; row < rows;) {
      FetchAhead(groups, row, sums_);
      counts_.FetchAhead(groups, row);
      const uint32_t group = groups[Index(row)];
      Sum sum = 0;
      int64_t count = 0;
      do {
        if (kNulls && !valid[row]) continue;
        sum += static_cast<Sum>(values[row]);
        ++count;
      } while (++row < rows && groups[Index(row)] == group);
      AddTo(group, sum);
      counts_.Add(group, count);
    }
  }

  template <typename T, bool kNulls>
  void AddSquares(const T* values, const ValidRows& valid, Groups groups) {
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      FetchAhead(groups, row, squares_);
      if (kNulls && !valid[row]) continue;
      const auto value = static_cast<__int128>(values[row]);
      const auto magnitude = static_cast<unsigned __int128>(value < 0 ? -value : value);
      const unsigned __int128 square = magnitude * magnitude;
      const uint64_t limbs[3] = {static_cast<uint64_t>(square), static_cast<uint64_t>(square >> 64), 0};
      squares_[groups[i]].template Add<3>(limbs);
    }
  }

  template <typename T>
  Result<ArrayPtr> MakeSums(uint32_t count, arrow::MemoryPool* pool) {
    for (uint32_t g = 0; g < count; ++g) {
      const __int128 sum = sums_[g];
      if (sum < std::numeric_limits<T>::min() || sum > std::numeric_limits<T>::max())
        return SumOverflow(*output_);
    }
    return BuildArray<T>(
        output_, count, pool, [&](int64_t g) { return static_cast<T>(sums_[Index(g)]); },
        [&](int64_t g) { return counts_[Index(g)] == 0; });
  }

  double VarianceOf(size_t group) const {
    const auto bits = static_cast<unsigned __int128>(static_cast<__int128>(sums_[group]));
    const WideInteger<2> sum = {{static_cast<uint64_t>(bits), static_cast<uint64_t>(bits >> 64)}};
    const double variance =
        SampleVariance(PartsOf(sum.ToExactSum()), PartsOf(squares_[group].ToExactSum()), counts_[group]);
    return function_ == AggregateFunction::kStd ? std::sqrt(variance) : variance;
  }

  const AggregateFunction function_;
  GroupCounts counts_;
  GroupVector<Sum> sums_;
  GroupVector<Squares> squares_;
  bool overflows_ = false;
};

template <int kLimbs>
struct Unscaled {
  uint64_t limbs[kLimbs];
};

// kOut: limbs of a result. One more holds any sum.
template <int kOut>
class DecimalMoment final : public AggregateBase {
 public:
  explicit DecimalMoment(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        mean_(init.function == AggregateFunction::kMean),
        counts_(init.pool),
        sums_(init.pool) {}
  int64_t size_bytes() const override { return counts_.size_bytes() + sums_.size_bytes(); }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    return sums_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    switch (column->type_id()) {
      case arrow::Type::DECIMAL32:
        return AddAs<int32_t>(*column, groups);
      case arrow::Type::DECIMAL64:
        return AddAs<int64_t>(*column, groups);
      case arrow::Type::DECIMAL128:
        return AddAs<Unscaled<2>>(*column, groups);
      case arrow::Type::DECIMAL256:
        return AddAs<Unscaled<4>>(*column, groups);
      default:
        return BugError("no decimal");
    }
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    const auto is_null = [&](int64_t g) { return counts_[static_cast<size_t>(g)] == 0; };
    if (mean_) {
      const double unit = PowerOfTen(static_cast<const arrow::DecimalType&>(*input_).scale());
      return BuildArray<double>(
          output_, count, pool,
          [&](int64_t g) {
            const auto i = static_cast<size_t>(g);
            return sums_[i].ToExactSum().Round() / (unit * static_cast<double>(counts_[i]));
          },
          is_null);
    }
    for (uint32_t g = 0; g < count; ++g) {
      if (!Fits(sums_[g])) return SumOverflow(*output_);
    }
    return BuildArray<Unscaled<kOut>>(
        output_, count, pool,
        [&](int64_t g) {
          Unscaled<kOut> value;
          std::copy_n(sums_[static_cast<size_t>(g)].limbs, kOut, value.limbs);
          return value;
        },
        is_null);
  }

  void Forget(uint32_t count) override {
    counts_.DropFront(count);
    sums_.DropFront(count);
  }

 public:
  Types state_types() const override { return {arrow::int64(), arrow::fixed_size_binary(sizeof(Sum))}; }

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    const auto types = state_types();
    Arrays states(types.size());
    ARROW_ASSIGN_OR_RAISE(states[0], GatherStates(types[0], counts_, groups, pool));
    ARROW_ASSIGN_OR_RAISE(states[1], GatherStates(types[1], sums_, groups, pool));
    return states;
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const StateColumn<int64_t> counts(*states[0]);
    const StateColumn<Sum> sums(*states[1]);
    for (size_t i = 0; i < groups.size(); ++i) {
      counts_[groups[i]] += counts[i];
      sums_[groups[i]].template Add<kOut + 1>(sums[i].limbs);
    }
    return Status::OK();
  }

 private:
  using Sum = WideInteger<kOut + 1>;

  template <typename T>
  Status AddAs(const arrow::Array& column, Groups groups) {
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(column, pool_.get()));
    const T* values = column.data()->GetValues<T>(1);
    WithNulls(valid, [&](auto nulls) {
      for (size_t i = 0; i < groups.size(); ++i) {
        if (nulls && !valid[static_cast<int64_t>(i)]) continue;
        AddOne(&sums_[groups[i]], values[i]);
        ++counts_[groups[i]];
      }
    });
    return Status::OK();
  }

  template <typename T>
  static void AddOne(Sum* sum, const T& value) {
    if constexpr (std::is_integral_v<T>) {
      const auto limb = static_cast<uint64_t>(static_cast<int64_t>(value));
      sum->template Add<1>(&limb);
    } else {
      sum->template Add<sizeof(T) / 8>(value.limbs);
    }
  }

  bool Fits(const Sum& sum) const {
    if (!sum.FitsIn(kOut)) return false;
    const int precision = static_cast<const arrow::DecimalType&>(*output_).precision();
    std::array<uint64_t, kOut> limbs;
    std::copy_n(sum.limbs, kOut, limbs.begin());
    if constexpr (kOut == 2) {
      return arrow::Decimal128(static_cast<int64_t>(limbs[1]), limbs[0]).FitsInPrecision(precision);
    } else {
      return arrow::Decimal256(arrow::Decimal256::LittleEndianArray, limbs).FitsInPrecision(precision);
    }
  }

  const bool mean_;
  GroupVector<int64_t> counts_;
  GroupVector<Sum> sums_;
};

}  // namespace

AggregatePtr MakeIntegerMoment(const AggregateInit& init) {
  const bool linear = init.function == AggregateFunction::kSum || init.function == AggregateFunction::kMean;
  const auto id = init.input->id();
  if (!linear || arrow::bit_width(id) > 32) return std::make_unique<IntegerMoment<__int128>>(init);
  if (arrow::is_unsigned_integer(id)) return std::make_unique<IntegerMoment<uint64_t>>(init);
  return std::make_unique<IntegerMoment<int64_t>>(init);
}

AggregatePtr MakeDecimalMoment(const AggregateInit& init) {
  if (init.input->id() == arrow::Type::DECIMAL256) return std::make_unique<DecimalMoment<4>>(init);
  return std::make_unique<DecimalMoment<2>>(init);
}

}  // namespace partita
