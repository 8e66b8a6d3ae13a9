// Exact sums of doubles for many groups, 16 bytes a group in the usual case. Private to the aggregates.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "partita/operator/aggregate/exact_sum.h"
#include "partita/operator/aggregate/state.h"

namespace partita {

// A sum as doubles that add up to it. The first is the sum, correctly rounded, the others what it leaves out.
// All of it, for sums that span up to 200 bits.
using SumParts = std::array<double, 4>;

SumParts PartsOf(const ExactSum& sum);

// The sum of a group is the pair (hi, lo), each addition proven to be exact, and what two doubles cannot
// hold: residuals, a list for all groups that is seldom long. It is folded (each group's residuals become the
// fewest that have the same sum) when it is full.
class ExactSums {
 public:
  explicit ExactSums(std::shared_ptr<BudgetPool> pool) : pairs_(pool), residuals_(std::move(pool)) {}

  // Makes room for groups, and for so many additions.
  Status Grow(uint32_t num_groups) { return pairs_.Resize(num_groups); }
  Status Reserve(size_t additions);

  [[gnu::always_inline]] void FetchAhead(std::span<const uint32_t> groups, int64_t row) const {
    partita::FetchAhead(groups, row, pairs_);
  }

  // A run of rows of one group loads its pair, adds to it, and stores it.
  DoublePair Load(uint32_t group) const { return pairs_[group]; }
  void Store(uint32_t group, DoublePair pair) { pairs_[group] = pair; }
  DoublePair Add(uint32_t group, DoublePair pair, double x) {
    const DoublePair sum = TwoSum(pair.hi, x);
    const DoublePair low = TwoSum(pair.lo, sum.lo);
    if (low.lo != 0) [[unlikely]] {  // NaN too
      return AddSlowly(group, pair, x);
    }
    return {sum.hi, low.hi};
  }

  // Calls take(group, parts) for the groups [0, count).
  template <typename Take>
  void Read(uint32_t count, Take take) {
    Fold();
    size_t next = 0;
    for (uint32_t group = 0; group < count; ++group) take(group, PartsOf(group, &next));
  }

  // States of groups as two columns: the pairs, and the residuals that a group may have.
  static void AddStateTypes(std::vector<std::shared_ptr<arrow::DataType>>* types);
  Status Export(std::span<const uint32_t> groups, arrow::MemoryPool* pool,
                std::vector<std::shared_ptr<arrow::Array>>* states);
  // Makes room for a Merge of states with these residuals, which then cannot fail.
  Status ReserveFor(const arrow::Array& residuals, std::span<const uint32_t> groups);
  void Merge(const arrow::Array& pairs, const arrow::Array& residuals, std::span<const uint32_t> groups);

  void Forget(uint32_t count);
  int64_t size_bytes() const { return pairs_.size_bytes() + residuals_.size_bytes(); }

 private:
  struct Residual {
    uint32_t group;
    double value;
  };

  DoublePair AddSlowly(uint32_t group, DoublePair pair, double x);
  void Fold();                                 // sorts the residuals by group, too
  size_t FirstResidual(uint32_t group) const;  // of folded ones
  SumParts PartsOf(uint32_t group, size_t* next_residual) const;

  GroupVector<DoublePair> pairs_;
  GroupVector<Residual> residuals_;
};

// (n * squares - sum^2) / (n * (n - 1)), where squares is the sum of the squares of n values, n > 1. The
// numerator is computed exactly, so that nothing cancels.
double SampleVariance(const SumParts& sum, const SumParts& squares, int64_t n);
// The same of two columns; products is the sum of x * y. NaN where a product passes the range of doubles.
double SampleCovariance(const SumParts& x, const SumParts& y, const SumParts& products, int64_t n);

}  // namespace partita
