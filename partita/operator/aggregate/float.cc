// sum, mean, var and std of floats; var and std of decimals.
#include <arrow/array.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>
#include <arrow/util/float16.h>

#include <cmath>
#include <cstring>

#include "partita/operator/aggregate/fma.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/sums.h"
#include "partita/operator/aggregate/wide_integer.h"

namespace partita {
namespace {

// The values of a column as doubles.
struct Halves {
  using Raw = uint16_t;
  static double Get(const Raw* values, int64_t row) {
    return arrow::util::Float16::FromBits(values[row]).ToDouble();
  }
};
template <typename T>
struct Numbers {
  using Raw = T;
  static double Get(const Raw* values, int64_t row) { return static_cast<double>(values[row]); }
};
template <int kLimbs>
struct Decimals {  // unscaled
  struct Raw {
    uint64_t limbs[kLimbs];
  };
  static double Get(const Raw* values, int64_t row) {
    uint64_t limbs[kLimbs];
    std::memcpy(limbs, values + row, sizeof(limbs));
    if constexpr (kLimbs == 2) return static_cast<double>(SignedPair(limbs));
    const auto high = static_cast<double>(SignedPair(limbs + kLimbs - 2));
    const auto low = static_cast<double>(static_cast<unsigned __int128>(SignedPair(limbs)));
    return std::ldexp(high, 128) + low;
  }
};

class FloatMoment final : public AggregateBase {
 public:
  explicit FloatMoment(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        function_(init.function),
        counts_(init.function == AggregateFunction::kSum, init.pool),
        sums_(init.pool),
        squares_(init.pool),
        square_rests_(init.pool) {}
  int64_t size_bytes() const override {
    return counts_.size_bytes() + sums_.size_bytes() + squares_.size_bytes() + square_rests_.size_bytes();
  }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    ARROW_RETURN_NOT_OK(sums_.Grow(num_groups));
    if (!with_squares()) return Status::OK();
    ARROW_RETURN_NOT_OK(squares_.Grow(num_groups));
    return square_rests_.Grow(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    switch (column->type_id()) {
      case arrow::Type::HALF_FLOAT:
        return AddAs<Halves>(*column, groups);
      case arrow::Type::FLOAT:
        return AddAs<Numbers<float>>(*column, groups);
      case arrow::Type::DOUBLE:
        return AddAs<Numbers<double>>(*column, groups);
      case arrow::Type::DECIMAL32:
        return AddAs<Numbers<int32_t>>(*column, groups);
      case arrow::Type::DECIMAL64:
        return AddAs<Numbers<int64_t>>(*column, groups);
      case arrow::Type::DECIMAL128:
        return AddAs<Decimals<2>>(*column, groups);
      case arrow::Type::DECIMAL256:
        return AddAs<Decimals<4>>(*column, groups);
      default:
        return BugError("no float");
    }
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(int64_t{count} * static_cast<int64_t>(sizeof(double)), pool));
    auto* out = reinterpret_cast<double*>(buffer->mutable_data());
    if (with_squares()) {
      ARROW_RETURN_NOT_OK(MakeVariances(count, pool, out));
    } else {
      const bool mean = function_ == AggregateFunction::kMean;
      sums_.Read(count, [&](uint32_t g, const SumParts& sum) {
        out[g] = mean && counts_[g] > 0 ? sum[0] / static_cast<double>(counts_[g]) : sum[0];
      });
    }
    const int64_t least = with_squares() ? 2 : 1;
    for (uint32_t g = 0; g < count; ++g) {
      if (counts_[g] < least) out[g] = 0;
    }
    return ArrayOf(output_, count, std::move(buffer), pool,
                   [&](int64_t g) { return counts_[static_cast<size_t>(g)] < least; });
  }

  void Forget(uint32_t count) override {
    counts_.DropFront(count);
    sums_.Forget(count);
    if (!with_squares()) return;
    squares_.Forget(count);
    square_rests_.Forget(count);
  }

 public:
  Types state_types() const override {
    Types types = {counts_.state_type()};
    for (int sum = 0; sum < (with_squares() ? 3 : 1); ++sum) ExactSums::AddStateTypes(&types);
    return types;
  }

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    Arrays states(1);
    ARROW_ASSIGN_OR_RAISE(states[0], counts_.Export(groups, pool));
    ARROW_RETURN_NOT_OK(sums_.Export(groups, pool, &states));
    if (!with_squares()) return states;
    ARROW_RETURN_NOT_OK(squares_.Export(groups, pool, &states));
    ARROW_RETURN_NOT_OK(square_rests_.Export(groups, pool, &states));
    return states;
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    ARROW_RETURN_NOT_OK(sums_.ReserveFor(*states[2], groups));
    if (with_squares()) {
      ARROW_RETURN_NOT_OK(squares_.ReserveFor(*states[4], groups));
      ARROW_RETURN_NOT_OK(square_rests_.ReserveFor(*states[6], groups));
    }
    counts_.Merge(*states[0], groups);
    sums_.Merge(*states[1], *states[2], groups);
    if (!with_squares()) return Status::OK();
    squares_.Merge(*states[3], *states[4], groups);
    square_rests_.Merge(*states[5], *states[6], groups);
    return Status::OK();
  }

 private:
  bool with_squares() const {
    return function_ == AggregateFunction::kVar || function_ == AggregateFunction::kStd;
  }

  template <typename Values>
  Status AddAs(const arrow::Array& column, Groups groups) {
    ARROW_RETURN_NOT_OK(sums_.Reserve(groups.size()));
    if (with_squares()) {
      ARROW_RETURN_NOT_OK(squares_.Reserve(groups.size()));
      ARROW_RETURN_NOT_OK(square_rests_.Reserve(groups.size()));
    }
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(column, pool_.get()));
    const auto* values = column.data()->GetValues<typename Values::Raw>(1);
    WithNulls(valid, [&](auto nulls) {
      if (with_squares() && HasFma()) {
        AddSquaresWithFma<Values, nulls>(values, valid, groups);
      } else if (with_squares()) {
        AddRuns<Values, nulls, true>(values, valid, groups);
      } else {
        AddRuns<Values, nulls, false>(values, valid, groups);
      }
    });
    return Status::OK();
  }

  // Rows of one group often stand together: its state then stays in registers.
  template <typename Values, bool kNulls, bool kSquares>
  [[gnu::always_inline]] void AddRuns(const typename Values::Raw* values, const ValidRows& valid,
                                      Groups groups) {
    const auto rows = static_cast<int64_t>(groups.size());
    for (int64_t row = 0; row < rows;) {
      sums_.FetchAhead(groups, row);
      if constexpr (kSquares) {
        squares_.FetchAhead(groups, row);
        square_rests_.FetchAhead(groups, row);
      }
      counts_.FetchAhead(groups, row);
      const uint32_t group = groups[static_cast<size_t>(row)];
      DoublePair sum = sums_.Load(group), squares, rests;
      if constexpr (kSquares) {
        squares = squares_.Load(group);
        rests = square_rests_.Load(group);
      }
      int64_t count = 0;
      do {
        if (kNulls && !valid[row]) continue;
        const double x = Values::Get(values, row);
        sum = sums_.Add(group, sum, x);
        if constexpr (kSquares) {
          const DoublePair square = TwoProduct(x, x);
          squares = squares_.Add(group, squares, square.hi);
          rests = square_rests_.Add(group, rests, square.lo);
        }
        ++count;
      } while (++row < rows && groups[static_cast<size_t>(row)] == group);
      sums_.Store(group, sum);
      if constexpr (kSquares) {
        squares_.Store(group, squares);
        square_rests_.Store(group, rests);
      }
      counts_.Add(group, count);
    }
  }

  template <typename Values, bool kNulls>
  PARTITA_WITH_FMA void AddSquaresWithFma(const typename Values::Raw* values, const ValidRows& valid,
                                          Groups groups) {
    AddRuns<Values, kNulls, true>(values, valid, groups);
  }

  Status MakeVariances(uint32_t count, arrow::MemoryPool* pool, double* out) {
    GroupVector<SumParts> sums(pool_), squares(pool_);
    ARROW_RETURN_NOT_OK(sums.Resize(count));
    ARROW_RETURN_NOT_OK(squares.Resize(count));
    sums_.Read(count, [&](uint32_t g, const SumParts& parts) { sums[g] = parts; });
    squares_.Read(count, [&](uint32_t g, const SumParts& parts) { squares[g] = parts; });
    double unit = 1;  // of decimals
    if (arrow::is_decimal(input_->id())) {
      unit = PowerOfTen(-static_cast<const arrow::DecimalType&>(*input_).scale());
    }
    square_rests_.Read(count, [&](uint32_t g, const SumParts& rests) {
      out[g] = 0;
      if (counts_[g] < 2) return;
      ExactSum whole;
      for (const double part : squares[g]) whole.Add(part);
      for (const double part : rests) whole.Add(part);
      out[g] = SampleVariance(sums[g], PartsOf(whole), counts_[g]);
      if (function_ == AggregateFunction::kStd) {
        out[g] = std::sqrt(out[g]) * unit;
      } else {
        out[g] *= unit * unit;
      }
    });
    return Status::OK();
  }

  const AggregateFunction function_;
  GroupCounts counts_;
  // A square has twice the bits of a double. Its rounded value and the rest are summed apart, so that pairs
  // can hold both.
  ExactSums sums_, squares_, square_rests_;
};

}  // namespace

AggregatePtr MakeFloatMoment(const AggregateInit& init) { return std::make_unique<FloatMoment>(init); }

}  // namespace partita
